"""Several line charts on one scale, which fill a terminal's screen."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Group
from rich.text import Text

from normlab.show.terminal.line_charts import (
    Axis,
    Line,
    drawn_lines,
    left_out,
    legend,
    scales_of,
)

LEAST_WIDTH, LEAST_HEIGHT = 38, 10  # of a panel
MOST_HEIGHT = 48
_GAP = 2
_ROWS_FOR_A_PROMPT = 2


class Panel(NamedTuple):
    """One chart, whose lines are those of every other in the same order."""

    title: str
    lines: Sequence[Line]


def line_panels(
    heading: Sequence[Text], panels: Sequence[Panel], axes: tuple[Axis, Axis], size: tuple[int, int]
) -> Group:
    """Panels on one scale, below a heading and above one legend.

    As many stand in a row as leave none of the rows short; together they fill `size`, the columns
    and rows of a screen, and are longer than it where they would be less than `LEAST_HEIGHT` each.
    """
    width, height = size
    scales = scales_of([line for panel in panels for line in panel.lines], *axes)
    columns = _columns(len(panels), width)
    below = legend(panels[0].lines, width)
    missing = [note for panel in panels for note in left_out(panel.lines, scales)]
    room = height - len(heading) - len(below) - len(missing) - _ROWS_FOR_A_PROMPT
    each = room // -(-len(panels) // columns) - any(panel.title for panel in panels)
    inside = (width - _GAP * (columns - 1)) // columns, min(MOST_HEIGHT, max(LEAST_HEIGHT, each))
    drawn: list[Text] = []
    for first in range(0, len(panels), columns):
        blocks = [
            [
                *([Text(panel.title, "bold")] if panel.title else []),
                *drawn_lines(panel.lines, axes, scales, inside),
            ]
            for panel in panels[first : first + columns]
        ]
        drawn += [_beside(list(parts), inside[0]) for parts in zip(*blocks, strict=True)]
    return Group(*heading, *drawn, *below, *missing)


def _columns(count: int, width: int) -> int:
    """How many panels stand in a row."""
    most = max(1, (width + _GAP) // (LEAST_WIDTH + _GAP))
    return next(columns for columns in range(min(count, most), 0, -1) if count % columns == 0)


def _beside(parts: Sequence[Text], width: int) -> Text:
    """Lines of several charts as one, each so wide but the last."""
    line = Text(no_wrap=True, overflow="crop")
    for part in parts[:-1]:
        line.append_text(part).append(" " * (width + _GAP - part.cell_len))
    return line.append_text(parts[-1])
