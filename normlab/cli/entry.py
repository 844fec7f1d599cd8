"""The command line: parse, call, print."""

import atexit
import contextlib
import gc
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from normlab import __version__
from normlab.errors import ConfigError, InterruptedRunError, NormlabError
from normlab.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

# Of what goes into a file or a pipe.
FILE_WIDTH = 120
# A grid larger than this is more often a slip than meant.
MOST_RUNS = 10_000

app = typer.Typer(
    name="normlab",
    help="See gradients vanish, explode and flow: deep networks with and without normalization "
    "and residual learning.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    epilog="""[bold]Examples[/]

normlab run model=resnet model.depth=56

normlab run --help""",
    pretty_exceptions_enable=False,
)


class TableFormat(StrEnum):
    """How a comparison is printed."""

    rich = "rich"
    csv = "csv"
    json = "json"
    md = "md"
    latex = "latex"


class VerdictFormat(StrEnum):
    """How verdicts are printed."""

    rich = "rich"
    json = "json"
    md = "md"


class Format(StrEnum):
    """How a command prints its answer."""

    rich = "rich"
    json = "json"


def _complete_override(context: typer.Context, incomplete: str) -> list[str]:
    from normlab.config import complete_override

    return complete_override(context.params.get("overrides") or [], incomplete)


def _complete_claim(incomplete: str) -> list[str]:
    from normlab.claims import claim_ids

    return [name for name in claim_ids() if name.startswith(incomplete.upper())]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES",
        help="Settings in Hydra's grammar: [cyan]group=choice[/] or [cyan]dotted.key=value[/].",
        autocompletion=_complete_override,
        show_default=False,
    ),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(help="A folder of your own YAML groups, such as [cyan]DIR/model/mine.yaml[/]."),
]
OutputFormat = Annotated[
    Format, typer.Option("--format", help="[cyan]json[/]: one object on stdout, nothing else.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


@app.callback(invoke_without_command=True)
def normlab(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"normlab {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command(
    epilog="""[bold]Examples[/]

normlab run

normlab run model=mlp model.depth=20 model.activation=sigmoid norm=none

normlab run model=resnet model.depth=56 norm=ln optimizer.lr=0.05

normlab run data=cifar10 data.train_size=5000 training.epochs=5

normlab run model=mlp --cfg"""
)
def run(
    overrides: Overrides = None,
    cfg: Annotated[
        bool, typer.Option("--cfg", help="Print the composed configuration and stop.")
    ] = False,
    multirun: Annotated[
        bool, typer.Option("--multirun", "-m", help="Several runs: the same as [cyan]sweep[/].")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
    output_format: OutputFormat = Format.rich,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """Train one network, measure every layer, and say what happened.

    Files go to [cyan]results/<experiment>/<run_id>/[/]; a finished run is shown, not run again.
    """
    from normlab.config import compose, describe, to_yaml
    from normlab.runs import (
        CHECKPOINT_FILE,
        is_final,
        read_summary,
        remove_leftovers,
        run_folder,
        to_json,
    )

    if multirun:
        if cfg or output_format is not Format.rich:
            option = "--cfg" if cfg else f"--format {output_format.value}"
            raise ConfigError(
                f"{option}: of one run, not with -m; normlab sweep --dry-run prints the plan, "
                "normlab compare --format json the results"
            )
        sweep(overrides, force=force, config_dir=config_dir)
        return
    config = compose(overrides or [], config_dir)
    if cfg:
        as_json = output_format is Format.json
        print(
            to_json(config.model_dump(mode="json")) + "\n" if as_json else to_yaml(config), end=""
        )
        return
    folder = run_folder(config)
    if is_final(folder) and not force:
        remove_leftovers(folder)
        if output_format is Format.rich:
            _console().print("Finished before, shown from its files; --force runs it again.\n")
        _show(folder, output_format)
        return
    # A person who sends the report elsewhere still sees the run go on.
    console = _console(stderr=output_format is Format.json or not sys.stdout.isatty())
    if not console.is_terminal:
        console = _console(quiet=output_format is Format.json)
    with console.status(f"{describe(config)}: starting"):
        from normlab.runs import execute, stop_on_signals
        from normlab.show import watch
    try:
        # Closed here, wherever Ctrl-C struck, so that its files are whole before it is told.
        with (
            stop_on_signals() as stop,
            contextlib.closing(execute(config, force=force, stop=stop)) as events,
        ):
            finished = watch(events, console, describe(config))
    except KeyboardInterrupt:
        summary = read_summary(folder)
        kept = summary is not None and summary.status == "interrupted"
        advice = f"; normlab show {folder} prints what was measured" if kept else ""
        if (folder / CHECKPOINT_FILE).exists():
            command = "the same command without --force" if force else "the same command"
            advice = f"; {command} goes on from there{advice}"
        raise InterruptedRunError(f"interrupted{advice}") from None
    _show(finished.folder, output_format)


@app.command(
    epilog="""[bold]Examples[/]

normlab sweep experiment=quickstart

normlab sweep model=cnn,resnet model.depth=8,20,56 norm=none,bn,ln 'seed=range(5)'

normlab sweep 'zip(model.depth=8,20; training.epochs=10,20)' --dry-run"""
)
def sweep(
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what is finished.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed before.")
    ] = False,
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
    debug: Debug = False,
) -> None:
    """Make every run of a grid that is not finished, several at a time.

    The same command again makes only what is missing.
    """
    from normlab.config import grids, run_id, size

    if report_file is not None:
        from normlab.show import check_page

        check_page(report_file)
    several = grids(overrides or [], config_dir)
    if size(several) > MOST_RUNS and not yes:
        raise ConfigError(
            f"the sweep has {size(several):,} runs, above {MOST_RUNS:,}; add --yes if it is meant"
        )
    console = _console()
    with console.status("planning"):
        from normlab.runs import FINAL, plan, run_folder
        from normlab.runs import sweep as outcomes_of
        from normlab.show import (
            left_alone_line,
            plan_lines,
            run_lines,
            sweep_report,
            sweep_table,
            waiting_line,
            watch_sweep,
        )

        planned = plan(several, config_dir, force=force, retry_failed=retry_failed)
    for line in plan_lines(planned):
        console.print(line)
    if dry_run:
        for line in run_lines(planned):
            console.print(line, markup=False, soft_wrap=True)
        return
    folders = list(dict.fromkeys(run_folder(config).parent for config in planned.configs))
    ids = {run_id(config) for config in planned.configs}
    try:
        with contextlib.closing(
            outcomes_of(
                planned,
                force=force,
                fail_fast=fail_fast,
                waiting=lambda runs: console.print(waiting_line(runs)),
            )
        ) as outcomes:
            seen = watch_sweep(
                outcomes, planned, console, lambda: sweep_table(folders, ids, console.width)
            )
    except KeyboardInterrupt:
        console.print(sweep_report(folders, ids, console.width))
        raise InterruptedRunError("interrupted; the same command goes on from here") from None
    console.print(sweep_report(folders, ids, console.width))
    if planned.failed:
        console.print(left_alone_line(planned))
    if report_file is not None:
        _write_report(folders, report_file, [], ids=ids)
    if planned.failed or any(outcome.status not in FINAL for outcome in seen):
        raise typer.Exit(1)


@app.command(
    epilog="""[bold]Examples[/]

normlab verify

normlab verify C06 C14 C17

normlab verify --all --format md

normlab verify C14 --scale paper runtime.device=cuda

normlab verify mine.yaml"""
)
def verify(
    claims: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIMS",
            help="Ids such as [cyan]C14[/], YAML files of your own, and settings of where runs are "
            "made, such as [cyan]launcher=ray[/]; without, the list of claims.",
            autocompletion=_complete_claim,
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every claim.")] = False,
    scale: Annotated[
        Literal["small", "paper"],
        typer.Option(help="[cyan]paper[/]: the papers' own protocols, mostly for a GPU."),
    ] = "small",
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run again what failed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing.")
    ] = False,
    verdict_format: Annotated[VerdictFormat, typer.Option("--format")] = VerdictFormat.rich,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """Put claims of the literature to the test: run what is missing, measure, and judge.

    Exit code 1 if any claim fails or could not be judged.
    """
    from normlab.claims import CLAIMS, find_claims, judge_runs, plan_claims, remember, remembered
    from normlab.config import compose
    from normlab.show import (
        claims_table,
        summary_line,
        to_verdict_json,
        to_verdict_markdown,
        verdict_report,
    )

    overrides = [text for text in claims or [] if "=" in text]
    names = [text for text in claims or [] if "=" not in text]
    if every and names:
        raise ConfigError(f"--all: takes no claims beside it; leave out {' '.join(names)}")
    chosen = find_claims(names)
    if every:
        chosen = [claim for claim in CLAIMS.values() if scale == "small" or claim.paper]
    root = Path(compose([o for o in overrides if o.startswith("output.root=")]).output.root)
    rich = verdict_format is VerdictFormat.rich
    if not chosen:
        if not rich:
            raise ConfigError(f"--format {verdict_format}: name the claims, or add --all")
        _console().print(claims_table(list(CLAIMS.values()), scale, remembered(root, scale)))
        return
    console = _console() if rich else _console(stderr=True)
    with console.status("planning"):
        from normlab.runs import sweep as outcomes_of
        from normlab.show import plan_lines, waiting_line, watch_sweep

        planned, experiments = plan_claims(
            chosen, scale, overrides, config_dir, retry_failed=retry_failed
        )
    if planned is not None:
        for line in plan_lines(planned):
            console.print(line)
    if dry_run:
        return
    if planned is not None and planned.pending:
        try:
            with contextlib.closing(
                outcomes_of(planned, waiting=lambda runs: console.print(waiting_line(runs)))
            ) as outcomes:
                watch_sweep(outcomes, planned, console, lambda: None)
        except KeyboardInterrupt:
            raise InterruptedRunError("interrupted; the same command goes on from here") from None
    verdicts = []
    for claim in chosen:
        with console.status(f"judging {claim.id}"):
            verdicts.append(judge_runs(claim, scale, experiments[claim.id]))
        if rich:
            console.print(verdict_report(verdicts[-1]))
    remember(verdicts, root)
    match verdict_format:
        case VerdictFormat.json:
            print(to_verdict_json(verdicts))
        case VerdictFormat.md:
            print(to_verdict_markdown(verdicts))
    console.print(summary_line(verdicts))
    if any(verdict.verdict in ("FAIL", "INCOMPLETE") for verdict in verdicts):
        raise typer.Exit(1)


@app.command(
    epilog="""[bold]Examples[/]

normlab claims C14

normlab claims mine.yaml"""
)
def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIMS",
            help="Ids such as [cyan]C14[/]; without, the list.",
            autocompletion=_complete_claim,
            show_default=False,
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Where verdicts are looked for.")] = Path("results"),
    debug: Debug = False,
) -> None:
    """Explain claims: what is compared, which trap is avoided, how to repeat a single arm."""
    from normlab.claims import CLAIMS, find_claims, remembered
    from normlab.show import claim_page, claims_table

    last, console = remembered(root, "small"), _console()
    if not names:
        console.print(claims_table(list(CLAIMS.values()), "small", last))
    for claim in find_claims(names or []):
        console.print(claim_page(claim, last.get(claim.id)))
        console.print()


@app.command(
    epilog="""[bold]Examples[/]

normlab theory model.activation=tanh model.init=lecun_normal model.init_gain=1.2

normlab theory model.activation=relu model.depth=50 --format json"""
)
def theory(
    overrides: Overrides = None,
    output_format: OutputFormat = Format.rich,
    config_dir: ConfigDir = None,
    debug: Debug = False,
) -> None:
    """Predict an MLP's gradient at initialization by mean-field theory, without training.

    Settings are those of [cyan]normlab run model=mlp norm=none[/].
    """
    from normlab.config import compose
    from normlab.measurement import overview
    from normlab.runs import to_json
    from normlab.show import theory_table

    given = overrides or []
    config = compose(["model=mlp", "norm=none", *given], config_dir)
    if config.model.name != "mlp" or config.norm.name not in ("none", "wn"):
        raise ConfigError(
            f"model={config.model.name} norm={config.norm.name}: the phases of mean-field theory "
            "are of MLPs without norm; leave out model and norm"
        )
    facts = overview(config)
    if output_format is Format.json:
        print(to_json(facts))
    else:
        _console().print(theory_table(facts))


@app.command(
    epilog="""[bold]Examples[/]

normlab show

normlab show results/runs/1b02030fe1

normlab show 1b02"""
)
def show(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="A run's folder, or the start of its id; without, the latest."
        ),
    ] = None,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("results"),
    output_format: OutputFormat = Format.rich,
    debug: Debug = False,
) -> None:
    """Print a run again from its files."""
    from normlab.runs import find_run

    _show(find_run(run, root), output_format)


@app.command(
    epilog="""[bold]Examples[/]

normlab bench --quick

normlab bench resnet-56 --threads 2 --profile"""
)
def bench(
    nets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NETS", help="Of mlp-30, cnn-20, resnet-56 and resnet-20-28; without, all."
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="CPU threads, may be given several times; without, 1 and 2."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Of measuring for each net and number of threads.")
    ] = 60.0,
    device: Annotated[str, typer.Option(help="As runtime.device.")] = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="Two nets on one thread, in under 40 seconds.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also where a step's time goes, by operation.")
    ] = False,
    output_format: OutputFormat = Format.rich,
    debug: Debug = False,
) -> None:
    """Measure what measuring costs: a training step beside the bare textbook loop.

    In alternating blocks in this process; 0.9× is a tenth faster than the bare loop. Lightning with
    grad_norm and wandb.watch offline join where they are installed. All nets take about 9 minutes.
    """
    import json

    from normlab.show import bench_table, profile_table

    rich = output_format is Format.rich
    if profile and not rich:
        raise ConfigError("--profile: is printed with --format rich only")
    console = _console(stderr=not rich)
    with console.status("starting"):
        from normlab.bench import LEGEND, NETS, QUICK_NETS, Case, Timing, measure
        from normlab.bench import profile as profile_of
    chosen = nets or list(QUICK_NETS if quick else NETS)
    counts = threads or ([1] if quick else sorted({1, min(2, os.cpu_count() or 1)}))
    cases = [Case(net, count, device) for net in chosen for count in counts]
    for case in cases:
        case.config()  # refuse before anything runs
    timings: list[Timing] = []
    for case in cases:
        with console.status(f"{case.net}, {plural(case.threads, 'thread')}"):
            timings += measure(case, 8.0 if quick else seconds)
    if not rich:
        print(json.dumps([timing.to_plain() for timing in timings], indent=2))
        return
    console.print(bench_table(timings))
    console.print(LEGEND, style="dim")
    if profile:
        for case in cases:
            console.print(profile_table(case.net, case.threads, profile_of(case)))


@app.command(
    epilog="""[bold]Examples[/]

normlab info

normlab info --format json"""
)
def info(output_format: OutputFormat = Format.rich, debug: Debug = False) -> None:
    """Print versions, devices, and where data sets lie."""
    from normlab.config import DATA_SETS, config_folder
    from normlab.runs import to_json, versions
    from normlab.show import info_table
    from normlab.training import available_devices

    places = {name: part.locate() for name, part in DATA_SETS.items() if part.has_files()}
    facts = {
        **versions(),
        "devices": available_devices(),
        "configs": str(config_folder()),
        "data": {name: str(place) if place else None for name, place in places.items()},
    }
    if output_format is Format.json:
        print(to_json(facts))
    else:
        _console().print(info_table(facts))


Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FOLDERS", help="Results folders, at any level; without, results/."),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Only runs such as [cyan]norm=bn[/] or [cyan]model.depth>=20[/]."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Name the folders that are no sound runs.")
]


@app.command(
    epilog="""[bold]Examples[/]

normlab compare results/quickstart

normlab compare --rows norm,model.residual --cols model.depth --metric train_acc

normlab compare --where 'norm=none,bn' --baseline norm=none

normlab compare --metric train_acc --metric gradient_ratio_init --format latex"""
)
def compare(
    folders: Folders = None,
    rows: Annotated[
        str | None, typer.Option(help="Keys of the rows, by commas; without, whatever varies.")
    ] = None,
    cols: Annotated[
        str | None, typer.Option(help="Keys of the columns; without, model.depth if it varies.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="What is averaged over seeds, by commas or several times."),
    ] = None,
    where: Where = None,
    sort: Annotated[
        str | None, typer.Option(help="A row key or metric; -train_acc is the best first.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Paired differences from such as [cyan]norm=none[/].")
    ] = None,
    table_format: Annotated[TableFormat, typer.Option("--format")] = TableFormat.rich,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Compare runs: mean and 95% confidence interval over seeds, in one table."""
    from normlab.results import read_selected
    from normlab.show import ComparisonOptions, comparison

    console = _console()
    frame, problems = read_selected(folders or [Path("results")], where or [])
    metrics = [name for part in metric or ["train_acc"] for name in part.split(",")]
    options = ComparisonOptions(_split(rows), _split(cols), metrics, sort, baseline)
    shown = comparison(frame, options, table_format.value, console.width)
    if isinstance(shown, str):
        print(shown)
    else:
        console.print(shown)
    _tell(problems, verbose)


@app.command(
    epilog="""[bold]Examples[/]

normlab ls

normlab ls results/quickstart --where status=failed"""
)
def ls(
    folders: Folders = None,
    where: Where = None,
    limit: Annotated[int, typer.Option(help="How many runs to list; 0 for all.", min=0)] = 50,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """List runs and their states."""
    from normlab.results import counts, read_selected
    from normlab.show import counts_line, runs_table

    console = _console()
    frame, problems = read_selected(folders or [Path("results")], where or [])
    console.print(runs_table(frame, width=console.width, limit=limit))
    console.print(counts_line(counts(frame)))
    _tell(problems, verbose)


class Picture(StrEnum):
    """What is drawn."""

    gradients = "gradients"
    heatmap = "heatmap"
    curves = "curves"
    depth = "depth"
    theory = "theory"


@app.command(
    epilog="""[bold]Examples[/]

normlab plot gradients results/quickstart --where model.depth=56 -o gradients.svg

normlab plot heatmap 1b02 -o heatmap.png

normlab plot curves results/quickstart --metric test_acc

normlab plot depth results/quickstart -o depth.pdf

normlab plot theory results/C11 -o theory.html"""
)
def plot(
    picture: Annotated[
        Picture,
        typer.Argument(
            metavar="PICTURE",
            help="[cyan]gradients[/] by layer; [cyan]heatmap[/] layer × step of one run; "
            "[cyan]curves[/] by epoch; train error by [cyan]depth[/]; predicted and measured "
            "factors, [cyan]theory[/].",
            show_default=False,
        ),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUNS",
            help="Runs or results folders, or starts of ids; without, results/, and the latest "
            "run for a heatmap.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="FILE.png, .svg, .pdf or .html; without, in the terminal."
        ),
    ] = None,
    probe: Annotated[
        str, typer.Option(help="Of gradients and heatmap: delta_rms, grad_norm, act_std, ….")
    ] = "delta_rms",
    metric: Annotated[
        str, typer.Option(help="Of curves: train_acc, test_acc, train_loss, test_loss.")
    ] = "train_acc",
    where: Where = None,
    root: Annotated[Path, typer.Option(help="Where to look for ids.")] = Path("results"),
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Draw runs: into a file, or as characters in the terminal."""
    from normlab.results import read_selected
    from normlab.show import PICTURES, PictureOptions, draw, find_folders, sketch

    console = _console()
    if PICTURES[picture.value].of_one_run and not runs:
        from normlab.runs import find_run

        folders = [find_run(None, root)]
    else:
        folders = find_folders(runs or [str(root)], root)
    frame, problems = read_selected(folders, where or [])
    options = PictureOptions(probe, metric)
    with _reading(console) as tell:
        if output is None:
            console.print(sketch(picture.value, frame, options, console.width, tell))
        else:
            draw(picture.value, frame, options, output, tell)
    if output is not None:
        print(f"written to {output}")
    _tell(problems, verbose)


@app.command(
    epilog="""[bold]Examples[/]

normlab report results/quickstart -o report.html"""
)
def report(
    folders: Folders = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.html")] = Path("report.html"),
    where: Where = None,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Write one page of findings, table, interactive pictures, and how to repeat it.

    It holds all it needs and opens from disk without a network.
    """
    _write_report(folders or [Path("results")], output, where or [], verbose=verbose)


def _write_report(
    folders: list[Path],
    output: Path,
    where: list[str],
    *,
    ids: set[str] | None = None,
    verbose: bool = False,
) -> None:
    from normlab.results import read_selected
    from normlab.show import Selection, verdicts_of, write_report

    console = _console(stderr=True)
    frame, problems = read_selected(folders, where)
    if ids is not None:
        frame = frame[frame["run_id"].isin(ids)]
    with _reading(console) as tell:
        chosen = Selection(frame, folders, where)
        write_report(chosen, output, verdicts_of(frame, folders), tell)
    print(f"written to {output} ({output.stat().st_size / 1e6:.1f} MB)")
    _tell(problems, verbose)


@contextlib.contextmanager
def _reading(console: "Console") -> "Iterator[Callable[[int, int], None]]":
    """A bar for reading many runs' tables, where there is a terminal to show it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("reading runs"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


results_app = typer.Typer(help="Work with results folders.", no_args_is_help=True)
app.add_typer(results_app, name="results")


@results_app.command(
    "export",
    epilog="""[bold]Examples[/]

normlab results export runs.parquet

normlab results export bn.csv results/quickstart --where norm=bn""",
)
def export_results(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.parquet or FILE.csv")],
    folders: Folders = None,
    where: Where = None,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Write every run as a row: its whole configuration and its final figures."""
    from normlab.results import export, read_selected

    frame, problems = read_selected(folders or [Path("results")], where or [])
    export(frame, file)
    print(f"{len(frame)} run{'s' if len(frame) != 1 else ''} written to {file}")
    _tell(problems, verbose)


def _split(keys: str | None) -> list[str] | None:
    return None if keys is None else [key for key in keys.split(",") if key]


def _tell(problems: list[str], verbose: bool) -> None:
    if problems and verbose:
        print(*problems, sep="\n", file=sys.stderr)
    elif problems:
        count = f"{len(problems)} folder{'s' if len(problems) != 1 else ''}"
        print(f"{count} left out as no sound run; --verbose names them", file=sys.stderr)


def main() -> None:
    """Run the command line; every foreseen error is one line on stderr."""
    debug = "--debug" in sys.argv
    # Python's last collection would walk all of torch: half a second for nothing.
    atexit.register(gc.freeze)
    struck = _interruptible()
    try:
        code = app(standalone_mode=False)
        if code == 130:  # Ctrl-C before there was anything to lose
            _fail("interrupted", code)
    except NormlabError as error:
        if debug:
            raise
        code = _fail(str(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        # The command line's own usage errors; Typer's classes for them moved between versions.
        if hasattr(error, "format_message"):
            code = _fail(error.format_message(), 2)
        else:
            code = _fail(f"{type(error).__name__}: {error}; --debug shows where", 3)
    sys.exit(128 + struck[0] if struck and code == InterruptedRunError.exit_code else code)


def _interruptible() -> list[int]:
    """Make a polite end, by another program or a closed terminal, the same as Ctrl-C.

    The list gets the number of each such signal that has come.
    """
    struck: list[int] = []

    def strike(number: int, _: object) -> None:
        struck.append(number)
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # Under nohup it is ignored, and shall be.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, strike)
    return struck


def _show(folder: Path, output_format: Format) -> None:
    from normlab.runs import read_run, to_json
    from normlab.show import run_report

    run = read_run(folder)
    if output_format is Format.json:
        print(to_json(run.summary.to_plain()))
    else:
        console = _console()
        console.print(run_report(run, console.width))


def _console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    from rich.console import Console

    class PatientConsole(Console):
        def on_broken_pipe(self) -> None:
            # `normlab run | head` has read enough; the run is still wanted.
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    console = PatientConsole(stderr=stderr, quiet=quiet, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    return console


def _fail(message: str, code: int) -> int:
    # What was typed is told again, but not to the terminal: no control characters.
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(message.split()))
    print(f"normlab: {shown}", file=sys.stderr)
    return code
