"""normlab ls"""

from typing import Annotated

import typer

from normlab import api
from normlab.cli.options import RESULTS, Folders, Verbose, Where, examples
from normlab.cli.output import make_console, print_problems

EXAMPLES = examples("normlab ls", "normlab ls results/quickstart --where status=failed")


def ls(
    folders: Folders = None,
    where: Where = None,
    limit: Annotated[int, typer.Option(help="How many runs to list; 0 for all.", min=0)] = 50,
    verbose: Verbose = False,
) -> None:
    """List runs and their states."""
    from normlab.results import counts
    from normlab.show import counts_line, runs_table

    console = make_console()
    problems: list[str] = []
    frame = api.read_results(*folders or (RESULTS,), where=where or (), on_problem=problems.append)
    console.print(runs_table(frame, width=console.width, limit=limit))
    console.print(counts_line(counts(frame)))
    print_problems(problems, verbose=verbose)
