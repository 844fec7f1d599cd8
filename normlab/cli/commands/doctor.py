"""normlab doctor"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab import api
from normlab.cli.commands.sweep import make_runs, print_plan
from normlab.cli.options import RESULTS, Format, RunName, at_home, examples
from normlab.cli.output import is_for_people, make_console, print_answer

if TYPE_CHECKING:
    from normlab.runs import Run

EXAMPLES = examples("normlab doctor", "normlab doctor 1b02", "normlab doctor 1b02 --steps 500")


def doctor(
    run: RunName = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="So many steps a trial; without, as many as the run, or as fit in a minute.",
        ),
    ] = None,
    root: Annotated[
        Path,
        typer.Option(
            help="Where to look for ids; the trials go there, too.",
            callback=at_home,
        ),
    ] = RESULTS,
    output_format: Format = "rich",
) -> None:
    """Try the advice that a run got, on the same seed, and say what each brought.

    The trials are runs of the experiment [cyan]doctor[/]; the same command makes only what is
    missing.
    """
    try_advice(api.run_to_try(run, root), output_format, steps=steps)


def try_advice(run: "Run", output_format: str, *, steps: int | None = None) -> None:
    """Make the trials of a run's advice and print what they brought, or why there are none.

    Raises InterruptedRunError at Ctrl-C, and typer.Exit where a trial has failed.
    """
    from normlab.runs import (
        plan_configs,
        plan_trials,
        results_of,
        run_folder,
        steps_of_trials,
        why_no_trials,
    )
    from normlab.show import TrialsSoFar, command_of, trials_report, trials_to_plain
    from normlab.vocabulary import FINAL

    people = is_for_people(output_format)
    console = make_console(stderr=not people)
    why = why_no_trials(run.summary)
    if why is not None:
        console.print(why, soft_wrap=True)
        if not people:
            print_answer(output_format, trials_to_plain(run, [], None, why), lambda: "")
        return
    trials = plan_trials(run, steps or steps_of_trials(run.summary))
    planned = plan_configs([trial.config for trial in trials], retry_failed=True)
    print_plan(planned, console, dry_run=False)
    outcomes = make_runs(planned, console, TrialsSoFar(run, trials))
    results = results_of(run, trials)
    command = command_of(run, results)
    if people:
        console.print()
    print_answer(
        output_format,
        trials_to_plain(run, results, command),
        lambda: trials_report(run, results, console.width),
    )
    if people:
        console.print(f"files  {run_folder(trials[0].config).parent}", style="dim")
        if command is not None:
            console.print(f"next   {command}", soft_wrap=True)
    if any(outcome.status not in FINAL for outcome in outcomes):
        raise typer.Exit(1)
