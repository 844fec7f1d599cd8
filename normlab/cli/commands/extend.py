"""normlab extend"""

from typing import Annotated

import typer

from normlab import api
from normlab.cli.commands.run import make_run
from normlab.cli.completing import complete_runs
from normlab.cli.options import RESULTS, Format, IdRoot, Overrides, examples
from normlab.cli.output import is_for_people, make_console, print_run

EXAMPLES = examples(
    "normlab extend 1b02 training.epochs=60",
    "normlab extend results/runs/1b02b02b02 training.steps=5000 --stretch",
)


def extend(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's folder, or the start of its id.",
            autocompletion=complete_runs,
        ),
    ],
    overrides: Overrides = None,
    stretch: Annotated[
        bool,
        typer.Option(
            "--stretch",
            help="Let a schedule that depends on the length go on as that of the longer training.",
        ),
    ] = False,
    root: IdRoot = RESULTS,
    output_format: Format = "rich",
) -> None:
    """Make a finished run longer, from the weights and optimizer state that it kept.

    The run must have been made with [cyan]output.keep=true[/]. Settings are its new length,
    [cyan]training.epochs[/] or [cyan]training.steps[/], and where it is made and kept. The longer
    run has a folder of its own; the same command goes on with it where it was interrupted.
    """
    planned = api.plan_extension(run, *overrides or (), root=root, stretch=stretch)
    made = api.finished_run(planned.config)
    if made is not None and is_for_people(output_format):
        make_console().print("Finished before, shown from its files.\n")
    made = made or make_run(planned.config, output_format, force=False, start=planned.start)
    print_run(made, output_format)
