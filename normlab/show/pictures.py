"""What `normlab plot` draws: which rows go into which chart, or into which sketch of characters."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.config import PROBES
from normlab.errors import ConfigError
from normlab.results import series
from normlab.runs import find_run
from normlab.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


def find_folders(names: Sequence[str], root: Path) -> list[Path]:
    """The folders that a person means by paths or by starts of run ids; raises RecordError."""
    return [Path(name) if Path(name).is_dir() else find_run(name, root) for name in names]


def draw(
    picture: str,
    frame: "DataFrame",
    probe: str,
    metric: str,
    output: Path,
    tell: series.Tell | None = None,
) -> None:
    """Draw a picture into a file; raises ConfigError where there is nothing to draw, or no form."""
    from normlab.show import charts

    charts.check_format(output)
    _check(picture, probe, metric)
    runs = series.with_variants(frame)
    variants = list(runs["variant"].unique())
    match picture:
        case "gradients":
            chart = charts.gradients(series.profiles(runs, probe, tell), probe, variants)
        case "heatmap":
            folder, name = _one(runs)
            chart = charts.heatmap(series.history(folder, probe), probe, name)
        case "curves":
            chart = charts.curves(series.curves(runs, metric, tell), metric, variants)
        case "depth":
            chart = charts.depth(series.errors(runs), variants)
        case _:
            chart = charts.theory(series.predicted(runs, tell), variants)
    charts.save(chart, output)


def sketch(
    picture: str,
    frame: "DataFrame",
    probe: str,
    metric: str,
    width: int,
    tell: series.Tell | None = None,
) -> "Group":
    """The same as characters for a terminal."""
    from normlab.show.terminal import sketches

    _check(picture, probe, metric)
    runs = series.with_variants(frame)
    match picture:
        case "gradients":
            return sketches.gradients(series.profiles(runs, probe, tell), probe, width)
        case "heatmap":
            folder, name = _one(runs)
            return sketches.heatmap(series.history(folder, probe), probe, name, width)
        case "curves":
            return sketches.curves(series.curves(runs, metric, tell), metric, width)
        case "depth":
            return sketches.depth(series.errors(runs), width)
    return sketches.theory(series.predicted(runs, tell), width)


def _one(runs: "DataFrame") -> tuple[Path, str]:
    if len(runs) > 1:
        raise ConfigError(
            f"a heatmap is of one run, and these are {len(runs)}; name one by its folder or id, or "
            "choose it, as in --where norm=bn --where seed=0"
        )
    row = runs.iloc[0]
    return Path(str(row["folder"])), f"{row['name']}, seed {row['seed']}"


def _check(picture: str, probe: str, metric: str) -> None:
    probes = list(PROBES)
    if picture in ("gradients", "heatmap") and probe not in probes:
        raise ConfigError(
            f"--probe {probe}: no such probe; choices: {', '.join(probes)}"
            f"{did_you_mean(probe, probes)}"
        )
    if picture == "curves" and metric not in series.CURVES:
        raise ConfigError(
            f"--metric {metric}: has no curve; choices: {', '.join(series.CURVES)}"
            f"{did_you_mean(metric, series.CURVES)}"
        )
