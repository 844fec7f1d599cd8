"""Line charts of braille characters, two by four dots in each, with true axes."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Group
from rich.text import Text

from normlab.show.terminal.bars import Scale
from normlab.show.terminal.plain_tables import flowing
from normlab.show.terminal.ticks import tick_text, ticks
from normlab.text import plural

# Lines are told apart by these where there is no colour.
MARKERS = "●■▲◆○□△◇abcdefghijklmnopqrstuvwxyz"
# A line shows its marker once in about so many columns.
MARKED_EVERY = 12
LEAST_ROWS, LEAST_COLUMNS = 4, 12
# Of the dots of a braille character, by row and column: Unicode's order goes down the columns.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

Point = tuple[float, float]
Scales = tuple[Scale, Scale]


class Line(NamedTuple):
    """A series from left to right; a NaN, or on a logarithmic axis a 0, is a gap in it."""

    name: str
    points: Sequence[Point]
    style: str = ""  # rich's


class Axis(NamedTuple):
    """What an axis shows; its ends are the data's where they are not given."""

    label: str = ""
    log: bool = False
    whole: bool = False  # its values are whole numbers, such as layers
    low: float | None = None
    high: float | None = None

    def scale(self, values: Iterable[float]) -> Scale:
        """The scale from end to end."""
        shown = [v for v in values if math.isfinite(v) and (v > 0 or not self.log)]
        low = min(shown, default=1.0) if self.low is None else self.low
        high = max(shown, default=1.0) if self.high is None else self.high
        return Scale(float(low), float(high), self.log)


def line_chart(lines: Sequence[Line], x: Axis, y: Axis, width: int, height: int) -> Group:
    """Lines on common axes, with a legend, in so many columns and rows of a terminal.

    A tick stands in the row or column that holds its value. Where a line is hidden by others, its
    marker still shows. Labels, axes, legend and a note of what has no place are among the rows; the
    drawing itself has at least `LEAST_ROWS` and `LEAST_COLUMNS`.
    """
    scales = scales_of(lines, x, y)
    below = [*legend(lines, width), *left_out(lines, scales)]
    return Group(*drawn_lines(lines, (x, y), scales, (width, height - len(below))), *below)


def scales_of(lines: Iterable[Line], x: Axis, y: Axis) -> Scales:
    """The scales that hold all points."""
    points = [point for line in lines for point in line.points]
    return x.scale(p[0] for p in points), y.scale(p[1] for p in points)


def drawn_lines(
    lines: Sequence[Line], axes: tuple[Axis, Axis], scales: Scales, size: tuple[int, int]
) -> list[Text]:
    """The lines on their axes without a legend, in so many columns and rows of a terminal."""
    (x, y), (width, height) = axes, size
    rows = max(LEAST_ROWS, height - 2 - bool(y.label))
    y_ticks = {tick: tick_text(tick) for tick in ticks(scales[1], max(2, rows // 2))}
    margin = max(map(len, [x.label, *y_ticks.values()]))
    columns = max(LEAST_COLUMNS, width - margin - 1)
    canvas = _Canvas(columns, rows)
    for line in lines:
        _draw(canvas, line, scales)
    if len(lines) > 1:
        for number, line in enumerate(lines):
            _mark(canvas, line, scales, (number, len(lines)))
    labels = {canvas.row(scales[1].place(tick)): text for tick, text in y_ticks.items()}
    drawn = [
        Text(f"{labels.get(row, ''):>{margin}}{'┤' if row in labels else '│'}").append(line)
        for row, line in enumerate(canvas.lines())
    ]
    head = [Text(y.label, no_wrap=True, overflow="ellipsis")] if y.label else []
    rule, values = _foot(x, scales[0], canvas)
    foot = [Text(" " * margin + rule), Text(f"{x.label:>{margin}}" + values)]
    return [*head, *drawn, *foot]


class _Canvas:
    """Cells of dots, each in the style of what was drawn there last; markers over them."""

    def __init__(self, columns: int, rows: int):
        self.columns, self.rows = columns, rows
        self._dots = [[0] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]
        self._markers: dict[tuple[int, int], str] = {}

    def across(self, place: float) -> int:
        """The column of dots at a place from 0 at the left to 1."""
        return round(place * (2 * self.columns - 1))

    def down(self, place: float) -> int:
        """The row of dots, from the top, at a place from 0 at the bottom to 1."""
        return round((1 - place) * (4 * self.rows - 1))

    def row(self, place: float) -> int:
        """The row of cells, from the top, at a place from 0 at the bottom to 1."""
        return self.down(place) // 4

    def dot(self, x: int, y: int, style: str) -> None:
        """Set the dot at a column and row of dots."""
        self._dots[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
        self._styles[y // 4][x // 2] = style

    def mark(self, column: int, row: int, marker: str, style: str) -> None:
        """Put a marker over a cell."""
        self._markers[column, row] = marker
        self._styles[row][column] = style

    def lines(self) -> Iterator[Text]:
        """The cells' rows from the top."""
        for row, (dots, styles) in enumerate(zip(self._dots, self._styles, strict=True)):
            line = Text(no_wrap=True)
            for column, (cell, style) in enumerate(zip(dots, styles, strict=True)):
                shown = chr(0x2800 + cell) if cell else " "
                line.append(self._markers.get((column, row), shown), style=style or None)
            yield line


def _stretches(line: Line, scales: Scales) -> list[list[Point]]:
    """The places of a line's points, cut where one has none."""
    places = [(scales[0].place(x), scales[1].place(y)) for x, y in line.points]

    def is_drawn(place: Point) -> bool:
        return all(0 <= part <= 1 for part in place)  # NaN is not

    return [list(group) for drawn, group in itertools.groupby(places, is_drawn) if drawn]


def _draw(canvas: _Canvas, line: Line, scales: Scales) -> None:
    for stretch in _stretches(line, scales):
        dots = [(canvas.across(x), canvas.down(y)) for x, y in stretch]
        canvas.dot(*dots[0], line.style)
        for (x0, y0), (x1, y1) in itertools.pairwise(dots):
            count = max(abs(x1 - x0), abs(y1 - y0), 1)
            for i in range(count + 1):
                x, y = x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count
                canvas.dot(round(x), round(y), line.style)


def _mark(canvas: _Canvas, line: Line, scales: Scales, place: tuple[int, int]) -> None:
    """Put a line's markers over it, in columns in which no other of `place[1]` lines has one."""
    number, of = place
    every = max(MARKED_EVERY, of)
    marker = MARKERS[number % len(MARKERS)]
    first = number * every // of
    for stretch in _stretches(line, scales):
        at = _interpolation(stretch)
        ends = [canvas.across(x) // 2 for x in (stretch[0][0], stretch[-1][0])]
        inside = [c for c in range(first, canvas.columns, every) if ends[0] <= c <= ends[1]]
        # A stretch shorter than the distance of two markers has one at its end.
        for column in inside or ends[-1:]:
            row = canvas.row(at((2 * column + 0.5) / (2 * canvas.columns - 1)))
            canvas.mark(column, row, marker, line.style)


def _interpolation(stretch: Sequence[Point]) -> Callable[[float], float]:
    """The height of a line at a place between its points."""

    def at(x: float) -> float:
        for (x0, y0), (x1, y1) in itertools.pairwise(stretch):
            if x <= x1:
                share = (x - x0) / (x1 - x0) if x1 > x0 else 1.0
                return y0 + (y1 - y0) * min(1.0, max(0.0, share))
        return stretch[-1][1]

    return at


def _foot(x: Axis, scale: Scale, canvas: _Canvas) -> tuple[str, str]:
    """The line below the cells, and the ticks' values under it."""
    found = ticks(scale, max(2, canvas.columns // 8), whole=x.whole)
    # Whole numbers have both ends named first: layer 1, and the last.
    ends = [scale.low, scale.high] if x.whole else []
    line, values = ["─"] * canvas.columns, [" "] * (canvas.columns + 1)
    first = 1 + bool(x.label)  # the label ends before them
    for tick in dict.fromkeys([*ends, *found]):
        column, text = canvas.across(scale.place(tick)) // 2, tick_text(tick)
        start = min(max(first, column + 1 - len(text) // 2), canvas.columns + 1 - len(text))
        around = values[max(0, start - 1) : start + len(text) + 1]
        if all(character == " " for character in around):
            values[start : start + len(text)] = text
            line[column] = "┬"
    return "└" + "".join(line), "".join(values)


def legend(lines: Sequence[Line], width: int) -> list[Text]:
    """The lines' markers and names, as many in a row as fit."""
    if len(lines) < 2:
        return []
    entries = (
        Text(f"{MARKERS[number % len(MARKERS)]} {line.name}", style=line.style)
        for number, line in enumerate(lines)
    )
    return flowing(entries, width)


def left_out(lines: Sequence[Line], scales: Scales) -> list[Text]:
    """A note of the points that have no place."""
    missing = {
        line.name: count
        for line in lines
        if (count := len(line.points) - sum(map(len, _stretches(line, scales))))
    }
    if not missing:
        return []
    each = ", ".join(f"{name} {count}" for name, count in missing.items())
    points = plural(sum(missing.values()), "point")
    return [Text(f"{points} without a place on the axes: {each}", style="dim")]
