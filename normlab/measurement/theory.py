"""What mean-field theory predicts of a network at initialization, before any training.

For wide layers zˡ = Wˡφ(zˡ⁻¹) + bˡ with W ~ N(0, σ_w²/N) and b ~ N(0, σ_b²), z is Gaussian with a
variance q that each layer maps to the next, q ← σ_w² E[φ(√q u)²] + σ_b² with u ~ N(0, 1), and the
squared gradient by z grows from layer to layer towards the input by χ = σ_w² E[φ′(√q u)²] (Poole et
al. 2016; Schoenholz et al. 2017). At the map's fixed point q* that is χ₁: the gradient vanishes
below 1 (the ordered phase) and explodes above (the chaotic one).
"""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.config import ACTIVATIONS, INITIALIZERS, Config
from normlab.errors import ConfigError
from normlab.measurement.states import interior
from normlab.networks import normal_density

Values = NDArray[np.float64]


# E over u ~ N(0, 1) by the midpoint rule, which converges as fast as any on a density that has
# died out at both ends; no point lies on the kink of a rectifier.
_STEP = 1 / 256
_POINTS = np.arange(-12 + _STEP / 2, 12, _STEP)
_WEIGHTS = normal_density(_POINTS) * _STEP
# Variances beyond these are taken to die out or to grow for ever.
_LEAST, _MOST = 1e-9, 1e9


def mean(function: Callable[[Values], Any], q: float) -> float:
    """E[f(√q u)] over u ~ N(0, 1)."""
    return float(_WEIGHTS @ function(math.sqrt(q) * _POINTS))


def functions(activation: str) -> tuple[Callable[[Values], Any], Callable[[Values], Any]]:
    """φ and φ′ of a nonlinearity; raises ConfigError where they are not known."""
    part = ACTIVATIONS[activation]
    if part.phi is None or part.slope is None:
        raise ConfigError(
            f"model.activation={activation}: its φ and φ′ on arrays are not known, so that theory "
            "predicts nothing of it"
        )
    return part.phi, part.slope


@functools.lru_cache(maxsize=100_000)
def moments(activation: str, q: float) -> tuple[float, float, float]:
    """E[φ], E[φ²] and E[φ′²] of φ(√q u) over u ~ N(0, 1)."""
    phi, slope = functions(activation)
    return mean(phi, q), mean(lambda x: phi(x) ** 2, q), mean(lambda x: slope(x) ** 2, q)


def fixed_point(activation: str, weight_variance: float, bias_variance: float) -> float:
    """q*, the variance of z to which layers lead one of 1; 0 or ∞ where it dies out or grows.

    1 where a layer leaves every variance as it is, as He's initialization of rectifiers does.
    """

    def growth(q: float) -> float:
        return weight_variance * moments(activation, q)[1] + bias_variance - q

    at_start = growth(1.0)
    if abs(at_start) < 1e-12:
        return 1.0
    # The map is monotonic, so that its iteration ends at the nearest root on its way.
    limit = _MOST if at_start > 0 else _LEAST
    before = 1.0
    for q in np.geomspace(1.0, limit, 200)[1:].tolist():
        if growth(q) * at_start <= 0:
            return _root(growth, before, q)
        before = q
    return math.inf if at_start > 0 else 0.0


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function between its signs is 0, by bisection."""
    sign = function(low)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) * sign > 0 else (low, middle)
    return (low + high) / 2


def chi(activation: str, q: float, weight_variance: float) -> float:
    """χ = σ_w² E[φ′(√q u)²]: a layer's factor of the squared gradient towards the input."""
    return weight_variance * moments(activation, min(q, 1e12))[2]


def critical_weight_variance(activation: str, bias_variance: float) -> float:
    """The least σ_w² at which χ₁ = 1 for this σ_b²; NaN where there is none.

    Where φ′ does not depend on the size of z, as a rectifier's, it is 1/E[φ′²] for every σ_b². Else
    the critical line is σ_w² = 1/E[φ′²] and σ_b² = q* − E[φ²]/E[φ′²], and the second gives q*.
    """

    if ACTIVATIONS[activation].homogeneous:
        return 1 / moments(activation, 1.0)[2]

    def excess(q: float) -> float:
        _, square, slope = moments(activation, q)
        return q - square / slope - bias_variance

    places = np.geomspace(_LEAST, 1e4, 400).tolist()
    signs = [excess(q) for q in places]
    if abs(signs[0]) < 1e-8:  # without biases a smooth φ is critical where q* is 0
        return 1 / moments(activation, places[0])[2]
    for low, high, before, after in zip(places, places[1:], signs, signs[1:], strict=False):
        if before * after <= 0:
            found = 1 / moments(activation, _root(excess, low, high))[2]
            # Of several fixed points a network comes to one, which need not be the critical one.
            q = fixed_point(activation, found, bias_variance)
            if abs(chi(activation, q, found) - 1) < 1e-3:
                return found
    return math.nan


def correlation(
    activation: str, q: float, weight_variance: float, bias_variance: float
) -> tuple[float, float]:
    """c*, the correlation that two inputs' z end with, and the factor of their way to it a layer.

    |c − c*| shrinks by σ_w² E[φ′(z)φ′(z′)] (Schoenholz et al. 2017, eq. 9). 1 in the ordered phase.
    """
    phi, slope = functions(activation)
    chi_1 = chi(activation, q, weight_variance)
    if chi_1 <= 1 + 1e-9:
        return 1.0, chi_1
    u = np.arange(-8 + 1 / 16, 8, 1 / 8)
    first, second = u[:, None], u[None, :]
    weights = normal_density(first) * normal_density(second) / 64
    left = math.sqrt(q) * first

    def overlap(function: Callable[[Values], Any], c: float) -> float:
        right = math.sqrt(q) * (c * first + math.sqrt(1 - c * c) * second)
        return float((weights * function(left) * function(right)).sum())

    def approach(c: float) -> float:
        return (weight_variance * overlap(phi, c) + bias_variance) / q - c

    c = _root(approach, 0.0, 0.999) if approach(0.0) > 1e-9 else 0.0
    return c, weight_variance * overlap(slope, c)


def weight_variance(config: Config) -> float:
    """σ_w², a hidden layer's fan-in times the variance of its weights; NaN where not known."""
    model = config.model
    known = INITIALIZERS[model.init].hidden_variance
    if known is None:
        return math.nan
    return known(model.width, model.init_gain, model.init_std)


@dataclass(frozen=True)
class Prediction:
    """The factor of `delta_rms` from each hidden layer to the one before it, at initialization."""

    factors: Values  # of layer l's δ over layer l+1's, from the input: one fewer than hidden layers
    source: str

    @property
    def factor(self) -> float:
        """exp(−slope) of log δ over the interior layers, as `gradient_factor` measures it."""
        if not len(self.factors):
            return math.nan
        logs = np.concatenate([[0.0], -np.cumsum(np.log(self.factors))])
        index = interior(len(logs))
        return float(np.exp(-np.polyfit(index, logs[index], deg=1)[0]))


def predict(config: Config) -> Prediction | None:
    """The gradient's factors of an MLP, or None where theory does not cover the config.

    Covered: no norm or weight norm, plain with any nonlinearity whose φ is known, residual with one
    whose φ″ is odd, where δ² grows by 1 + σ_w²E[φ′²] a layer; and a norm of which a theorem gives
    the factor, as BatchNorm before a rectifier without skips, where δ² grows by π/(π−1) a layer
    (Yang et al. 2019, theorem 8, for large batches). Inputs are taken to have a second moment of 1,
    as standardized ones have.
    """
    model, norm = config.model, config.norm
    hidden = model.depth - 1
    if model.spatial or hidden < 2:
        return None
    if norm.normalizes:
        known = norm.gradient_factor(config)
        return None if known is None else Prediction(np.full(hidden - 1, known[0]), known[1])
    activation = ACTIVATIONS[model.activation]
    variance = weight_variance(config)
    if activation.phi is None or activation.slope is None or not variance > 0:
        return None
    # φ″ is odd, so that E[φ″] = 0. Otherwise a residual network's weights and slopes are
    # correlated, E[Wᵢⱼφ′(zᵢ)] = E[hⱼ]σ_w²E[φ″]/N, and its gradient outgrows 1 + σ_w²E[φ′²] a layer:
    # a ReLU network of 24 layers of 512 was measured at 1.53 for δ, where that gives √2.
    if model.residual and not activation.odd_curvature:
        return None
    slopes = _slopes(config, variance, hidden)
    if slopes is None:
        return None
    factors = []
    for slope, following in itertools.pairwise(slopes):
        # δˡ = φ′(zˡ)·∂L/∂hˡ, and ∂L/∂hˡ = Wᵀδˡ⁺¹, beside the skip.
        back = variance + (1 / following if model.residual else 0.0)
        factors.append(math.sqrt(slope * back))
    return Prediction(np.array(factors), "mean field, Schoenholz et al. 2017")


def _slopes(config: Config, variance: float, hidden: int) -> list[float] | None:
    """E[φ′(z)²] of every hidden layer; None where z dies out or outgrows every number."""
    model = config.model
    # E[h] and E[h²] of a layer's activation.
    first, second = 0.0, 1.0
    slopes = []
    for layer in range(hidden):
        q = variance * second + model.bias_std**2
        if not 1e-30 < q < 1e30:
            return None
        average, square, slope = moments(model.activation, q)
        slopes.append(slope)
        if model.residual and layer:
            # z is as likely to be −z, whatever h is: E[hφ(z)] = E[h]E[φ].
            second += square + 2 * first * average
            first += average
        else:
            first, second = average, square
    return slopes


def overview(config: Config) -> dict[str, Any]:
    """What `normlab theory` prints: the phase of a plain MLP without norm, and its figures."""
    model = config.model
    variance, biases = weight_variance(config), model.bias_std**2
    if math.isnan(variance):
        raise ConfigError(
            f"model.init={model.init}: the variance of its weights is not known, so that theory "
            "predicts nothing of it"
        )
    q = fixed_point(model.activation, variance, biases)
    chi_1 = chi(model.activation, q, variance)
    distance = abs(math.log(chi_1)) if chi_1 > 0 else math.inf
    critical = critical_weight_variance(model.activation, biases)
    alike, approach = (
        correlation(model.activation, q, variance, biases)
        if math.isfinite(q) and q > 0
        else (math.nan, math.nan)
    )
    prediction = predict(config)
    return {
        "activation": model.activation,
        "weight_variance": variance,
        "bias_variance": biases,
        "q": q,
        "chi_1": chi_1,
        "phase": "critical" if distance < 1e-3 else "ordered" if chi_1 < 1 else "chaotic",
        "gradient_depth": 1 / distance if distance > 1e-6 else math.inf,
        "correlation": alike,
        "correlation_depth": (
            1 / abs(math.log(approach)) if approach > 0 and abs(approach - 1) > 1e-6 else math.inf
        ),
        "critical_weight_variance": critical,
        "factor": prediction.factor if prediction else None,
        "ratio": float(np.prod(prediction.factors)) if prediction else None,
        "depth": model.depth,
        "residual": model.residual,
    }
