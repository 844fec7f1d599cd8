"""Runs read for the commands; and what can be said without any run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Each of these loads what it needs when it is first asked for it.
from normlab import analysis, bench, config, show, training
from normlab import runs as run_files
from normlab.api.extending import info_of_plugins
from normlab.api.many_runs import results_in
from normlab.api.places import RESULTS, Place, ignore, places_to_compare

if TYPE_CHECKING:
    from pandas import DataFrame

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
    found = results_in(folders, where)
    for problem in found.problems:
        on_problem(problem)
    return found.frame


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


# ----------------------------------------------------------------------- machine, speed


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
    *cases: "Case",
    seconds: float = 60.0,
    quick: bool = False,
    on_case: "Callable[[Case], object]" = ignore,
    on_timing: "Callable[[Timing], object]" = ignore,
) -> "list[Timing]":
    """Times of a training step beside the bare textbook loop, for each net and thread count.

    `on_case` hears of each before it is measured, for so many seconds, and `on_timing` of each
    variant when it has been. `quick` leaves some variants out, other packages among them. Raises
    ConfigError for an unknown net or device before any is measured.
    """
    for case in cases:
        case.config()
    timings: list[Timing] = []
    for case in cases:
        on_case(case)
        for timing in bench.measure(case, seconds, quick=quick):
            on_timing(timing)
            timings.append(timing)
    return timings
