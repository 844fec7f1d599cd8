"""Bars and heat cells: what sketches for a terminal are made of."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from normlab.show.terminal.strips import BARS

if TYPE_CHECKING:
    from pandas import Series as Column

# Dark violet to yellow (viridis), as charts have it.
HEAT = ("#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725")


class Scale(NamedTuple):
    """The ends of a scale."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """A value's place between the ends, from 0 to 1; NaN where it has none."""
        scaled: Callable[[float], float] = math.log if self.log else float
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        if self.low == self.high:
            return 0.5
        low, high = scaled(self.low), scaled(self.high)
        return (scaled(value) - low) / (high - low)


def scale_of(values: "Column[float]", *, log: bool = False) -> Scale:
    """A scale from the least to the greatest of some values; 1 where there are none."""
    if not len(values):
        return Scale(1.0, 1.0, log)
    return Scale(float(values.min()), float(values.max()), log)


def heat_cell(place: float) -> Text:
    """A cell in the colour of a place from 0 to 1, with a bar for where there is no colour."""
    if math.isnan(place):
        return Text("∅", style="red")
    return Text(_bar(place), style=HEAT[round(place * (len(HEAT) - 1))])


def heat_key() -> Text:
    """Every heat cell from the lowest to the highest."""
    return Text().join(heat_cell(index / (len(BARS) - 1)) for index in range(len(BARS)))


def long_bar(share: float, cells: int) -> str:
    """A share of 1 as a bar along so many cells, in steps of an eighth of one; NaN has none."""
    filled = 0 if math.isnan(share) else round(8 * cells * share)
    return "█" * (filled // 8) + (" ▏▎▍▌▋▊▉"[filled % 8] if filled % 8 else "")


def _bar(place: float) -> str:
    return BARS[min(len(BARS) - 1, int(place * len(BARS)))]
