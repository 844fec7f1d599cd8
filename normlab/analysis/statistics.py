"""Means over seeds, arithmetic or geometric, with Student's t: intervals and p values."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame

    Values = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Numbers = NDArray[np.int64]

CONFIDENCE = 0.95
_EPSILON = float(np.finfo(np.float64).eps)


class Figures(NamedTuple):
    """A metric of some runs as it is averaged."""

    values: "Values"  # logarithms of a logarithmic metric; NaN where there is nothing to average
    rounding: "Values"  # how far it may have moved each value
    zero: "Flags"  # a gradient of exactly 0: the ratio is 0, or none at all, and has no logarithm


def figures_of(frame: "DataFrame", metric: str) -> Figures:
    """A metric's column for averaging."""
    part = METRICS[metric]
    figures = frame[metric].to_numpy(dtype=np.float64)
    zero = np.zeros(len(figures), dtype=bool)
    if part.logarithmic:
        zero = figures == 0
        if part.state in frame:  # 0 in the last layer, or in all: no ratio, yet it was measured
            vanishing = frame[part.state].eq("vanishing").to_numpy(dtype=bool)
            zero |= np.isnan(figures) & vanishing
    values = np.log(np.where(figures > 0, figures, np.nan)) if part.logarithmic else figures
    values = np.where(np.isfinite(values), values, np.nan)
    return Figures(values, rounding_of(values, log=part.logarithmic), zero)


def rounding_of(values: "Values", *, log: bool) -> "Values":
    """How far rounding may have moved figures, or, with `log`, their logarithms."""
    # A figure's own rounding moves its logarithm by as much as it is of the figure.
    size: Values = np.abs(values)
    return _EPSILON * (1 + size if log else size)


class Means(NamedTuple):
    """The mean of each cell of runs, their standard deviation, and how many they are.

    Of one run, and of several equal ones, nothing can be inferred: they have no interval and no p.
    """

    mean: "Values"
    std: "Values"  # of n − 1; NaN for n = 1, and 0 where values differ by their rounding only
    n: "Numbers"

    def half(self) -> "Values":
        """Half the width of the confidence interval, t₀.₉₇₅(n−1)·s/√n; NaN for n = 1 or s = 0."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            half = _quantiles(self.n) * (self.std / np.sqrt(self.n))
        return np.where(self.std > 0, half, np.nan)

    def bounds(self, *, logarithmic: bool) -> tuple["Values", "Values", "Values"]:
        """Mean, low and high; of logarithms transformed back, so that the mean is geometric."""
        half = self.half()
        with np.errstate(over="ignore", under="ignore"):  # a wide interval's bound may be infinite
            found = self.mean, self.mean - half, self.mean + half
            if not logarithmic:
                return found
            return np.exp(found[0]), np.exp(found[1]), np.exp(found[2])

    def spread(self, *, logarithmic: bool) -> "Values":
        """The standard deviation; of logarithms transformed back, so that it is a factor."""
        with np.errstate(over="ignore"):
            return np.exp(self.std) if logarithmic else self.std

    def p_values(self) -> "Values":
        """Two-sided p of each mean's being 0, of t = mean·√n/s; NaN for n = 1 or s = 0."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            t = np.abs(self.mean) / self.std * np.sqrt(self.n)
        return np.array(
            [
                t_beyond(float(t_), int(n_) - 1) if s > 0 else math.nan
                for t_, n_, s in zip(t, self.n, self.std, strict=True)
            ]
        )


def means_by_cell(values: "Values", cell: "Numbers", size: int, rounding: "Values") -> Means:
    """The mean and standard deviation of the values in each of `size` cells.

    `cell` says which value is whose; values that lie no further apart than twice the greatest
    `rounding` of their cell are equal.
    """
    n = np.bincount(cell, minlength=size)
    # In units of the largest value, and deviations in units of the widest one: squares of very
    # large or small ones would be infinite or 0.
    unit = _greatest(np.abs(values), cell, size)
    unit = np.where(unit > 0, unit, 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        scaled = values / unit[cell]
        mean = np.bincount(cell, weights=scaled, minlength=size) / n
        deviation = scaled - mean[cell]
        widest = _greatest(np.abs(deviation), cell, size)
        widest = np.where(widest * unit > 2 * _greatest(rounding, cell, size), widest, 0.0)
        squares = np.bincount(cell, weights=(deviation / widest[cell]) ** 2, minlength=size)
        std = np.where(widest > 0, unit * widest * np.sqrt(squares / (n - 1)), 0.0)
    return Means(unit * mean, np.where(n > 1, std, np.nan), n)


def _greatest(values: "Values", cell: "Numbers", size: int) -> "Values":
    greatest: Values = np.zeros(size)
    np.maximum.at(greatest, cell, values)
    return greatest


def interval(values: Sequence[float], *, log: bool = False) -> tuple[float, float, float]:
    """The mean of some seeds' figures and the bounds of its 95 % confidence interval.

    mean ± t₀.₉₇₅(n−1)·s/√n, NaN for n = 1 and for equal figures; with `log` of logarithms,
    transformed back: the geometric mean.
    """
    figures = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = np.log(figures) if log else figures
    if not np.isfinite(figures).all():  # such as the logarithm of 0
        mean = float(figures.mean())
        return math.exp(mean) if log and mean < math.inf else mean, math.nan, math.nan
    cell = np.zeros(len(figures), dtype=np.int64)
    means = means_by_cell(figures, cell, 1, rounding_of(figures, log=log))
    mean, low, high = (float(bound[0]) for bound in means.bounds(logarithmic=log))
    return mean, low, high


def _quantiles(n: "Numbers") -> "Values":
    return np.array([t_quantile(int(size) - 1) if size > 1 else math.nan for size in n])


# Importing scipy for these three would take longer than reading some thousand runs.


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


def t_beyond(t: float, freedom: int) -> float:
    """P(|T| ≥ t) of Student's t, to 1e-12 of itself however small it is.

    I_x(ν/2, ½) at x = ν/(ν + t²), by its power series Σₖ (½)ₖ/k! · xᵏ/(ν/2 + k) (DLMF 8.17.7).
    """
    if not t > 2:  # there 1 − P is exact enough, and the series would be long
        return 1 - t_within(t, freedom)
    a, x = freedom / 2, 1 / (1 + t * t / freedom)
    if x == 0:
        return 0.0
    k = np.arange(1, 2 + int(-40 / math.log(x)))
    terms = np.cumprod((k - 0.5) / k * x) / (a + k)
    log_beta = math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    return math.exp(a * math.log(x) - log_beta) * (1 / a + float(terms.sum()))


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
