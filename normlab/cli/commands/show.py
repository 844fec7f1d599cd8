"""normlab show"""

from typing import Annotated

import typer

from normlab import api
from normlab.cli.completing import complete_runs
from normlab.cli.options import RESULTS, Format, IdRoot, examples
from normlab.cli.output import print_run

EXAMPLES = examples("normlab show", "normlab show results/runs/1b02030fe1", "normlab show 1b02")


def show(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, or the start of its id; without, the latest.",
            autocompletion=complete_runs,
            show_default=False,
        ),
    ] = None,
    root: IdRoot = RESULTS,
    output_format: Format = "rich",
) -> None:
    """Print a run again from its files."""
    print_run(api.read_run(run, root), output_format)
