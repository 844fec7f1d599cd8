"""normlab sweep"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab import api
from normlab.cli.commands.report import write_report
from normlab.cli.options import ConfigDir, DryRun, Force, Overrides, RetryFailed, examples
from normlab.cli.output import make_console, said_meanwhile
from normlab.errors import InterruptedRunError

if TYPE_CHECKING:
    from rich.console import Console

    from normlab.runs import Outcome, Plan
    from normlab.show import Aside

EXAMPLES = examples(
    "normlab sweep experiment=quickstart",
    "normlab sweep model=cnn,resnet model.depth=8,20,56 norm=none,bn,ln 'seed=range(5)'",
    "normlab sweep 'zip(model.depth=8,20; training.epochs=10,20)' --dry-run",
)
# A grid larger than this is more often a slip than meant.
MOST_RUNS = 10_000


def sweep(
    overrides: Overrides = None,
    dry_run: DryRun = False,
    force: Force = False,
    retry_failed: RetryFailed = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")
    ] = False,
    report_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a page about it at the end."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help=f"Allow more than {MOST_RUNS:,} runs.")
    ] = False,
    config_dir: ConfigDir = None,
) -> None:
    """Make every run of a grid that is not finished, several at a time.

    The same command again makes only what is missing.
    """
    from normlab.vocabulary import FINAL

    if report_file is not None:
        from normlab.show import check_page

        check_page(report_file)
    console = make_console()
    with said_meanwhile("planning", console):
        from normlab.show import (
            ArmsSoFar,
            interrupted_report,
            left_alone_line,
            next_lines,
            sweep_report,
        )

        planned = api.plan(
            *overrides or (),
            config_dir=config_dir,
            force=force,
            retry_failed=retry_failed,
            most_runs=None if yes else MOST_RUNS,
        )
    print_plan(planned, console, dry_run=dry_run)
    if dry_run:
        return
    arms = ArmsSoFar(planned)
    try:
        outcomes = make_runs(planned, console, arms, force=force, fail_fast=fail_fast)
    except InterruptedRunError:
        console.print(interrupted_report(planned, arms, console.width))
        raise
    console.print(sweep_report(planned, console.width))
    for line in next_lines(planned):
        console.print(line, soft_wrap=True)
    if planned.failed:
        console.print(left_alone_line(planned))
    if report_file is not None:
        write_report(api.results_of(planned), report_file)
    if planned.failed or any(outcome.status not in FINAL for outcome in outcomes):
        raise typer.Exit(1)


def print_plan(planned: "Plan", console: "Console", *, dry_run: bool) -> None:
    """Say how many runs are to be made, and in a dry run which."""
    from normlab.show import plan_lines, run_lines

    for line in plan_lines(planned):
        console.print(line)
    for line in run_lines(planned) if dry_run else ():
        console.print(line, soft_wrap=True)


def make_runs(
    planned: "Plan",
    console: "Console",
    aside: "Aside",
    *,
    force: bool = False,
    fail_fast: bool = False,
) -> "list[Outcome]":
    """Make a plan's runs and show them as they go; raises InterruptedRunError at Ctrl-C.

    `aside` is shown beside them, such as the comparison so far.
    """
    from normlab.show import waiting_line, watch_sweep

    try:
        return api.run_plan(
            planned,
            force=force,
            fail_fast=fail_fast,
            on_waiting=lambda runs: console.print(waiting_line(runs)),
            follow=lambda coming: watch_sweep(coming, planned, console, aside),
        )
    except KeyboardInterrupt:
        raise InterruptedRunError("interrupted; the same command goes on from here") from None
