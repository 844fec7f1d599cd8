"""normlab results"""

from pathlib import Path
from typing import Annotated

import typer

from normlab import api
from normlab.cli.options import RESULTS, Folders, Verbose, Where, examples
from normlab.cli.output import print_problems
from normlab.text import plural

EXPORT_EXAMPLES = examples(
    "normlab results export runs.parquet",
    "normlab results export bn.csv results/quickstart --where norm=bn",
)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.parquet or FILE.csv")],
    folders: Folders = None,
    where: Where = None,
    verbose: Verbose = False,
) -> None:
    """Write every run as a row: its whole configuration and its final figures."""
    problems: list[str] = []
    frame = api.export(file, *folders or (RESULTS,), where=where or (), on_problem=problems.append)
    print(f"{plural(len(frame), 'run')} written to {file}")
    print_problems(problems, verbose=verbose)
