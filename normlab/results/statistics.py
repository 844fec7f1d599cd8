"""Means over seeds, arithmetic or geometric, with Student's t: intervals and p values."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Numbers = NDArray[np.int64]

CONFIDENCE = 0.95


class Figures(NamedTuple):
    """A metric of some runs as it is averaged."""

    values: "Values"  # logarithms of a logarithmic metric; NaN where there is nothing to average
    zero: "Flags"  # the figure is 0 and has no logarithm


def figures_of(column: Any, metric: str) -> Figures:
    """A metric's column for averaging."""
    figures = column.to_numpy(dtype=np.float64)
    if METRICS[metric].logarithmic:
        zero = figures == 0
        figures = np.log(np.where(figures > 0, figures, np.nan))
    else:
        zero = np.zeros(len(figures), dtype=bool)
    return Figures(np.where(np.isfinite(figures), figures, np.nan), zero)


class Means(NamedTuple):
    """The mean of each cell of runs, half the width of its confidence interval, and n."""

    mean: "Values"
    half: "Values"  # NaN for n = 1
    n: "Numbers"

    def bounds(self, *, logarithmic: bool) -> tuple["Values", "Values", "Values"]:
        """Mean, low and high; of logarithms transformed back, so that the mean is geometric."""
        found = self.mean, self.mean - self.half, self.mean + self.half
        if not logarithmic:
            return found
        with np.errstate(over="ignore", under="ignore"):  # a wide interval's bound may be infinite
            return np.exp(found[0]), np.exp(found[1]), np.exp(found[2])

    def p_values(self) -> "Values":
        """Two-sided p of each mean's being 0; NaN for n < 2."""
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(self.mean) / (self.half / _quantiles(self.n))
        return np.array(
            [
                max(0.0, 1 - t_within(float(t_), int(n_) - 1)) if n_ > 1 else math.nan
                for t_, n_ in zip(t, self.n, strict=True)
            ]
        )


def means_by_cell(values: "Values", cell: "Numbers", size: int) -> Means:
    """mean ± t₀.₉₇₅(n−1)·s/√n of the values in each of `size` cells; `cell` says which is whose."""
    n = np.bincount(cell, minlength=size)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.bincount(cell, weights=values, minlength=size) / n
        squares = np.bincount(cell, weights=(values - mean[cell]) ** 2, minlength=size)
        error = np.sqrt(squares / (n - 1) / n)
        half = np.where(n > 1, _quantiles(n) * error, np.nan)
    return Means(mean, half, n)


def interval(values: Sequence[float], *, log: bool = False) -> tuple[float, float, float]:
    """The mean of some seeds' figures and the bounds of its 95 % confidence interval.

    mean ± t₀.₉₇₅(n−1)·s/√n, NaN for n = 1; with `log` of logarithms, transformed back: the
    geometric mean.
    """
    figures = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = np.log(figures) if log else figures
    means = means_by_cell(figures, np.zeros(len(figures), dtype=np.int64), 1)
    mean, low, high = (float(bound[0]) for bound in means.bounds(logarithmic=log))
    return mean, low, high


def _quantiles(n: "Numbers") -> "Values":
    return np.array([t_quantile(int(size) - 1) if size > 1 else math.nan for size in n])


# Importing scipy for these two would take longer than reading some thousand runs.


def t_within(t: float, freedom: int) -> float:
    """P(|T| ≤ t) of Student's t with whole degrees of freedom, a finite sum (Abramowitz & Stegun
    26.7.3 and 26.7.4), exact to 1e-14."""
    if math.isnan(t):
        return math.nan
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    k = np.arange(2 + odd, freedom - 1, 2)
    series = 1 + float(np.cumprod((k - 1) / k * cosine**2).sum())
    if not odd:
        return sine * series
    return (angle + (sine * cosine * series if freedom > 1 else 0.0)) * 2 / math.pi


@functools.cache
def t_quantile(freedom: int) -> float:
    """The t with P(|T| ≤ t) = `CONFIDENCE` of Student's t, by bisection to the last digits."""
    low, high = 0.0, math.pi / 2
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return math.tan(middle) * math.sqrt(freedom)
        t = math.tan(middle) * math.sqrt(freedom)
        low, high = (middle, high) if t_within(t, freedom) < CONFIDENCE else (low, middle)
