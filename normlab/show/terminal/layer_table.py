"""A run's layers as a table."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from normlab.config import PROBES
from normlab.measurement import has_blocks
from normlab.show.terminal.plain_tables import dimmed
from normlab.show.terminal.strips import ratio_style
from normlab.text import number

if TYPE_CHECKING:
    from pandas import DataFrame
    from pandas import Series as Values


class Column(NamedTuple):
    """A column of the table: a probe's first or last measured value, and a note on it."""

    head: str
    probe: str
    when: Literal["first", "last"] = "last"
    about: str = ""


class Kind(NamedTuple):
    """What a table is of: the word for what it numbers, its columns, and a note on them."""

    unit: str
    columns: Sequence[Column]
    about: str


# In order of importance; other probes that were measured come after these.
COLUMNS = (
    Column("δ init", "delta_rms", "first"),
    Column("δ end", "delta_rms"),
    Column("‖∇W‖", "grad_norm"),
    Column("‖ΔW‖/‖W‖", "update_ratio"),
    Column("dead", "dead_fraction"),
    Column("cosine", "sample_cosine"),
    Column("act std", "act_std"),
    Column("act mean", "act_mean"),
    Column("‖W‖", "weight_norm"),
)
FOLDED_ROWS = 16
COLUMN_WIDTH = 11


def layer_table(layers: "DataFrame", width: int, measured: Sequence[str] = ()) -> Group | None:
    """A run's layers from input to output, each probe's first or last measured value.

    Folded to `FOLDED_ROWS` rows when deeper; columns are left out from the right to fit `width`.
    Of the probes `measured` those of a plugin that is not loaded are told to be left out.
    None where nothing was measured.
    """
    about = (
        "δ: root mean square gradient at a layer's linear output; blue below 1% of the last hidden "
        "layer's, red above 100 times it"
    )
    return tabulated(layers, Kind("layer", COLUMNS, about), width, measured)


def tabulated(
    layers: "DataFrame", kind: Kind, width: int, measured: Sequence[str] = ()
) -> Group | None:
    """The same of what `kind` says: layers, or blocks in their place."""
    columns = _measured_columns(layers, kind.columns)
    if not columns or layers.empty:
        return None
    names = layers.drop_duplicates("layer").set_index("layer")["name"].sort_index()
    rows = folded(len(names))
    longest = max(len(name) for name in names) if kind.unit == "layer" else 0
    room = width - 7 - longest - 2
    widths = itertools.accumulate(max(COLUMN_WIDTH, len(column.head) + 3) for column in columns)
    shown = columns[: max(2, sum(width <= room for width in widths))]
    about = [kind.about, *(column.about for column in shown if column.about)]
    notes = ["; ".join([*about, "other columns as last measured"])]
    if len(rows) < len(names):
        notes.append(f"{len(rows)} of {len(names)} {kind.unit}s shown, all are in layers.parquet")
    if len(shown) < len(columns):
        left_out = ", ".join(column.head for column in columns[len(shown) :])
        notes.append(f"left out for width: {left_out}")
    if absent := [probe for probe in measured if probe not in PROBES]:
        notes.append(f"left out without its plugin (--plugin FILE_OR_MODULE): {', '.join(absent)}")
    return Group(_drawn(layers, names, shown, (kind.unit, rows)), *dimmed(notes))


def _measured_columns(layers: "DataFrame", ordered: Sequence[Column]) -> list[Column]:
    """The columns for what was measured; one snapshot has no end."""
    known = {column.probe for column in ordered}
    others = [Column(p.short or p.label, name) for name, p in PROBES.items() if name not in known]
    begun = {c.probe for c in ordered if c.when == "first" and c.probe in layers}
    once = {name for name in begun if layers.dropna(subset=[name])["step"].nunique() < 2}
    return [
        column
        for column in (*ordered, *others)
        if column.probe in layers and not (column.probe in once and column.when == "last")
    ]


def _drawn(
    layers: "DataFrame",
    names: "Values[str]",
    columns: Sequence[Column],
    numbered: tuple[str, Sequence[int]],
) -> Table:
    unit, rows = numbered
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column(unit, justify="right")
    if unit == "layer":
        table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(Text(column.head), justify="right", no_wrap=True)
    values = [_values(layers, column).reindex(names.index) for column in columns]
    last_hidden = len(names) - 1
    compared = _compared_with(layers)
    for layer in rows:
        cells: list[RenderableType] = []
        for column, found in zip(columns, values, strict=True):
            value, style = found.loc[layer], ""
            if PROBES[column.probe].diagnosed and layer <= last_hidden:
                of_last = found.loc[compared.get(layer, last_hidden)]
                style = ratio_style(value / of_last) if of_last else "blue"
            cells.append(Text(number(value), style=style))
        name = names.loc[layer]
        number_ = [str(layer)] if unit == "layer" else []  # a block's name has its number
        table.add_row(*number_, Text(name.removeprefix(f"{unit} ")), *cells)
    return table


def _compared_with(layers: "DataFrame") -> dict[int, int]:
    """Of each layer of a block that of its role in the last block; nothing without blocks."""
    if not has_blocks(layers):
        return {}
    places = layers.drop_duplicates("layer").dropna(subset=["block"]).sort_values("block")
    last = places.groupby("role")["layer"].last()
    return dict(zip(places["layer"], places["role"].map(last), strict=True))


def _values(layers: "DataFrame", column: Column) -> Any:
    """A column's value by layer."""
    measured = layers.dropna(subset=[column.probe]).sort_values("step")
    by_layer = measured.groupby("layer")[column.probe]
    return by_layer.first() if column.when == "first" else by_layer.last()


def folded(count: int) -> list[int]:
    """The layers to show: all, or the first and last few and evenly spread ones between."""
    if count <= FOLDED_ROWS + 4:
        return list(range(1, count + 1))
    edge = 3
    inner = FOLDED_ROWS - 2 * edge
    between = [edge + round((count - 2 * edge) * (i + 0.5) / inner + 0.5) for i in range(inner)]
    return sorted({*range(1, edge + 1), *between, *range(count - edge + 1, count + 1)})
