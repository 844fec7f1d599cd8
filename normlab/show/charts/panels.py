"""Panels, one for each depth, and how many a picture has."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from pandas import DataFrame

from normlab.show.charts.variants import check_number

MOST_DEPTHS = 4

T = TypeVar("T")


def few_depths(depths: Iterable[int]) -> list[int]:
    """The depths that a picture has panels for: the least, the greatest, evenly spread between."""
    return evenly_chosen(sorted(set(depths)), MOST_DEPTHS)


def evenly_chosen(values: Sequence[T], most: int) -> list[T]:
    """At most so many values, evenly spread, the last and, of several, the first among them."""
    count = min(len(values), most)
    apart = (len(values) - 1) / max(1, count - 1)
    return [values[-1 - round(i * apart)] for i in reversed(range(count))]


def in_panels(table: DataFrame, sharing: DataFrame) -> tuple[DataFrame, str]:
    """The rows of few depths with the name of their `panel`, and words about what is left out.

    `sharing` are the runs that share the colours. Raises ConfigError where there are more variants
    than a picture can tell apart.
    """
    check_number(table, sharing)
    chosen, have = few_depths(table["depth"]), table["depth"].nunique()
    words = f"; {len(chosen)} of {have} depths" if have > len(chosen) else ""
    kept = table[table["depth"].isin(chosen)]
    return with_panels(kept), words


def with_panels(table: DataFrame) -> DataFrame:
    """The rows with the name of their `panel`."""
    return table.assign(panel="depth " + table["depth"].astype(str))


def side_by_side(drawn: Any, table: DataFrame, width: int, height: int) -> Any:
    """A chart so wide and high, or one for each panel on one scale where there are several depths.

    As many stand in a row as leave none of the rows short, since an empty place would show an axis.
    """
    import altair as alt

    count = int(table["depth"].nunique())
    if count < 2:
        return drawn.properties(width=width, height=height)
    columns = columns_for(count)
    panel = drawn.properties(width=round(width * (0.8 if columns == 2 else 0.6)), height=height)
    by_depth = alt.Facet("panel:N", title=None, sort=panel_order(table))
    return panel.facet(by_depth, columns=columns)


def columns_for(count: int) -> int:
    """How many of so many panels stand in a row, so that every row is full."""
    return next((columns for columns in (3, 2) if count % columns == 0), 1) if count > 2 else count


def panel_order(table: DataFrame) -> list[str]:
    """The names of a table's panels, the shallowest net first."""
    return [f"depth {depth}" for depth in sorted(table["depth"].unique())]
