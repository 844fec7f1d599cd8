"""Rows of keys and figures, of which nothing is lost in any width: what does not fit goes below.

Keys that do not fit stand in lines under their row, or above it, and figures that do not fit in a
further table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.text import Text

GAP = 3  # between columns
_INDENT = 2  # of keys under their row, and of figures under their keys


class Row(NamedTuple):
    """One line of a table."""

    keys: Sequence[str]
    cells: Sequence[Text]
    starts: bool = True  # the first line of its keys


@dataclass(frozen=True)
class RowTable:
    """Rows with their keys on the left."""

    keys: Sequence[str]  # heads
    columns: Sequence[str]  # heads of the figures
    rows: Sequence[Row]
    labels: int = 0  # so many of the first columns say what a line is, and every table has them
    left: Sequence[int] = field(default=())  # columns that are not aligned to the right
    apart: bool = False  # an empty line between rows of other keys
    bare: Sequence[int] = field(default=())  # keys that need no name where they stand below
    above: bool = False  # keys stand above their row, and all of them, where not everything fits

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """The table as wide as a console."""
        yield from self.drawn(options.max_width)

    def drawn(self, width: int) -> list[RenderableType]:
        """The table in so many columns of a terminal, or several of them below each other."""
        sizes = [
            max(cell_len(head), *(cell_len(row.cells[i].plain) for row in self.rows))
            for i, head in enumerate(self.columns)
        ]
        keys = [
            max(cell_len(head), *(cell_len(row.keys[i]) for row in self.rows))
            for i, head in enumerate(self.keys)
        ]
        labels = list(range(self.labels))
        figures = range(self.labels, len(self.columns))
        # What every line needs: its labels, and the widest of the figures.
        widest = [max(sizes[i] for i in figures)] if figures else []
        least = _joint([*(sizes[i] for i in labels), *widest])
        kept = len(keys)
        while kept and _joint([*keys[:kept], least]) > width:
            kept -= 1
        if self.above and _joint([*keys, *sizes]) > width:
            kept, width = 0, width - _INDENT
        before = [*keys[:kept], *(sizes[i] for i in labels)]
        parts: list[list[int]] = [[]]
        for i in figures:
            if parts[-1] and _joint([*before, *(sizes[j] for j in parts[-1]), sizes[i]]) > width:
                parts.append([])
            parts[-1].append(i)
        found: list[RenderableType] = []
        for part in parts:
            found += [Text()] if found else []
            found += self._part(kept, [*labels, *part], [*before, *(sizes[i] for i in part)])
        return found

    def _part(
        self, kept: int, chosen: Sequence[int], sizes: Sequence[int]
    ) -> Iterator[RenderableType]:
        """The table of some columns, beside the first keys; the others stand below each row, or
        above it.

        Rows with nothing in these columns are left out.
        """
        stacked = self.above and kept < len(self.keys)
        indent = _INDENT if stacked else 0
        left = [True] * kept + [i in self.left for i in chosen]
        heads = [*self.keys[:kept], *(self.columns[i] for i in chosen)]
        if stacked:
            yield Text(", ".join(self.keys), style="bold")
        yield _indented(_line([Text(head, style="bold") for head in heads], sizes, left), indent)
        yield Text("─" * (indent + _joint(sizes)), no_wrap=True, overflow="crop")
        figures = [i for i in chosen if i >= self.labels]
        groups = [
            group
            for group in self._groups()
            if not figures or any(row.cells[i].plain for row in group for i in figures)
        ]
        for number, group in enumerate(groups, start=1):
            for row in group:
                keys = row.keys if row is group[0] else ("",) * len(row.keys)
                if stacked and any(keys):
                    yield Text(", ".join(filter(None, keys)), overflow="fold")
                cells = [*map(Text, keys[:kept]), *(row.cells[i] for i in chosen)]
                yield _indented(_line(cells, sizes, left), indent)
            text = ", ".join(
                key if i in self.bare else f"{self.keys[i]} {key}"
                for i, key in enumerate(group[0].keys)
                if i >= kept and key
            )
            if text and not stacked:
                yield _indented(Text(text, style="dim"), _INDENT)
            if self.apart and number < len(groups):
                yield Text()

    def _groups(self) -> list[list[Row]]:
        """The rows by their keys."""
        groups: list[list[Row]] = []
        for row in self.rows:
            if row.starts:
                groups.append([])
            groups[-1].append(row)
        return groups


def _indented(text: Text, columns: int) -> RenderableType:
    return Padding(text, (0, 0, 0, columns), expand=False) if columns else text


def _joint(sizes: Sequence[int]) -> int:
    """The width of columns of these sizes beside each other."""
    return sum(sizes) + GAP * max(0, len(sizes) - 1)


def _line(cells: Sequence[Text], sizes: Sequence[int], left: Sequence[bool]) -> Text:
    line = Text(overflow="fold")  # nothing is lost where not even one figure fits
    for place, (cell, size, to_left) in enumerate(zip(cells, sizes, left, strict=True)):
        room = " " * (size - cell_len(cell.plain))
        gap = " " * GAP if place else ""
        line.append(gap if to_left else gap + room).append_text(cell)
        if to_left and place + 1 < len(cells):
            line.append(room)
    return line
