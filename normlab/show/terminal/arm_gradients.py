"""The gradient by layer of a sweep's arms, as lines of characters."""

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from normlab.analysis import DEPTH, gradient_shares
from normlab.show.charts.captions import unit_of
from normlab.show.charts.variants import looks
from normlab.show.terminal.line_charts import Axis, Line
from normlab.show.terminal.line_panels import Panel, line_panels

if TYPE_CHECKING:
    from pandas import DataFrame

# Of arms, so that their lines can be told apart; of runs, whose tables are read; of layers, without
# which there is nothing to see.
MOST_ARMS, MOST_RUNS, LEAST_LAYERS = 8, 64, 4
ROWS = 17
_PLACES = {"init": "at init", "end": "at the end"}


def arm_gradients(frame: "DataFrame", width: int) -> Group | None:
    """Each layer's gradient beside the last hidden one's, of the deepest nets, at init and the end.

    None where that cannot be drawn: too many arms or runs, too few layers, no gradient measured.
    """
    depth = frame[DEPTH].max()
    if depth < LEAST_LAYERS or (frame[DEPTH] == depth).sum() > MOST_RUNS:
        return None
    table = gradient_shares(frame, depth)
    arms = list(dict.fromkeys(table["variant"]))
    if not 0 < len(arms) <= MOST_ARMS:
        return None
    styles = {name: look.style for name, look in looks(table, arms).items()}
    panels = []
    for place, title in _PLACES.items():
        shown = table[table["place"] == place]
        lines = [Line(arm, _points(shown[shown["variant"] == arm]), styles[arm]) for arm in arms]
        panels.append(Panel(title, lines))
    unit = unit_of(table)
    last = "hidden layer" if unit == "layer" else unit
    heading = f"Gradient by {unit} at depth {depth}, as a multiple of the last {last}'s"
    axes = Axis(unit, whole=True), Axis(log=True)
    return line_panels([Text(heading, "bold")], panels, axes, (width, ROWS))


def _points(rows: "DataFrame") -> list[tuple[float, float]]:
    return list(zip(rows["layer"].astype(float), rows["share"].astype(float), strict=True))
