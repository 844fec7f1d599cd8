"""The figures of a cell, and how they are written."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from normlab.text import brief, factor, number
from normlab.vocabulary import DIAGNOSES, METRICS, Metric, Spread

ABSENT = "–"
NO_RATIO = "∅"  # of a gradient that is exactly 0


class Figures(NamedTuple):
    """One metric of one cell over its seeds, as `summarize` gives it."""

    metric: Metric
    mean: float
    high: float  # of the 95 % confidence interval
    std: float  # over the runs; of a logarithmic metric a factor
    n: int
    zeros: int
    missing: int
    diverged: int
    left_out: int
    diagnosis: str | None

    @property
    def whole(self) -> bool:
        """Whether the mean is that of all the cell's runs, none of them diverged."""
        return not (self.zeros or self.missing or self.diverged or self.left_out)

    @property
    def distance(self) -> float:
        """How far the mean is from the best there could be, which is less."""
        return self.metric.distance(self.mean)

    @property
    def half(self) -> float:
        """Half the width of the interval, of a logarithmic metric of logarithms; 0 for none."""
        if not self.high > self.mean:
            return 0.0
        if self.metric.logarithmic:
            return math.log(self.high / self.mean) if self.mean > 0 else 0.0
        return self.high - self.mean

    @property
    def both(self) -> tuple[float, float]:
        """The two figures of a cell of two, of which an interval would say less."""
        # They lie s/√2 from their mean.
        if self.metric.logarithmic:
            apart = self.std ** math.sqrt(0.5)
            return self.mean / apart, self.mean * apart
        apart = self.std * math.sqrt(0.5)
        return self.mean - apart, self.mean + apart


def figures_of(record: Mapping[str, Any]) -> Figures:
    """The figures in a row of `summarize`."""
    counts = ("n", "zeros", "missing", "diverged", "left_out")
    return Figures(
        metric=METRICS[record["metric"]],
        mean=float(record["mean"]),
        high=float(record["high"]),
        std=float(record["std"]),
        diagnosis=record["verdict"],
        **{name: int(record[name]) for name in counts},
    )


def cell_text(figures: Figures, usual_n: int, spread: Spread = "interval", *, marked: bool) -> str:
    """Such as `0.500 ±0.100 v` or `2.00 ×÷2 n=3 +1·0`; `marked` with the diagnosis's mark.

    n is written where a spread is of another number of runs than `usual_n`; `*` is of one run, `=`
    of several that are equal, which have no interval. Of two runs both figures are written.
    """
    metric, mean, n = figures.metric, figures.mean, figures.n
    text = value_text(metric, mean)
    if n == 0 and figures.zeros and mean != mean:
        text = NO_RATIO
    elif n == 1 and figures.zeros == 1:
        text = f"0, {_value_of_two(metric, mean)}"
    elif n == 1:
        text += "*"
    elif n > 1 and spread == "std":
        text += _spread_text(metric, figures.std)
    elif n == 2:
        text = ", ".join(_value_of_two(metric, value) for value in figures.both)
    elif n > 1 and figures.high != figures.high:
        text += "="
    elif n > 1:
        half = figures.high / mean if mean else math.nan
        text += _spread_text(metric, half if metric.logarithmic else figures.high - mean)
    if n > 1 and n != usual_n and (n > 2 or spread == "std"):
        text += f" n={n}"
    if n and figures.zeros and n + figures.zeros > 2:
        text += f" +{figures.zeros}·0"
    diagnosis = DIAGNOSES.get(figures.diagnosis or "") if marked else None
    return f"{text} {diagnosis.mark}" if diagnosis and diagnosis.mark else text


def _spread_text(metric: Metric, spread: float) -> str:
    """What a mean lies within, or of what spans decades, by which factor."""
    return f" ×÷{factor(spread)}" if metric.logarithmic else f" ±{value_text(metric, spread)}"


def best_of(column: Sequence[Figures | None]) -> list[bool]:
    """Which cells of a column are best: the one with the best mean, and what ties with it.

    A cell ties whose mean is shown as the same, or where one of the two means lies within the
    other's interval. There is a best of two or more means that are finite and of all their cells'
    runs; where all of them tie none is.
    """
    ranked = {
        place: figures
        for place, figures in enumerate(column)
        if figures and figures.whole and math.isfinite(figures.distance)
    }
    if len(ranked) < 2:
        return [False] * len(column)
    first = min(ranked.values(), key=lambda figures: figures.distance)
    tied = {place for place, figures in ranked.items() if _tie(first, figures)}
    return [place in tied and len(tied) < len(ranked) for place in range(len(column))]


def _tie(first: Figures, other: Figures) -> bool:
    one, two = first.distance, other.distance
    if first.metric.better == "nearest 1":
        same = number(_times(one)) == number(_times(two))  # 0.5 and 2 are equally far
    else:
        same = value_text(first.metric, first.mean) == value_text(other.metric, other.mean)
    return same or two - one <= max(first.half, other.half)


def _times(distance: float) -> float:
    """How many times 1 a ratio is that is so far from it, or 1 of it."""
    return math.exp(min(distance, math.log(sys.float_info.max)))


def difference_text(metric: Metric, value: float) -> str:
    """A difference from a baseline; of what spans decades a ratio."""
    if value != value:
        return ABSENT
    if metric.logarithmic:
        return ">999" if value > 999 else "<0.001" if value < 0.001 else f"×{value:.3g}"
    if metric.percent:
        return f"{100 * value:+.2f}"
    return f"{value:+.3f}" if metric.share else f"{value:+.3g}"


def _value_of_two(metric: Metric, value: float) -> str:
    return brief(value) if metric.logarithmic else value_text(metric, value)


def value_text(metric: Metric, value: float) -> str:
    """A figure of a metric: a share to three places, in percent to two, others in three digits."""
    if metric.share and value == value:
        return f"{100 * value:.2f}" if metric.percent else f"{value:.3f}"
    return number(value)
