"""The phases of mean-field theory: to what depth leads a wide network at initialization.

For wide layers zˡ = Wˡφ(zˡ⁻¹) + bˡ with W ~ N(0, σ_w²/N) and b ~ N(0, σ_b²), z is Gaussian with a
variance q that each layer maps to the next, q ← σ_w² E[φ(√q u)²] + σ_b² with u ~ N(0, 1), and the
squared gradient by z grows from layer to layer towards the input by χ = σ_w² E[φ′(√q u)²] (Poole et
al. 2016; Schoenholz et al. 2017). At the map's fixed point q* that is χ₁: the gradient vanishes
below 1 (the ordered phase) and explodes above (the chaotic one). Inputs are taken to have a second
moment of 1, as standardized ones have: the first layer's q is σ_w² + σ_b².
"""

import bisect
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.config import ACTIVATIONS, INITIALIZERS, Config
from normlab.networks import functions, gain_of, moments, normal_density

Values = NDArray[np.float64]

# Variances beyond these are taken to die out or to grow for ever.
_LEAST, _MOST = 1e-30, 1e12
_GRID: list[float] = sorted(
    {
        *np.geomspace(_LEAST, _MOST, 400).tolist(),
        *np.geomspace(1e-3, 1e4, 400).tolist(),  # fine, where two fixed points may lie side by side
    }
)


def fixed_point(activation: str, weight_variance: float, bias_variance: float) -> float:
    """q*, the variance of z to which layers lead inputs of a second moment of 1.

    0 or ∞ where it dies out or grows for ever; that of the first layer where layers leave every
    variance as it is, as He's initialization of rectifiers does.
    """

    def growth(q: float) -> float:
        return weight_variance * moments(activation, q)[1] + bias_variance - q

    start = weight_variance + bias_variance
    if not _LEAST < start < _MOST:
        return 0.0 if start <= _LEAST else math.inf
    at_start = growth(start)
    if abs(at_start) < 1e-12 * start:
        return start
    # The map is monotonic, so that its iteration ends at the nearest root on its way.
    above = bisect.bisect(_GRID, start)
    before = start
    for q in _GRID[above:] if at_start > 0 else reversed(_GRID[:above]):
        found = growth(q)
        # As near 0 as its rounding it has no sign: where z dies out more slowly than by a factor.
        if found * at_start <= 0 and abs(found) > 1e-12 * q:
            return _root(growth, before, q)
        before = q
    return math.inf if at_start > 0 else 0.0


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function between its signs is 0, by bisection to 12 digits."""
    sign = function(low)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) * sign > 0 else (low, middle)
        if abs(high - low) <= 1e-12 * abs(high):
            break
    return (low + high) / 2


def chi(activation: str, q: float, weight_variance: float) -> float:
    """χ = σ_w² E[φ′(√q u)²]: a layer's factor of the squared gradient towards the input.

    Its limit where q is 0 or ∞: half of z is on either side of a rectifier's kink however small.
    """
    return weight_variance * moments(activation, min(max(q, _LEAST), _MOST))[2]


def critical_weight_variance(activation: str, bias_variance: float) -> float:
    """The least σ_w² from which on the gradient does not vanish, χ₁ ≥ 1, for this σ_b².

    NaN where it vanishes for every σ_w². χ₁ may jump there, as it does for GELU and SiLU without
    biases: below, z dies out, and above, it grows for ever.
    """
    if ACTIVATIONS[activation].homogeneous:  # φ′ does not depend on the size of z
        return 1 / moments(activation, 1.0)[2]

    def excess(variance: float) -> float:
        return chi(activation, fixed_point(activation, variance, bias_variance), variance) - 1

    steepest = max(moments(activation, q)[2] for q in _GRID[::8])
    if not steepest > 0:
        return math.nan
    # Below 1/E[φ′²] of every q the gradient vanishes.
    scan = np.geomspace(0.9 / steepest, 1e5 / steepest, 60).tolist()
    for below, above in itertools.pairwise(scan):
        if excess(above) >= 0:
            return _root(excess, below, above)
    return math.nan


def correlation(
    activation: str, q: float, weight_variance: float, bias_variance: float
) -> tuple[float | None, float]:
    """c*, the correlation that two inputs' z end with, and the factor of their way to it a layer.

    |c − c*| shrinks by σ_w² E[φ′(z)φ′(z′)] (Schoenholz et al. 2017, eq. 9). 1 in the ordered phase.
    Where q is 0 or ∞ it is that of φ's limit: 1, slower than by any factor, behind a kink, and None
    where φ is linear there, so that every correlation stays as it is.
    """
    chi_1 = chi(activation, q, weight_variance)
    if not weight_variance:  # z is the bias, whatever the input
        return 1.0, 0.0
    if q == 0 or math.isinf(q):
        overlap, _ = _overlaps(activation, min(max(q, _LEAST), _MOST))
        turns = abs(overlap(0.5) / overlap(1.0) - 0.5) > 1e-3
        return (1.0 if turns else None), 1.0
    if chi_1 <= 1 + 1e-9:
        return 1.0, chi_1
    overlap, slopes = _overlaps(activation, q)
    square = weight_variance * overlap(1.0) + bias_variance

    def approach(c: float) -> float:
        return (weight_variance * overlap(c) + bias_variance) / square - c

    c = _root(approach, 0.0, 1 - 1e-6) if approach(0.0) > 1e-9 else 0.0
    return c, weight_variance * slopes(c)


def _overlaps(activation: str, q: float) -> tuple[Callable[[float], float], ...]:
    """E[φ(z)φ(z′)] and E[φ′(z)φ′(z′)] of z and z′ with variance q, by their correlation."""
    # Fine enough for a φ that saturates at once.
    step = min(1 / 8, max(1 / 64, 0.6 / math.sqrt(q)))
    u = np.arange(-8 + step / 2, 8, step)
    first, second = u[:, None], u[None, :]
    weights = normal_density(first) * normal_density(second) * step**2

    def of(function: Callable[[Values], Any]) -> Callable[[float], float]:
        left = weights * function(math.sqrt(q) * first)

        def overlap(c: float) -> float:
            right = math.sqrt(q) * (c * first + math.sqrt(1 - c * c) * second)
            return float((left * function(right)).sum())

        return overlap

    return tuple(map(of, functions(activation)))


def weight_variance(config: Config, inputs: int | None = None) -> float:
    """σ_w², fan-in times the variance of a hidden layer's weights; NaN where it is not known.

    Of the first layer with `inputs`, else of a layer as wide as the one before it.
    """
    model = config.model
    known = INITIALIZERS[model.init].variance
    if known is None:
        return math.nan
    return known(inputs or model.width, model.width, gain_of(model), model.init_std)


def bias_variance(config: Config, inputs: int | None = None) -> float:
    """σ_b² of a hidden layer, of the first with `inputs`."""
    model = config.model
    bound = INITIALIZERS[model.init].bias_bound
    if bound is None or not model.bias:
        return model.bias_std**2
    return bound(inputs or model.width) ** 2 / 3
