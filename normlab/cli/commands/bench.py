"""normlab bench"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from normlab import api
from normlab.cli.options import Format, examples
from normlab.cli.output import is_for_people, make_console, print_answer
from normlab.errors import ConfigError
from normlab.text import listed, plural

if TYPE_CHECKING:
    from normlab.bench import Timing

EXAMPLES = examples("normlab bench --quick", "normlab bench resnet-56 --threads 2 --profile")
SECONDS, QUICK_SECONDS = 60.0, 3.0


def bench(
    nets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETS",
            help="Of mlp-30, cnn-20, resnet-56, resnet-20-28 and encoder-6; without, all.",
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="CPU threads, may be given several times; without, 1 and 2."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help=f"Of measuring for each net and number of threads; without, {SECONDS:.0f}, "
            f"{QUICK_SECONDS:.0f} with --quick.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="As runtime.device.")] = "auto",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="mlp-30 and cnn-20 on one thread, five of the variants in fewer rounds, in under "
            "40 seconds.",
        ),
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also where a step's time goes, by operation.")
    ] = False,
    output_format: Format = "rich",
) -> None:
    """Measure what measuring costs: a training step beside the bare textbook loop.

    In alternating blocks in this process; 0.9× is a tenth faster than the bare loop. All nets take
    about 9 minutes. Without --quick Lightning with grad_norm, wandb.watch offline and torchmortem
    join where they are installed.
    """
    people = is_for_people(output_format)
    if profile and not people:
        raise ConfigError("--profile: is printed with --format rich only")
    console = make_console(stderr=not people)
    with console.status("starting") as status:
        from rich.text import Text

        from normlab.bench import NETS, QUICK_NETS, Case
        from normlab.bench import profile as profile_of
        from normlab.show import bench_head, bench_row, profile_table

        chosen = nets or list(QUICK_NETS if quick else NETS)
        counts = threads or ([1] if quick else sorted({1, min(2, os.cpu_count() or 1)}))
        cases = [Case(net, count, device) for net in chosen for count in counts]
        shown: list[Timing] = []

        def show(timing: "Timing") -> None:
            if not people:
                return
            if not shown:
                console.print(bench_head(), soft_wrap=True)
            console.print(bench_row(timing, shown[-1] if shown else None), soft_wrap=True)
            shown.append(timing)

        timings = api.benchmark(
            *cases,
            seconds=seconds or (QUICK_SECONDS if quick else SECONDS),
            quick=quick,
            on_case=lambda case: status.update(f"{case.net}, {plural(case.threads, 'thread')}"),
            on_timing=show,
        )
    plain = [timing.to_plain() for timing in timings]
    # A person has seen the rows.
    print_answer(output_format, plain, lambda: Text(_legend(timings, quick=quick), "dim"))
    for case in cases if profile else ():
        console.print(profile_table(case.net, case.threads, profile_of(case)))


def _legend(timings: Sequence["Timing"], *, quick: bool) -> str:
    """What the rows are, and of how many rounds."""
    from normlab.bench import LEGEND

    shown = dict.fromkeys(timing.variant for timing in timings)
    words = [f"{name}: {LEGEND[name]}." for name in shown if name in LEGEND]
    rounds = {f"{t.net} on {plural(t.threads, 'thread')}": t.rounds for t in timings}
    words.append(
        "Medians of alternating blocks, ratios to the same round's bare: "
        f"{listed([f'{count} rounds of {case}' for case, count in rounds.items()])}."
    )
    if quick:
        words.append(
            "So few rounds leave wide quartiles and rough medians; without --quick there are more, "
            "of more variants and nets."
        )
    return " ".join(words)
