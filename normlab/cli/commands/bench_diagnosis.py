"""normlab bench-diagnosis"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab import api
from normlab.cli.commands.sweep import make_runs, print_plan
from normlab.cli.options import RESULTS, Format, at_home, examples
from normlab.cli.output import is_for_people, make_console, print_answer

if TYPE_CHECKING:
    from normlab.config import Config

EXAMPLES = examples(
    "normlab bench-diagnosis cases.yaml",
    "normlab bench-diagnosis cases.yaml --no-tries --format json",
)


def bench_diagnosis(
    cases: Annotated[
        Path,
        typer.Argument(
            metavar="CASES.yaml",
            help="A list of trainings that fail for a known reason: each with [cyan]config[/] and "
            "[cyan]cause[/], and optionally [cyan]also[/], [cyan]fix[/] and [cyan]metric[/].",
            show_default=False,
        ),
    ],
    tries: Annotated[
        bool, typer.Option("--tries/--no-tries", help="Make the runs with the first advice, too.")
    ] = True,
    torchmortem: Annotated[
        bool | None,
        typer.Option(
            "--torchmortem/--no-torchmortem",
            help="Where it is installed, train for its word, too, each time anew.",
        ),
    ] = None,
    root: Annotated[
        Path, typer.Option("--root", help="Where the runs go.", callback=at_home)
    ] = RESULTS,
    output_format: Format = "rich",
) -> None:
    """Put the diagnosis to the test on trainings that fail for a known reason.

    The runs, each on one thread of the CPU, are those of the experiment
    [cyan]diagnosis-CASES[/]; the same command makes only what is missing.
    """
    from normlab.bench import run_names
    from normlab.show import CasesSoFar, diagnosis_bench
    from normlab.vocabulary import FINAL

    people = is_for_people(output_format)
    console = make_console(stderr=not people)
    with console.status("reading the cases"):
        labelled = api.read_cases(cases, root)
        planned = api.plan_cases(labelled)
    if torchmortem:
        from normlab.bench import is_installed

        if not is_installed():
            console.print("torchmortem is not installed; its word is left out")
    console.print("as given and with the fix", style="bold")
    print_plan(planned, console, dry_run=False)
    outcomes = make_runs(planned, console, CasesSoFar(run_names(labelled, {})))
    advice: dict[int, Config] = {}
    if tries:
        with console.status("reading the advice"):
            advice = api.advised(labelled)
            further = api.plan_advised(advice)
        if further is not None:
            console.print("with the first advice", style="bold")
            print_plan(further, console, dry_run=False)
            outcomes += make_runs(further, console, CasesSoFar(run_names(labelled, advice)))
    with console.status("judging") as status:
        found = api.judge_cases(
            labelled,
            advice,
            peers=torchmortem is not False,
            on_case=lambda case: status.update(f"judging case {case.number}"),
        )
    if people:
        console.print()
    print_answer(output_format, found.to_plain(), lambda: diagnosis_bench(found, tries=tries))
    if any(outcome.status not in FINAL for outcome in outcomes):
        raise typer.Exit(1)
