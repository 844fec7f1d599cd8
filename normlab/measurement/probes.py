"""Measurements of a layer: each a name, a label, and a pure function of what the layer did.

`grad_norm` and `update_ratio` are of the training step itself; all others are of a snapshot.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from normlab.config import PROBES, Probe

if TYPE_CHECKING:
    from torch import Tensor

    from normlab.measurement.observation import Observation

    Measure = Callable[[Observation], Tensor]

# A unit whose nonlinearity has a smaller slope than this lets next to no gradient through:
# exactly 0 for a rectifier, |tanh| > 0.995, a sigmoid within 0.0102 of 0 or 1.
DEAD_SLOPE = 0.01


def probe(
    label: str, *, logarithmic: bool = False, gradient: bool = False, diagnosed: bool = False
) -> "Callable[[Measure], Measure]":
    """Register a function of an observation as the probe of its name."""

    def enter(measure: "Measure") -> "Measure":
        name = measure.__name__
        PROBES.add(name, Probe(name, label, measure, logarithmic, gradient, diagnosed))
        return measure

    return enter


PROBES.add("grad_norm", Probe("grad_norm", "‖∂L/∂W‖", None, logarithmic=True, gradient=True))


@probe("δ (root mean square gradient at z)", logarithmic=True, gradient=True, diagnosed=True)
def delta_rms(seen: "Observation") -> "Tensor":
    """sqrt(Σᵢ ‖B·∂L/∂zᵢ‖² / (B·n)) over B samples and n units (C·H·W of a convolution).

    The root mean square of a sample's own ∂ℓᵢ/∂z: independent of width and batch size, and what
    mean field theory predicts (Schoenholz et al. 2017). Under BatchNorm, where samples are coupled,
    ℓᵢ's derivative is B times the batch loss's.
    """
    from normlab.measurement.norms import norm

    return norm(seen.delta) * len(seen.delta) / math.sqrt(seen.delta.numel())


@probe("‖mean δ‖", logarithmic=True, gradient=True)
def mean_delta(seen: "Observation") -> "Tensor":
    """‖Σᵢ ∂L/∂zᵢ‖, the norm of the samples' mean δ as Nielsen (2015, ch. 5) takes it.

    Samples cancel each other here, and under BatchNorm the sum is 0: only for comparison with his
    figures.
    """
    from normlab.measurement.norms import norm

    return norm(seen.delta.sum(dim=0))


PROBES.add("update_ratio", Probe("update_ratio", "‖ΔW‖/‖W‖", None, logarithmic=True))


@probe("‖W‖", logarithmic=True)
def weight_norm(seen: "Observation") -> "Tensor":
    """‖W‖, Frobenius."""
    from normlab.measurement.norms import norm

    return norm(seen.weight)


@probe("mean activation")
def act_mean(seen: "Observation") -> "Tensor":
    """Mean of the activations over samples and units."""
    from normlab.measurement.norms import accumulator

    return seen.activation.to(accumulator(seen.activation)).mean()


@probe("deviation of activations", logarithmic=True)
def act_std(seen: "Observation") -> "Tensor":
    """Standard deviation of the activations over samples and units, with divisor B·n."""
    from normlab.measurement.norms import accumulator

    return seen.activation.to(accumulator(seen.activation)).std(correction=0)


@probe("dead units")
def dead_fraction(seen: "Observation") -> "Tensor":
    """Share of units whose |φ′| is below `DEAD_SLOPE` for every sample: zero or saturated units.

    NaN for the output layer, which has no nonlinearity, and where a slope is NaN.
    """
    import torch

    from normlab.measurement.norms import accumulator

    if seen.slope is None:
        return seen.delta.new_full((), torch.nan)
    steepest = seen.slope.abs().amax(dim=0)  # NaN where any is
    dead = (steepest < DEAD_SLOPE).to(accumulator(seen.delta)).mean()
    return torch.where(steepest.isnan().any(), torch.nan, dead)


@probe("cosine between samples")
def sample_cosine(seen: "Observation") -> "Tensor":
    """Mean cosine between different samples' activations a: mean over i ≠ j of aᵢ·aⱼ/(‖aᵢ‖‖aⱼ‖).

    Near 1 the layers up to here have forgotten the input. Two zero vectors, being alike, count 1;
    a zero and another vector count 0.
    """
    import torch

    from normlab.measurement.norms import accumulator

    a = seen.activation.flatten(1).to(accumulator(seen.activation))
    norms = torch.linalg.vector_norm(a, dim=1)
    zeros = (norms == 0).sum()
    total = torch.where(norms == 0, 0, 1 / norms) @ a  # Σᵢ aᵢ/‖aᵢ‖ of those that are not zero
    batch = len(a)
    pairs: Tensor = total.square().sum() - (batch - zeros) + zeros * (zeros - 1)
    return pairs / (batch * (batch - 1))
