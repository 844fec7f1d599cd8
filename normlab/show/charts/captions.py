"""The words around a picture: of which networks and data it is, and what its lines are."""

from collections.abc import Hashable, Iterable
from typing import Any

from pandas import DataFrame

from normlab.analysis import DEPTH
from normlab.config import MODELS
from normlab.text import plural

_MOST_NAMED = 3


def about(runs: DataFrame) -> str:
    """What runs are, such as `CNN and ResNet on digits, 110 steps`; a depth that all have too."""
    depths = runs[DEPTH].unique()
    depth = f"-{depths[0]}" if len(depths) == 1 else ""
    settings = [str(name) for name in runs if str(name).startswith("model")]
    nets = runs.drop_duplicates(settings).to_dict("records")
    networks = _named([f"{_family(net)}{depth}" for net in nets], "network")
    data = _named(map(str, runs["data"].unique()), "data set")
    return ", ".join(part for part in (f"{networks} on {data}", _length(runs)) if part)


def unit_of(table: DataFrame) -> str:
    """What a table by layer numbers: layers, or blocks."""
    units = list(dict.fromkeys(table["unit"])) if "unit" in table else ["layer"]
    return str(units[0]) if len(units) == 1 else "layer or block"


def depth_axis(runs: DataFrame) -> str:
    """What the axis of depth counts: weight layers, or blocks."""
    parts = [MODELS.get(name) for name in runs["model"].unique()]
    counted = {"blocks" if part and part.of_tokens else "weight layers" for part in parts}
    return f"depth ({' or '.join(sorted(counted, reverse=True))})"


def seeds_note(table: DataFrame, *, log: bool, band: bool = True) -> str:
    """What a line is, and its band if it has one; the number of seeds where all agree in it."""
    most = int(table["n"].max())
    if most <= 1:
        return "one run a line"
    seeds = f"{most} seeds" if (table["n"] == most).all() else f"up to {most} seeds"
    mean = f"{'geometric ' if log else ''}mean of {seeds}"
    return f"{mean}, with the least and the greatest" if band else mean


def _family(run: dict[Hashable, Any]) -> str:
    """What a run's network is called, by the settings that its frame has of it."""
    part = MODELS.get(run["model"])
    if part is None:
        return str(run["model"])
    settings = {field: run.get(f"model.{field}") for field in part.model_fields}
    # They may be of another version, so that they are not checked.
    return part.model_construct(**{**settings, "name": run["model"]}).family


def _named(names: Iterable[str], kind: str) -> str:
    """Names as `a, b and c`, or their number where they are many."""
    found = list(dict.fromkeys(names))
    if len(found) > _MOST_NAMED:
        return plural(len(found), kind)
    return " and ".join(part for part in (", ".join(found[:-1]), found[-1]) if part)


def _length(runs: DataFrame) -> str:
    steps = runs["steps"].dropna()
    if steps.empty:
        return ""
    least, most = int(steps.min()), int(steps.max())
    if most == 0:
        return "at initialization"
    return plural(most, "step") if least == most else f"{least}–{most} steps"
