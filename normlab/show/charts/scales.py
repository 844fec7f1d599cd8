"""Axes and scales, and what stands at their edges."""

from collections.abc import Iterable
from typing import Any

import altair as alt
import numpy as np
from pandas import DataFrame

from normlab.analysis import label
from normlab.show.charts.domains import check_any, is_logarithmic, log_domain


def value_axis(*, log: bool) -> Any:
    """The axis of a measured value."""
    return alt.Axis(format=".0e" if log else ".2~g", tickCount=6)


def value_scale(table: DataFrame, *, log: bool) -> Any:
    """A scale that holds `low` and `high` of every row."""
    if not log:
        return alt.Scale(zero=False)
    domain = log_domain(float(table["low"].min()), float(table["high"].max()))
    return alt.Scale(type="log", domain=list(domain), nice=False)


def layer_x(layers: int, unit: str = "layer") -> Any:
    """So many layers, or blocks, from left to right."""
    return alt.X(
        "layer:Q",
        title=f"{unit}, from the input",
        scale=alt.Scale(domain=[1, max(2, layers)], nice=False),
        axis=alt.Axis(values=layer_ticks(layers, most=12), format="d"),
    )


def key_x(values: Iterable[Any], title: str, key: str) -> Any:
    """The values of a key from left to right: numbers by their size, others beside each other."""
    found = list(dict.fromkeys(values))
    numbers = [v for v in found if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(found):
        words = alt.Axis(labelAngle=0)
        return alt.X("x:N", title=title, sort=[label(key, v) for v in found], axis=words)
    log = is_logarithmic(min(numbers), max(numbers))
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=False, padding=14)
    axis = alt.Axis(
        values=sorted(numbers), labelExpr="format(datum.value, '.6~g')", labelOverlap=True
    )
    return alt.X("x:Q", title=title, scale=scale, axis=axis)


def layer_ticks(layers: int, most: int = 25) -> list[int]:
    """At most so many layers to label, the first among them."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if layers / s < most)
    return [1, *range(step, layers + 1, step)] if step > 1 else list(range(1, layers + 1))


def split_at_edge(table: DataFrame, *, log: bool) -> tuple[DataFrame, DataFrame]:
    """The rows that have a place on the scale, and those that stand at its edge.

    On a logarithmic scale a value of exactly 0 stands at the lower edge and one that is not finite
    at the upper, as the column `edge` says; a linear scale has no edges. Raises ConfigError where
    no row has a place.
    """
    check_any(table)
    usable = np.isfinite(table["value"])
    placed = table[usable]
    if not log:
        return placed, table[~usable].iloc[:0].assign(edge="")
    low, high = float(placed["low"].min()), float(placed["high"].max())
    edges = table[~usable]
    zero = edges["zeros"] >= edges["broken"]
    return placed, edges.assign(
        edge=np.where(zero, "0", "not finite"), value=np.where(zero, low, high)
    )


def edge_shape() -> Any:
    """The shape of a mark at an edge, by the column `edge`."""
    scale = alt.Scale(domain=["0", "not finite"], range=["triangle-down", "triangle-up"])
    return alt.Shape("edge:N", title="no logarithm", scale=scale)
