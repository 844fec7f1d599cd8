"""The gradient and the activations of a network at one step, judged.

The gradient is judged by R = δ_first / δ_last, the ratio of `delta_rms` of the first and the last
hidden layer, and by the factor per layer towards the input, exp(−slope of log δ over the interior
layers). The output layer is left out of both.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pandas import DataFrame

Values = NDArray[np.float64]

# The first hidden layer gets less than a hundredth, or more than a hundred times, of what the last
# gets: outside of the range in which He et al.'s networks count as healthy (claim C15).
VANISHING_RATIO = 1e-2
EXPLODING_RATIO = 1e2
# Mean cosine between samples in the last hidden layer. A pilot on digits (default training, one
# seed), cosine at init -> train accuracy: plain LN-CNN-20 .973 -> .97, plain CNN-20 .974 -> .53,
# plain MLP-20 .991 -> .23, plain LN-CNN-56 .992 -> .10, plain MLP-56 .9994 -> .10.
COLLAPSED_COSINE = 0.99


@dataclass(frozen=True)
class State:
    """The gradient and the activations of a network at one step."""

    step: int
    diagnosis: str | None  # vanishing | exploding | collapsed | healthy; None: not measured
    factor: float  # of delta_rms per layer towards the input
    ratio: float  # first to last hidden layer
    cosine: float  # between samples in the last hidden layer
    hidden: int  # number of hidden layers
    worst: int  # layers 1 to worst lie beyond the threshold


NOTHING_MEASURED = State(0, None, math.nan, math.nan, math.nan, 0, 0)


def state_at(layers: "DataFrame", step: int) -> State:
    """Judge the snapshot of one step."""
    rows = layers[layers["step"] == step].sort_values("layer")
    hidden = rows[:-1]
    deltas = _column(hidden, "delta_rms")
    cosines = _column(hidden, "sample_cosine")
    cosine = float(cosines[-1]) if len(cosines) else math.nan
    ratio = gradient_ratio(deltas)
    factor = gradient_factor(deltas)
    count = len(hidden)
    if len(deltas) and not np.isfinite(deltas).all():
        broken = int(np.flatnonzero(~np.isfinite(deltas))[-1]) + 1
        return State(step, "exploding", factor, math.nan, cosine, count, broken)
    if len(deltas) and deltas[-1] == 0:
        zeros = count if not deltas.any() else 0
        return State(step, "vanishing", factor, ratio, cosine, count, zeros)
    if ratio < VANISHING_RATIO:
        worst = _count_leading(deltas < VANISHING_RATIO * deltas[-1])
        return State(step, "vanishing", factor, ratio, cosine, count, worst)
    if ratio > EXPLODING_RATIO:
        worst = _count_leading(deltas > EXPLODING_RATIO * deltas[-1])
        return State(step, "exploding", factor, ratio, cosine, count, worst)
    if cosine > COLLAPSED_COSINE:
        first = count - _count_leading(cosines[::-1] > COLLAPSED_COSINE) + 1
        return State(step, "collapsed", factor, ratio, cosine, count, first)
    diagnosis = "healthy" if len(deltas) else None
    return State(step, diagnosis, factor, ratio, cosine, count, 0)


def gradient_ratio(deltas: Values) -> float:
    """R = δ_first / δ_last over hidden layers; NaN without any, infinite where δ_last is 0."""
    if not len(deltas):
        return math.nan
    first, last = float(deltas[0]), float(deltas[-1])
    if last == 0:
        return math.inf if first else math.nan
    return first / last


def gradient_factor(deltas: Values) -> float:
    """exp(−slope) of log δ over the interior layers, by least squares.

    Layers whose δ is 0 or not finite are left out. NaN where fewer than two are left.
    """
    index = interior(len(deltas))
    index = index[np.isfinite(deltas[index]) & (deltas[index] > 0)]
    if len(index) < 2:
        return math.nan
    slope = np.polyfit(index, np.log(deltas[index]), deg=1)[0]
    return float(np.exp(-slope))


def interior(hidden: int) -> NDArray[np.int64]:
    """The positions, from 0, of the hidden layers over which a slope is taken.

    All but the first and the last, where the input and the output layer set the size, as long as
    two remain.
    """
    index = np.arange(hidden)
    return index[1:-1] if hidden >= 4 else index


def _count_leading(beyond: NDArray[np.bool_]) -> int:
    """The number of layers from the first on that lie beyond a threshold without a gap."""
    return len(beyond) if beyond.all() else int(np.argmin(beyond))


def _column(rows: "DataFrame", name: str) -> Values:
    if name not in rows or rows[name].isna().all():
        return np.array([])
    return rows[name].to_numpy(dtype=np.float64)


def snapshot_steps(layers: "DataFrame") -> list[int]:
    """The steps at which what a state is judged by was measured."""
    judged = [name for name in ("delta_rms", "sample_cosine") if name in layers]
    if not judged:
        return []
    measured = layers[judged].notna().any(axis=1)
    return sorted(int(step) for step in layers.loc[measured, "step"].unique())
