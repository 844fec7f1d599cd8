"""What normlab does, as functions: the commands call them, and so can a script or a notebook.

They take settings in the command line's own grammar, return typed values, print nothing and raise
subclasses of NormlabError; a Ctrl-C stays a KeyboardInterrupt. A sweep's local workers are
processes of their own, so a script calls `sweep` and `verify` below `if __name__ == "__main__":`.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

# Each of these loads what it needs when it is first asked for it.
from normlab import bench, claims, config, measurement, networks, results, show, training
from normlab import runs as run_files
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group
    from torch.nn import Module

    from normlab.bench import Case, Timing
    from normlab.claims import Claim, Scale, Verdict
    from normlab.config import Config
    from normlab.runs import Finished, Note, Outcome, Plan, Run
    from normlab.training import Event

Place = str | Path
RESULTS = Path("results")


def ignore(*_: object) -> None:
    """Hear of something and do nothing."""


# ------------------------------------------------------------------------------ one run


def compose(*overrides: str, config_dir: Path | None = None) -> "Config":
    """The configuration that settings name; raises ConfigError where it cannot be."""
    return config.compose(overrides, config_dir)


def model(*overrides: str, config_dir: Path | None = None) -> "Module":
    """The network that settings name, with the weights that `run` begins with, on the CPU."""
    import torch

    named = compose(*overrides, config_dir=config_dir)
    data = named.data.load(torch.device("cpu"))
    stream = training.random_stream(named.seed, "init")
    return networks.build_model(named, data.shape, data.classes, stream)


def run(*overrides: str, config_dir: Path | None = None, force: bool = False) -> "Run":
    """Train one network and measure every layer; a finished run is read, unless `force`."""
    named = compose(*overrides, config_dir=config_dir)
    finished = None if force else finished_run(named)
    return finished or run_config(named, force=force)


def finished_run(named: "Config") -> "Run | None":
    """The run of a configuration from its files, or None where it is not finished."""
    folder = run_files.run_folder(named)
    if not run_files.is_final(folder):
        return None
    run_files.remove_leftovers(folder)
    return run_files.read_run(folder)


def run_config(
    named: "Config",
    *,
    force: bool = False,
    follow: "Callable[[Iterator[Event | Note | Finished]], Finished] | None" = None,
) -> "Run":
    """Make the run of a configuration; `follow` goes through its events and returns the last.

    One that was interrupted goes on from its checkpoint, unless `force`. Raises BusyError where it
    is being made elsewhere or, unless `force`, is finished; RunError where it fails.
    """
    with _signals_as_stop() as stop:
        events = run_files.execute(named, force=force, stop=stop)
        # Closed here, wherever Ctrl-C was struck, so that its files are whole when this is left.
        with contextlib.closing(events):
            finished = (follow or _last)(events)
    return finished.run


@contextlib.contextmanager
def _signals_as_stop() -> Iterator[Callable[[], bool]]:
    """Whether to stop because of Ctrl-C and the like, which only the main thread can hear."""
    if threading.current_thread() is threading.main_thread():
        with run_files.stop_on_signals() as stop:
            yield stop
    else:
        yield lambda: False


def _last(events: "Iterator[Event | Note | Finished]") -> "Finished":
    *_, finished = events
    assert isinstance(finished, run_files.Finished)
    return finished


def read_run(name: str | None = None, root: Place = RESULTS) -> "Run":
    """A run from its files, by its folder or the start of its id; without, the latest.

    Raises RecordError where there is none or more than one, or its files are damaged.
    """
    return run_files.read_run(run_files.find_run(name, Path(root)))


# ---------------------------------------------------------------------------- many runs


def plan(
    *overrides: str,
    config_dir: Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
    most_runs: int | None = None,
) -> "Plan":
    """The runs of a grid: those to make, those finished or failed before; nothing is written.

    Raises ConfigError where a combination cannot be, or there are more than `most_runs`.
    """
    grids = config.grids(overrides, config_dir)
    size = config.size(grids)
    if most_runs is not None and size > most_runs:
        raise ConfigError(
            f"the sweep has {size:,} runs, above {most_runs:,}; add --yes if it is meant"
        )
    return run_files.plan(grids, config_dir, force=force, retry_failed=retry_failed)


def sweep(
    *overrides: str,
    config_dir: Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
) -> "list[Outcome]":
    """Make every run of a grid that is not finished, several at a time; how each has ended."""
    planned = plan(*overrides, config_dir=config_dir, force=force, retry_failed=retry_failed)
    return run_plan(planned, force=force, fail_fast=fail_fast)


def run_plan(
    planned: "Plan",
    *,
    force: bool = False,
    fail_fast: bool = False,
    on_waiting: Callable[[int], object] = ignore,
    follow: "Callable[[Iterator[Outcome]], list[Outcome]]" = list,
) -> "list[Outcome]":
    """Make a plan's pending runs; `follow` goes through the outcomes and returns them.

    `on_waiting` hears of so many runs that others are making, when nothing else is left.
    """
    outcomes = run_files.sweep(planned, force=force, fail_fast=fail_fast, waiting=on_waiting)
    with contextlib.closing(outcomes):
        return follow(outcomes)


# ------------------------------------------------------------------------------- claims


@dataclass(frozen=True)
class Verification:
    """Claims, and the runs that they are judged by."""

    claims: "Sequence[Claim]"
    scale: "Scale"
    plan: "Plan | None"  # None where no claim needs a run
    experiments: "Mapping[str, Sequence[Config]]"  # each claim's runs, by its id
    root: Path  # where its verdicts are kept

    def judge(self, claim: "Claim") -> "Verdict":
        """The verdict of a claim by the runs as they are."""
        return claims.judge_runs(claim, self.scale, self.experiments[claim.id])

    def remember(self, verdicts: "Sequence[Verdict]") -> None:
        """Keep verdicts beside the runs, for lists of claims and reports to tell them."""
        claims.remember(verdicts, self.root)


def verify(
    *words: str,
    scale: Literal["small", "paper"] = "small",
    config_dir: Path | None = None,
    retry_failed: bool = False,
) -> "list[Verdict]":
    """Put claims to the test: make the runs that are missing, measure, judge, keep the verdicts.

    Words are ids, YAML files of claims, and settings of where runs are made; without ids every
    claim is meant.
    """
    verification = plan_verification(
        *words, scale=scale, config_dir=config_dir, retry_failed=retry_failed
    )
    if verification.plan is not None:
        run_plan(verification.plan)
    verdicts = [verification.judge(claim) for claim in verification.claims]
    verification.remember(verdicts)
    return verdicts


def plan_verification(
    *words: str,
    scale: Literal["small", "paper"] = "small",
    config_dir: Path | None = None,
    retry_failed: bool = False,
) -> Verification:
    """What `verify` is to do; raises ConfigError for words that are no claims or settings."""
    names, overrides = claim_words(words)
    every = [claim for claim in claims.CLAIMS.values() if scale == "small" or claim.paper]
    chosen = claims.find_claims(names) if names else every
    root = results_root(overrides)
    planned, experiments = claims.plan_claims(
        chosen, scale, overrides, config_dir, retry_failed=retry_failed
    )
    return Verification(chosen, scale, planned, experiments, root)


def claim_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of claims, and settings."""
    several = list(words)
    return [word for word in several if "=" not in word], [word for word in several if "=" in word]


def results_root(overrides: Iterable[str] = ()) -> Path:
    """The results folder that settings name."""
    return Path(compose(*(o for o in overrides if o.startswith("output.root="))).output.root)


# ------------------------------------------------------------------------------ results


def read_results(
    *folders: Place,
    where: Sequence[str] = (),
    on_problem: Callable[[str], object] = ignore,
) -> "DataFrame":
    """Every run at or below folders, by default results/, as a row of settings and figures.

    `where` chooses runs, as `norm=bn` and `model.depth>=20` do; `on_problem` hears of each folder
    that is no sound run. Raises RecordError where there is no such folder.
    """
    frame, problems = results.read_selected(_paths(folders), where)
    for problem in problems:
        on_problem(problem)
    return frame


def _paths(folders: Iterable[Place]) -> list[Path]:
    return [Path(folder) for folder in folders] or [RESULTS]


def compare(
    *folders: Place,
    rows: Sequence[str] | None = None,
    cols: Sequence[str] | None = None,
    metrics: Sequence[str] = ("train_acc",),
    where: Sequence[str] = (),
    baseline: str | None = None,
) -> "DataFrame":
    """Mean and 95 % confidence interval over seeds, a row a cell of `rows` × `cols` and metric.

    With a baseline, such as `norm=none`, the mean paired differences from it.
    """
    frame = read_results(*folders, where=where)
    keys, columns = results.layout(frame, rows, cols)
    if baseline is not None:
        return results.paired(frame, baseline, metrics, keys, columns)
    return results.summarize(frame, keys, columns, metrics)


def export(
    file: Place,
    *folders: Place,
    where: Sequence[str] = (),
    on_problem: Callable[[str], object] = ignore,
) -> "DataFrame":
    """Write what `read_results` reads into FILE.parquet or FILE.csv, and return it."""
    frame = read_results(*folders, where=where, on_problem=on_problem)
    results.export(frame, Path(file))
    return frame


# ----------------------------------------------------------------------------- pictures


def plot(
    picture: str,
    *names: str,
    output: Place,
    probe: str = "delta_rms",
    metric: str = "train_acc",
    where: Sequence[str] = (),
) -> Path:
    """Draw the runs of `runs_to_draw` into FILE.png, .svg, .pdf or .html.

    A picture takes a probe, a metric of curves or neither. Raises ConfigError where there is
    nothing to draw.
    """
    frame = runs_to_draw(picture, *names, where=where)
    show.draw(picture, frame, show.PictureOptions(probe, metric), Path(output))
    return Path(output)


def sketch(
    picture: str,
    *names: str,
    width: int = 80,
    probe: str = "delta_rms",
    metric: str = "train_acc",
    where: Sequence[str] = (),
) -> "Group":
    """What `plot` draws, as characters for rich to print, so many columns wide."""
    frame = runs_to_draw(picture, *names, where=where)
    return show.sketch(picture, frame, show.PictureOptions(probe, metric), width)


def runs_to_draw(
    picture: str,
    *names: str,
    where: Sequence[str] = (),
    root: Place = RESULTS,
    on_problem: Callable[[str], object] = ignore,
) -> "DataFrame":
    """The runs that a picture is to show, by folders or by starts of their ids below `root`.

    Without names all of `root`, or the latest run for a picture of one run.
    """
    if show.PICTURES[picture].of_one_run and not names:
        folders = [run_files.find_run(None, Path(root))]
    else:
        folders = show.find_folders(names or [str(root)], Path(root))
    return read_results(*folders, where=where, on_problem=on_problem)


def report(
    *folders: Place,
    output: Place = "report.html",
    where: Sequence[str] = (),
    ids: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_problem: Callable[[str], object] = ignore,
) -> Path:
    """Write a page of findings, table and interactive pictures, of runs with such ids only.

    Raises ConfigError where no run has finished.
    """
    places, file = _paths(folders), Path(output)
    frame = read_results(*places, where=where, on_problem=on_problem)
    if ids is not None:
        frame = frame[frame["run_id"].isin(ids)]
    verdicts = show.verdicts_of(frame, places)
    show.write_report(show.Selection(frame, places, where), file, verdicts, progress)
    return file


# --------------------------------------------------------------- theory, machine, speed


def theory(*overrides: str, config_dir: Path | None = None) -> dict[str, Any]:
    """What mean-field theory predicts of an MLP without norm, such as its phase q, χ₁ and c*.

    Raises ConfigError for other networks.
    """
    named = compose("model=mlp", "norm=none", *overrides, config_dir=config_dir)
    if named.model.name != "mlp" or named.norm.name not in ("none", "wn"):
        raise ConfigError(
            f"model={named.model.name} norm={named.norm.name}: the phases of mean-field theory "
            "are of MLPs without norm; leave out model and norm"
        )
    return measurement.overview(named)


@dataclass(frozen=True)
class Info:
    """What is installed here, and where things lie."""

    versions: Mapping[str, str]
    devices: Sequence[str]
    configs: Path
    data: Mapping[str, Path | None]  # None for a data set that is not here yet

    def to_plain(self) -> dict[str, Any]:
        """The same as text, lists and mappings."""
        return {
            **self.versions,
            "devices": list(self.devices),
            "configs": str(self.configs),
            "data": {name: str(place) if place else None for name, place in self.data.items()},
        }


def info() -> Info:
    """Versions, devices, and where data sets lie."""
    return Info(
        run_files.versions(),
        training.available_devices(),
        config.config_folder(),
        {name: part.locate() for name, part in config.DATA_SETS.items() if part.has_files()},
    )


def benchmark(
    *cases: "Case", seconds: float = 60.0, on_case: "Callable[[Case], object]" = ignore
) -> "list[Timing]":
    """Times of a training step beside the bare textbook loop, for each net and thread count.

    `on_case` hears of each before it is measured, for so many seconds. Raises ConfigError for an
    unknown net or device before any is.
    """
    for case in cases:
        case.config()
    timings: list[Timing] = []
    for case in cases:
        on_case(case)
        timings += bench.measure(case, seconds)
    return timings
