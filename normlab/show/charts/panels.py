"""Panels, one for each depth, and how many a picture has."""

from collections.abc import Iterable

import altair as alt
import numpy as np
from pandas import DataFrame

from normlab.show.charts.variants import check_number

MOST_DEPTHS = 4


def few_depths(depths: Iterable[int]) -> list[int]:
    """The depths that a picture has panels for: the least, the greatest, evenly spread between."""
    have = sorted(set(depths))
    if len(have) <= MOST_DEPTHS:
        return have
    return [have[round(i)] for i in np.linspace(0, len(have) - 1, MOST_DEPTHS)]


def in_panels(table: DataFrame) -> tuple[DataFrame, str]:
    """The rows of few depths with the name of their `panel`, and words about what is left out.

    Raises ConfigError where there are more variants than a picture can tell apart.
    """
    check_number(table)
    chosen, have = few_depths(table["depth"]), table["depth"].nunique()
    words = f"; {len(chosen)} of {have} depths" if have > len(chosen) else ""
    kept = table[table["depth"].isin(chosen)]
    return with_panels(kept), words


def with_panels(table: DataFrame) -> DataFrame:
    """The rows with the name of their `panel`."""
    return table.assign(panel="depth " + table["depth"].astype(str))


def side_by_side(
    drawn: alt.LayerChart | alt.FacetChart, table: DataFrame
) -> alt.LayerChart | alt.FacetChart:
    """A chart, or one for each panel, two in a row, where a table has several depths."""
    if table["depth"].nunique() < 2:
        return drawn
    by_depth = alt.Facet("panel:N", title=None, sort=panel_order(table))
    return drawn.facet(by_depth, columns=2)


def panel_order(table: DataFrame) -> list[str]:
    """The names of a table's panels, the shallowest net first."""
    return [f"depth {depth}" for depth in sorted(table["depth"].unique())]


def only_depth(table: DataFrame) -> str:
    """`, depth 8` for a title where a table has one depth, otherwise nothing."""
    panels = panel_order(table)
    return f", {panels[0]}" if len(panels) == 1 else ""
