"""What is drawn for a terminal, taken apart for HTML: lines of spans, and tables of cells."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import Progress
from rich.progress_bar import ProgressBar
from rich.protocol import rich_cast
from rich.style import Style
from rich.table import Table
from rich.text import Text

from normlab.show.terminal.row_tables import RowTable

# In columns, of what is drawn with characters.
NOTEBOOK_WIDTH = 100
# The colours that reports have, for which the page has its own.
_COLOURS = ("red", "green", "yellow", "blue", "magenta", "cyan")


class Span(NamedTuple):
    """Some text of one style, as classes of the page."""

    text: str
    classes: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, or how much of a bar is filled."""

    spans: Sequence[Span] = ()
    share: float | None = None
    right: bool = False  # aligned so


@dataclass(frozen=True)
class Line:
    """A line of text, or several; `drawn` ones stand in letters of one width."""

    spans: Sequence[Span]
    drawn: bool = False
    indented: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; a row is its cells and whether it stands apart from the one before it."""

    heads: Sequence[Cell]
    rows: Sequence[tuple[Sequence[Cell], bool]]
    notes: Sequence[Line] = field(default=())
    indented: bool = False


Block = Line | Grid


class _Place(NamedTuple):
    console: Console  # that knows the names of styles
    indented: bool = False


def blocks_of(shown: RenderableType) -> list[Block]:
    """The lines and tables that something consists of, one below another."""
    console = Console(
        width=NOTEBOOK_WIDTH, color_system="standard", force_jupyter=False, markup=False
    )
    return list(_blocks(shown, _Place(console)))


def _blocks(shown: RenderableType, place: _Place) -> Iterator[Block]:
    shown = rich_cast(shown)
    if isinstance(shown, Group):
        for part in shown.renderables:
            yield from _blocks(part, place)
    elif isinstance(shown, Padding):
        yield from _blocks(shown.renderable, place._replace(indented=shown.left > 0))
    elif isinstance(shown, Progress):
        yield from _blocks(shown.get_renderable(), place)
    elif isinstance(shown, RowTable):
        yield _grid_of_rows(shown, place)
    elif isinstance(shown, Table):
        yield _grid_of_table(shown, place)
    elif isinstance(shown, str | Text):
        if spans := _spans(shown, place):
            drawn = isinstance(shown, Text) and bool(shown.no_wrap)
            yield Line(spans, drawn, place.indented)
    else:
        yield Line(_drawn_spans(shown, place), True, place.indented)


def _grid_of_rows(table: RowTable, place: _Place) -> Grid:
    """Keys are not repeated in the lines of one row."""
    count = len(table.keys)
    right = [False] * count + [i not in table.left for i in range(len(table.columns))]
    heads = [
        Cell([Span(name)], right=to_right)
        for name, to_right in zip((*table.keys, *table.columns), right, strict=True)
    ]
    rows = []
    for number, row in enumerate(table.rows):
        keys = row.keys if row.starts else [""] * count
        cells = [Cell([Span(key)]) for key in keys]
        cells += [
            Cell(_spans(text, place), right=to_right)
            for text, to_right in zip(row.cells, right[count:], strict=False)
        ]
        rows.append((cells, bool(number) and table.apart and row.starts))
    return Grid(heads, rows, indented=place.indented)


def _grid_of_table(table: Table, place: _Place) -> Grid:
    columns = table.columns
    right = [column.justify == "right" for column in columns]
    heads = [
        _cell(column.header, "", place, right=to_right)
        for column, to_right in zip(columns, right, strict=True)
    ]
    by_column = [list(column.cells) for column in columns]
    rows = [
        (
            [
                _cell(cell, column.style, place, right=to_right)
                for cell, column, to_right in zip(cells, columns, right, strict=True)
            ],
            False,
        )
        for cells in zip(*by_column, strict=True)
    ]
    caption = table.caption
    notes = [Line(_spans(caption, place))] if isinstance(caption, str | Text) else []
    shown_heads = heads if table.show_header and any(head.spans for head in heads) else []
    return Grid(shown_heads, rows, notes, place.indented)


def _cell(shown: RenderableType, style: str | Style, place: _Place, *, right: bool) -> Cell:
    if isinstance(shown, ProgressBar):
        total = shown.total or 0.0
        return Cell(share=min(1.0, shown.completed / total) if total else 0.0)
    shown = rich_cast(shown)
    if isinstance(shown, str | Text):
        return Cell(_spans(shown, place, style), right=right)
    return Cell(_drawn_spans(shown, place), right=right)


def _spans(shown: str | Text, place: _Place, style: str | Style = "") -> list[Span]:
    """A text's parts, of a style of their own over the text's and what it stands in."""
    text = Text(shown) if isinstance(shown, str) else shown.copy()
    text.stylize_before(text.style)
    text.stylize_before(style)
    segments = text.render(place.console)
    return [Span(s.text, _classes(s.style)) for s in segments if s.text]


def _drawn_spans(shown: RenderableType, place: _Place) -> list[Span]:
    """Whatever else it is, as the characters of its lines."""
    lines = place.console.render_lines(shown, pad=False, new_lines=True)
    return [Span(s.text, _classes(s.style)) for line in lines for s in line if s.text]


def _classes(style: Style | None) -> str:
    """The classes of a style: bold, dim, and a colour by its name."""
    if style is None:
        return ""
    name = style.color.name.removeprefix("bright_") if style.color else ""
    named = {"bold": style.bold, "dim": style.dim, name: name in _COLOURS}
    return " ".join(known for known, chosen in named.items() if chosen)
