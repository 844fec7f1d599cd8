"""Measurements of a layer: each a name, a label, and a pure function of what the layer did.

`grad_norm` and `update_ratio` are of the training step itself; all others are of a snapshot. They
are made of what is gathered from the parts of a batch, joined and finished, so a snapshot takes
no more memory than a part.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normlab.config import PROBES, InParts, Probe

if TYPE_CHECKING:
    from torch import Tensor

    from normlab.measurement.observation import Observation

    Gathered = tuple[Tensor, ...]
    Gather = Callable[[Observation], Gathered]
    Finish = Callable[[Gathered], Tensor]

# A unit whose nonlinearity has a smaller slope than this lets next to no gradient through:
# exactly 0 for a rectifier, |tanh| > 0.995, a sigmoid within 0.0102 of 0 or 1.
DEAD_SLOPE = 0.01


def added(one: "Gathered", other: "Gathered") -> "Gathered":
    """Sums of two parts of a batch to those of both."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def enter(name: str, label: str, parts: InParts, **facts: Any) -> None:
    """Enter a measurement of snapshots that can be made of parts of a batch."""

    def measure(seen: "Observation") -> "Tensor":
        return parts.finish(parts.gather(seen))

    measure.__doc__ = parts.finish.__doc__
    PROBES.add(name, Probe(name, label, measure, parts=parts, **facts))


PROBES.add("grad_norm", Probe("grad_norm", "‖∂L/∂W‖", None, logarithmic=True, gradient=True))


def is_padded(seen: "Observation", x: "Tensor") -> bool:
    """Whether a layer's tensor is of tokens [B, T, units] some of which are padding."""
    return seen.real is not None and x.ndim == 3


def without_padding(seen: "Observation", x: "Tensor", filled: float) -> "Tensor":
    """A layer's tensor with a number in padding; no shape depends on how much there is."""
    if seen.real is None or not is_padded(seen, x):
        return x
    return x.masked_fill(~seen.real[:, :, None], filled)


def _entries(seen: "Observation", x: "Tensor", like: "Tensor") -> "Tensor":
    """How many numbers of a layer's tensor are of no padding, in the dtype of `like`."""
    if seen.real is None or not is_padded(seen, x):
        return like.new_tensor(x.numel())
    return seen.real.sum() * like.new_tensor(x.shape[2])


# ------------------------------------------------------------------------------- gradients


def _delta_norm(seen: "Observation") -> "Gathered":
    """‖∂L/∂z‖ over samples and units, and how many samples and entries it is of."""
    from normlab.measurement.norms import norm

    found = norm(without_padding(seen, seen.delta, 0))
    return found, found.new_tensor(len(seen.delta)), _entries(seen, seen.delta, found)


def _joined_norms(one: "Gathered", other: "Gathered") -> "Gathered":
    import torch

    return torch.hypot(one[0], other[0]), one[1] + other[1], one[2] + other[2]


def delta_rms(gathered: "Gathered") -> "Tensor":
    """sqrt(Σᵢ ‖B·∂L/∂zᵢ‖² / (B·n)) over B samples and n units (C·H·W of a convolution, T·C of T
    tokens; of padded samples their mean).

    The root mean square of a sample's own ∂ℓᵢ/∂z: independent of width and batch size, and what
    mean field theory predicts (Schoenholz et al. 2017). Under BatchNorm, where samples are coupled,
    ℓᵢ's derivative is B times the batch loss's.
    """
    found, samples, entries = gathered
    return found * samples / entries.sqrt()


def _delta_sum(seen: "Observation") -> "Gathered":
    return (without_padding(seen, seen.delta, 0).sum(dim=0),)


def mean_delta(gathered: "Gathered") -> "Tensor":
    """‖Σᵢ ∂L/∂zᵢ‖, the norm of the samples' mean δ as Nielsen (2015, ch. 5) takes it.

    Samples cancel each other here, and under BatchNorm the sum is 0: only for comparison with his
    figures.
    """
    from normlab.measurement.norms import norm

    return norm(gathered[0])


enter(
    "delta_rms",
    "δ (root mean square gradient at z)",
    InParts(_delta_norm, _joined_norms, delta_rms),
    logarithmic=True,
    gradient=True,
    diagnosed=True,
)
enter(
    "mean_delta",
    "‖mean δ‖",
    InParts(_delta_sum, added, mean_delta),
    logarithmic=True,
    gradient=True,
)

# --------------------------------------------------------------------------------- weights

PROBES.add("update_ratio", Probe("update_ratio", "‖ΔW‖/‖W‖", None, logarithmic=True))


def _weight_norm(seen: "Observation") -> "Gathered":
    from normlab.measurement.norms import norm

    return (norm(seen.weight),)


def weight_norm(gathered: "Gathered") -> "Tensor":
    """‖W‖, Frobenius."""
    return gathered[0]


enter(
    "weight_norm",
    "‖W‖",
    InParts(_weight_norm, lambda one, _: one, weight_norm),
    logarithmic=True,
)


def _root_mean_square(seen: "Observation", x: "Tensor | None") -> "Gathered":
    """Of γ or β; NaN where there is none."""
    import torch

    from normlab.measurement.norms import accumulator, norm

    if x is None:
        return (seen.weight.new_full((), torch.nan, dtype=accumulator(seen.weight)),)
    return (norm(x) / math.sqrt(x.numel()),)


def norm_gain(gathered: "Gathered") -> "Tensor":
    """√(mean of γ²) over the channels of the norms between the layer and the next, at first 1
    (Ioffe & Szegedy 2015); NaN without γ."""
    return gathered[0]


def norm_shift(gathered: "Gathered") -> "Tensor":
    """√(mean of β²) over the channels of the norms between the layer and the next, at first 0
    (Ioffe & Szegedy 2015); NaN without β."""
    return gathered[0]


enter(
    "norm_gain",
    "root mean square of γ",
    InParts(lambda seen: _root_mean_square(seen, seen.gain), lambda one, _: one, norm_gain),
    short="γ",
)
enter(
    "norm_shift",
    "root mean square of β",
    InParts(lambda seen: _root_mean_square(seen, seen.shift), lambda one, _: one, norm_shift),
    short="β",
)

# ----------------------------------------------------------------------------- activations


def _moments(seen: "Observation") -> "Gathered":
    """How many entries the activations have, their mean, and their deviation with that divisor."""
    from normlab.measurement.norms import accumulator

    a = seen.activation.to(accumulator(seen.activation))
    count = _entries(seen, a, a)
    if not is_padded(seen, a):
        return count, a.mean(), a.std(correction=0)
    mean = without_padding(seen, a, 0).sum() / count
    squares = without_padding(seen, a - mean, 0).square().sum()
    return count, mean, (squares / count).sqrt()


def _joined_moments(one: "Gathered", other: "Gathered") -> "Gathered":
    """Those of both parts (Chan et al. 1979)."""
    (n, mean, deviation), (m, other_mean, other_deviation) = one, other
    share, apart = m / (n + m), other_mean - mean
    within = (1 - share) * deviation**2 + share * other_deviation**2
    return n + m, mean + share * apart, (within + share * (1 - share) * apart**2).sqrt()


def act_mean(gathered: "Gathered") -> "Tensor":
    """Mean of the activations over samples and units."""
    return gathered[1]


def act_std(gathered: "Gathered") -> "Tensor":
    """Standard deviation of the activations over samples and units, with divisor B·n."""
    return gathered[2]


enter("act_mean", "mean activation", InParts(_moments, _joined_moments, act_mean))
enter(
    "act_std",
    "deviation of activations",
    InParts(_moments, _joined_moments, act_std),
    logarithmic=True,
)


def _steepest(seen: "Observation") -> "Gathered":
    """The largest |φ′| of every unit, NaN where any is; −1 of those of tokens that are padding in
    every sample."""
    import torch

    if seen.slope is None:
        return (seen.delta.new_full((), torch.nan),)
    return (without_padding(seen, seen.slope.abs(), -1).amax(dim=0),)


def _larger(one: "Gathered", other: "Gathered") -> "Gathered":
    import torch

    return (torch.maximum(one[0], other[0]),)  # NaN where either is


def dead_fraction(gathered: "Gathered") -> "Tensor":
    """Share of units whose |φ′| is below `DEAD_SLOPE` for every sample: zero or saturated units.

    NaN for the output layer, which has no nonlinearity, and where a slope is NaN.
    """
    import torch

    from normlab.measurement.norms import accumulator

    (steepest,) = gathered
    counted = steepest >= 0
    dead = (counted & (steepest < DEAD_SLOPE)).sum(dtype=accumulator(steepest)) / counted.sum()
    return torch.where(steepest.isnan().any(), torch.nan, dead)


enter("dead_fraction", "dead units", InParts(_steepest, _larger, dead_fraction))
