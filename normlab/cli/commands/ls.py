"""normlab ls"""

from typing import Annotated

import typer

from normlab import api
from normlab.cli.choices import RunsFormat
from normlab.cli.options import RESULTS, Folders, Verbose, Where, examples
from normlab.cli.output import (
    is_for_people,
    make_console,
    print_problems,
    print_shown,
    said_meanwhile,
)

EXAMPLES = examples(
    "normlab ls",
    "normlab ls results/quickstart --where status=failed",
    "normlab ls --sort -train_acc --limit 10",
    "normlab ls --format json",
)
# So many are listed in a terminal where no number is asked for.
PAGE = 50


def ls(
    folders: Folders = None,
    where: Where = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="A setting or figure such as [cyan]model.depth[/] or [cyan]-train_acc[/], the "
            "greatest first."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help=f"How many runs to list; 0 for all; without, {PAGE}, in other formats all.",
            min=0,
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[RunsFormat, typer.Option("--format")] = "rich",
    verbose: Verbose = False,
) -> None:
    """List runs and their states, the newest first.

    [cyan]normlab show[/] takes an id, or its start.
    """
    people = is_for_people(output_format)
    console = make_console(quiet=not people)
    problems: list[str] = []
    with said_meanwhile("reading runs", console):
        from normlab.analysis import counts, listed
        from normlab.show import TABLE_FORMATS, RunList, counts_line

        found = folders or (RESULTS,)
        frame = api.read_results(*found, where=where or (), on_problem=problems.append)
        runs = listed(frame, sort, (PAGE if people else 0) if limit is None else limit)
        show = TABLE_FORMATS[output_format].runs
        assert show is not None  # the formats to choose from all have one
        shown = show(RunList(runs, len(frame) - len(runs), console.width))
    print_shown(shown, console)
    if people:
        console.print(counts_line(counts(frame)))
    print_problems(problems, verbose=verbose)
