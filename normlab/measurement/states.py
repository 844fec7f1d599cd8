"""The gradient and the activations of a network at one step, judged.

The gradient is judged by R = δ_first / δ_last, the ratio of `delta_rms` of the first and the last
hidden layer, and by the factor per layer towards the input, exp(−slope of log δ over the interior
layers). The output layer is left out of both. In a residual network, where the gradient goes around
a branch that is shut, the last branch that is open takes the last layer's place. A network whose
layers are in blocks is judged by those in place of layers.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from normlab.measurement.block_profiles import by_block, has_blocks, unit_of

if TYPE_CHECKING:
    from pandas import DataFrame

Values = NDArray[np.float64]

# The first hidden layer gets less than a hundredth, or more than a hundred times, of what the last
# gets: outside of the range in which He et al.'s networks count as healthy (claim C15).
VANISHING_RATIO = 1e-2
EXPLODING_RATIO = 1e2
# A residual branch with less than this of the output layer's δ is shut: 1e-20 and less of branches
# that had died, 0.01 and more of others.
SHUT_RATIO = 1e-4
# Mean cosine between samples in the last hidden layer. A pilot on digits (default training, one
# seed), cosine at init -> train accuracy: plain LN-CNN-20 .973 -> .97, plain CNN-20 .974 -> .53,
# plain MLP-20 .991 -> .23, plain LN-CNN-56 .992 -> .10, plain MLP-56 .9994 -> .10.
COLLAPSED_COSINE = 0.99
# The same of activations less their mean over units, m: of rectified Gaussian ones, whose mean
# square is 1.47 times their variance, 1 − c is so much larger. A sigmoid's offset of ½ is no sign
# that inputs are forgotten: half-trained sigmoid networks had .9988 with it, and far less without.
COLLAPSED_CENTRED_COSINE = 0.985
# The tokens' distance from rank 1 behind the last block, where attention has made them one. Pilot
# on digits, LayerNorm, 12 blocks at init: without skips 2e-7, float32's own, as from block 3 on;
# with them .02 post, .2 pre. One with .003 at the end trains: the mean over tokens is what counts.
COLLAPSED_DISTANCE = 1e-4


@dataclass(frozen=True)
class State:
    """The gradient and the activations of a network at one step."""

    step: int
    diagnosis: str | None  # vanishing | exploding | collapsed | healthy; None: not measured
    factor: float  # of delta_rms per layer towards the input
    ratio: float  # of the first hidden layer to the last, or to the last open branch
    cosine: float  # between samples in the last hidden layer
    hidden: int  # number of hidden layers
    worst: int  # layers 1 to worst lie beyond the threshold
    centred_cosine: float = math.nan  # the cosine without what all units have in common
    last: int = 0  # the hidden layer with which the first is compared; 0: the last one
    unit: str = "layer"  # block, where those are what is numbered
    distance: float = math.nan  # the tokens' from rank 1 behind the last block
    query_share: float = math.nan  # ‖∂W_Q‖/‖∂W_V‖ in the block where it is least
    query_block: int = 0


NOTHING_MEASURED = State(0, None, math.nan, math.nan, math.nan, 0, 0)


def state_at(layers: "DataFrame", step: int, *, residual: bool = False) -> State:
    """Judge the snapshot of one step, of a residual network along its stream."""
    rows = layers[layers["step"] == step].sort_values("layer")
    path = by_block(rows).sort_values("layer")
    deltas = _column(path[:-1], "delta_rms")
    distances = _column(path[:-1], "rank_one_distance")
    hidden = _last_of_blocks(rows) if has_blocks(rows) else rows[:-1]
    cosines = _column(hidden, "sample_cosine")
    cosine = float(cosines[-1]) if len(cosines) else math.nan
    output = path["delta_rms"].iloc[-1] if len(deltas) else math.nan
    last = _last_open(deltas, float(output)) if residual else len(deltas)
    ratio = gradient_ratio(deltas[:last])
    factor = gradient_factor(deltas)
    count = len(hidden)
    centred = _centred(cosine, hidden)
    diagnosis, worst = _judged(deltas, last, ratio)
    collapsed = cosine > COLLAPSED_COSINE and not centred <= COLLAPSED_CENTRED_COSINE
    distance = float(distances[-1]) if len(distances) else math.nan
    one_token = distance < COLLAPSED_DISTANCE
    if diagnosis in (None, "healthy") and (collapsed or one_token):
        diagnosis = "collapsed"
        # Of tokens that are one the sentence speaks first.
        alike = distances < COLLAPSED_DISTANCE if one_token else cosines > COLLAPSED_COSINE
        worst = count - _count_leading(alike[::-1]) + 1
    if diagnosis == "exploding" and not np.isfinite(deltas).all():
        ratio = math.nan
    return State(
        *(step, diagnosis, factor, ratio, cosine, count, worst, centred, last, unit_of(rows)),
        *(distance, *_query_share(rows)),
    )


def _last_of_blocks(rows: "DataFrame") -> "DataFrame":
    """Each block's last layer, whose activation is what the block gives on."""
    return rows[rows["block"].notna()].drop_duplicates("block", keep="last")


def _query_share(rows: "DataFrame") -> tuple[float, int]:
    """‖∂W_Q‖/‖∂W_V‖ in the block where it is least, and that block; NaN where not measured."""
    if not has_blocks(rows) or "grad_norm" not in rows:
        return math.nan, 0
    by_role = rows.dropna(subset=["block"]).pivot(index="block", columns="role", values="grad_norm")
    if "query" not in by_role or "value" not in by_role:
        return math.nan, 0
    shares = (by_role["query"] / by_role["value"]).dropna()
    if shares.empty:
        return math.nan, 0
    place = int(shares.to_numpy().argmin())
    return float(shares.iloc[place]), int(shares.index.to_numpy()[place])


def _judged(deltas: Values, last: int, ratio: float) -> tuple[str | None, int]:
    """The gradient's diagnosis, and up to which layer it is beyond its threshold."""
    if not len(deltas):
        return None, 0
    if not np.isfinite(deltas).all():
        return "exploding", int(np.flatnonzero(~np.isfinite(deltas))[-1]) + 1
    if deltas[last - 1] == 0:
        return "vanishing", 0 if deltas.any() else len(deltas)
    if ratio < VANISHING_RATIO:
        return "vanishing", _count_leading(deltas[:last] < VANISHING_RATIO * deltas[last - 1])
    if ratio > EXPLODING_RATIO:
        return "exploding", _count_leading(deltas[:last] > EXPLODING_RATIO * deltas[last - 1])
    return "healthy", 0


def _last_open(deltas: Values, output: float) -> int:
    """The number of the last hidden layer whose branch is not shut.

    Its δ is at least a hundredth of the largest in the last quarter of the hidden layers, or of
    two; where all those are shut, it is not lost beside the output layer's δ.
    """
    if not np.isfinite(deltas).all() or not deltas.any():
        return len(deltas)
    largest = deltas[-max(2, len(deltas) // 4) :].max()
    least = VANISHING_RATIO * largest if largest > SHUT_RATIO * output else SHUT_RATIO * output
    opened = np.flatnonzero(deltas >= least)
    return int(opened[-1]) + 1 if len(opened) else len(deltas)


def _centred(cosine: float, hidden: "DataFrame") -> float:
    """The mean cosine c between samples' activations in the last hidden layer less their mean over
    units m: 1 − (1 − c)(m² + s²)/s², s their standard deviation, of samples alike in both."""
    means, deviations = _column(hidden, "act_mean"), _column(hidden, "act_std")
    if not len(means) or not len(deviations) or not deviations[-1] > 0:
        return math.nan
    return 1 - (1 - cosine) * (1 + float(means[-1] / deviations[-1]) ** 2)


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
