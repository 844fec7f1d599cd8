"""Runs read: tables, pictures and pages; and what can be said without any run."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Each of these loads what it needs when it is first asked for it.
from normlab import analysis, bench, config, measurement, show, training
from normlab import runs as run_files
from normlab.api.extending import info_of_plugins
from normlab.api.making import compose
from normlab.api.places import RESULTS, Place, ignore, places_to_compare
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group

    from normlab.bench import Case, Timing

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
    frame, problems = analysis.read_selected(_paths(folders), where)
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
    sort: str | None = None,
    baseline: str | None = None,
    best: Sequence[str] = (),
    by: str | None = None,
) -> "DataFrame":
    """Mean and 95 % confidence interval over seeds, a row a cell of `rows` × `cols` and metric.

    With a baseline, such as `norm=none`, the mean paired differences from it. Of the `best` keys,
    such as `optimizer.lr`, each cell has the value with the best mean of `by` only, by default of
    test_acc. Without folders it is of the experiment in results/ that was made last.
    """
    frame = read_results(*places_to_compare(folders, where), where=where)
    request = analysis.Request(rows, cols, metrics, sort, baseline, best, by)
    return analysis.arrange(frame, request).table


def export(
    kind: str,
    *folders: Place,
    output: Place | None = None,
    where: Sequence[str] = (),
    rows: "analysis.RowKind" = "runs",
    on_problem: Callable[[str], object] = ignore,
) -> "analysis.Exported":
    """Write what `read_results` reads for another program: csv, parquet, jsonl, tensorboard,
    mlflow or wandb; without `output` into the current folder.

    A row of csv and parquet is a run, with `rows` "steps" an evaluation of a run, with "layers" a
    layer at a step. Raises ConfigError for another kind, or where its library is not installed.
    """
    analysis.check_export(kind, rows)  # before much is read
    frame = read_results(*folders, where=where, on_problem=on_problem)
    place = None if output is None else str(output)
    return analysis.export(frame, kind, place, rows, on_problem)


# ----------------------------------------------------------------------------- pictures


def plot(
    picture: str,
    *names: str,
    output: Place,
    probe: str | None = None,
    metric: str | None = None,
    x: str | None = None,
    title: str | None = None,
    size: tuple[int, int] | None = None,
    where: Sequence[str] = (),
) -> Path:
    """Draw the runs of `runs_to_draw` into FILE.png, .svg, .pdf or .html.

    Some pictures take a probe, a metric or the key of their x axis; two keys stand before the names
    for `phase`. `size` is the file's width and height in pixels, of which a PNG has two by two for
    one. Raises ConfigError where there is nothing to draw.
    """
    keys, runs = show.split_keys(picture, names)
    options = show.PictureOptions(probe, metric, x, keys, title, size)
    show.draw(picture, runs_to_draw(picture, *runs, where=where), options, Path(output))
    return Path(output)


def sketch(
    picture: str,
    *names: str,
    screen: tuple[int, int] = (80, 24),
    probe: str | None = None,
    metric: str | None = None,
    x: str | None = None,
    title: str | None = None,
    where: Sequence[str] = (),
) -> "Group":
    """What `plot` draws, as characters for rich to print, in so many columns and rows."""
    keys, runs = show.split_keys(picture, names)
    options = show.PictureOptions(probe, metric, x, keys, title)
    frame = runs_to_draw(picture, *runs, where=where)
    return show.sketch(picture, frame, options, show.Screen(*screen))


def runs_to_draw(
    picture: str,
    *names: str,
    where: Sequence[str] = (),
    root: Place = RESULTS,
    on_problem: Callable[[str], object] = ignore,
    on_choice: Callable[[str], object] = ignore,
) -> "DataFrame":
    """The runs that a picture is to show, by folders or by starts of their ids below `root`.

    Without names those of the experiment below `root` that was made last, or the latest run for a
    picture of one run.
    """
    if names:
        folders = show.find_folders(names, Path(root))
    elif show.PICTURES[picture].of_one_run:
        folders = [run_files.find_run(None, Path(root))]
    else:
        folders = places_to_compare((), where, root, on_choice)
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

    Without folders it is about the experiment in results/ that was made last. Raises ConfigError
    where no run has finished.
    """
    places, file = places_to_compare(folders, where), Path(output)
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
    if named.model.spatial or named.norm.normalizes:
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
    plugins: Mapping[str, Mapping[str, Any]]  # version, place and parts; or why it is left out

    def to_plain(self) -> dict[str, Any]:
        """The same as text, lists and mappings."""
        return {
            **self.versions,
            "devices": list(self.devices),
            "configs": str(self.configs),
            "data": {name: str(place) if place else None for name, place in self.data.items()},
            "plugins": dict(self.plugins),
        }


def info() -> Info:
    """Versions, devices, where data sets lie, and what plugins bring."""
    return Info(
        run_files.versions(),
        training.available_devices(),
        config.config_folder(),
        {name: part.locate() for name, part in config.DATA_SETS.items() if part.has_files()},
        info_of_plugins(),
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
