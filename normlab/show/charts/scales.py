"""Axes and scales, and what stands at their edges."""

import math
from typing import Any

import altair as alt
import numpy as np
from pandas import DataFrame

from normlab.errors import ConfigError

# A healthy gradient looks level on a logarithmic scale of at least so many decades.
LEAST_DECADES = 4


def value_axis(*, log: bool) -> Any:
    """The axis of a measured value."""
    return alt.Axis(format=".0e" if log else ".2~g", tickCount=6)


def value_scale(table: DataFrame, *, log: bool) -> Any:
    """A scale that holds `low` and `high` of every row."""
    if not log:
        return alt.Scale(zero=False)
    low, high = float(table["low"].min()), float(table["high"].max())
    middle = math.log10(low * high) / 2
    half = max(math.log10(high / low) / 2, LEAST_DECADES / 2)
    return alt.Scale(type="log", domain=[10 ** (middle - half), 10 ** (middle + half)], nice=False)


def layer_x() -> Any:
    """The layers from left to right."""
    return alt.X("layer:Q", title="layer, from the input", axis=alt.Axis(tickMinStep=1))


def layer_ticks(layers: int) -> list[int]:
    """At most 25 layers to label, the first among them."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200) if layers / s <= 24)
    return [1, *range(step, layers + 1, step)] if step > 1 else list(range(1, layers + 1))


def split_at_edge(table: DataFrame, *, log: bool) -> tuple[DataFrame, DataFrame]:
    """The rows that have a place on the scale, and those that stand at its edge.

    On a logarithmic scale a value of exactly 0 stands at the lower edge and one that is not finite
    at the upper, as the column `edge` says; a linear scale has no edges. Raises ConfigError where
    no row has a place.
    """
    usable = np.isfinite(table["value"])
    placed = table[usable]
    if placed.empty:
        raise ConfigError("every value is 0 or not finite, so there is nothing to draw by layer")
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
