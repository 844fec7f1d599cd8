"""What theory predicts of a config's network at initialization, and where it knows nothing."""

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from normlab.config import ACTIVATIONS, Config, Model
from normlab.errors import ConfigError
from normlab.measurement.states import interior
from normlab.measurement.theory import (
    Values,
    bias_variance,
    chi,
    correlation,
    critical_weight_variance,
    fixed_point,
    weight_variance,
)
from normlab.networks import MLP, auto_rule, gain_of, moments


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

    Covered: no norm or weight norm, plain with any nonlinearity whose φ is known, residual with
    branches times a constant a, where δ² grows by 1 + a²σ_w²E[φ′²] a layer: pre-activation blocks
    with any nonlinearity, post-activation ones with one whose φ″ is odd (and where E[φ′²] is
    another in the next layer, by its share); and a norm of which a theorem gives the factor, as
    BatchNorm before a rectifier without skips, where δ² grows by π/(π−1) a layer (Yang et al. 2019,
    theorem 8, for large batches). Where φ′ depends on the size of z, the data set must say how many
    pixels it has and that their second moment is 1. Of parts whose plugin is not here nothing is
    known.
    """
    if not config.plugins_are_here:
        return None
    model, norm = config.model, config.norm
    hidden = model.depth - 1
    if not model.in_theory or hidden < 2 or not model.weights_are_drawn:
        return None
    if norm.normalizes:
        known = norm.gradient_factor(config)
        return None if known is None else Prediction(np.full(hidden - 1, known[0]), known[1])
    activation = ACTIVATIONS[model.activation]
    variance = weight_variance(config)
    if activation.phi is None or activation.slope is None or not variance > 0:
        return None
    branch = _branch(model)
    # Of post-activation blocks φ″ is odd, so that E[φ″] = 0. Otherwise a layer's weights and slopes
    # are correlated, E[Wᵢⱼφ′(zᵢ)] = E[hⱼ]σ_w²E[φ″]/N, and the gradient outgrows 1 + σ_w²E[φ′²] a
    # layer: a ReLU network of 24 layers of 512 was measured at 1.53 for δ, where that gives √2.
    if branch is None or (model.residual and not branch.pre and not activation.odd_curvature):
        return None
    slopes = _slopes(config, variance, branch)
    if slopes is None:
        return None
    factors = [
        math.sqrt(branch.growth(layer, slope, following, variance))
        for layer, (slope, following) in enumerate(itertools.pairwise(slopes))
    ]
    return Prediction(np.array(factors), "mean field, Schoenholz et al. 2017")


def adds_branches_as_they_are(model: Model) -> bool:
    """Whether an MLP has no skips, or adds φ of a layer to them as it is."""
    branch = _branch(model)
    return branch is not None and not branch.pre and branch.a == 1


@dataclass(frozen=True)
class _Branch:
    """How layers behind the first hidden one, layer 0, join the stream h, if they do.

    Post-activation hˡ = hˡ⁻¹ + a·φ(zˡ), zˡ = Wˡhˡ⁻¹; pre-activation hˡ = hˡ⁻¹ + a·zˡ,
    zˡ = Wˡφ(hˡ⁻¹), and h⁰ = z⁰. Without skips zˡ = Wˡφ(zˡ⁻¹).
    """

    residual: bool
    pre: bool
    a: float

    def growth(self, layer: int, slope: float, following: float, variance: float) -> float:
        """δ² of a layer over that of the next, by E[φ′²] at both and σ_w²."""
        if not self.residual:
            return slope * variance
        own = self.a if layer else 1.0
        if self.pre:  # δˡ = a·∂L/∂hˡ, and ∂L/∂hˡ⁻¹ = ∂L/∂hˡ + φ′(hˡ⁻¹)Wᵀδˡ
            return own**2 * (1 / self.a**2 + variance * slope)
        # δˡ = a·φ′(zˡ)·∂L/∂hˡ, and ∂L/∂hˡ = ∂L/∂hˡ⁺¹ + Wᵀδˡ⁺¹
        return own**2 * slope * (variance + 1 / (self.a**2 * following))


def _branch(model: Model) -> _Branch | None:
    """How a model's layers join their stream; None where its branches begin as 0, or are more than
    a·f(h)."""
    if not model.residual:
        return _Branch(residual=False, pre=False, a=1.0)
    if not isinstance(model, MLP):  # of a part from outside, which says that it is as in theory
        return _Branch(residual=True, pre=False, a=1.0)
    a = model.branches.factor(model) if model.branches.only_multiplies else 0.0
    return _Branch(residual=True, pre=model.block == "pre", a=a) if a else None


def _slopes(config: Config, variance: float, branch: _Branch) -> list[float] | None:
    """E[φ′²] of every hidden layer's output or, in pre-activation blocks, of the stream behind it.

    None where it is not known how large that is, or where it dies out or outgrows every number.
    """
    model = config.model
    hidden = model.depth - 1
    if ACTIVATIONS[model.activation].homogeneous:
        # φ′ is the same for z of every size.
        return [moments(model.activation, 1.0)[2]] * hidden
    pixels, second = config.data.pixels, config.data.second_moment
    if pixels is None or second is None:
        return None
    biases = bias_variance(config)
    q = weight_variance(config, pixels) * second + bias_variance(config, pixels)
    # E[h] and E[h²] of a layer's activation.
    first, second = 0.0, 0.0
    slopes = []
    for layer in range(hidden):
        if not 1e-30 < q < 1e30:
            return None
        average, square, slope = moments(model.activation, q)
        slopes.append(slope)
        if branch.pre:
            q += branch.a**2 * (variance * square + biases)
            continue
        if branch.residual and layer:
            # z is as likely to be −z, whatever h is: E[hφ(z)] = E[h]E[φ].
            second += branch.a**2 * square + 2 * branch.a * first * average
            first += branch.a * average
        else:
            first, second = average, square
        q = variance * second + biases
    return slopes


@dataclass(frozen=True, kw_only=True)
class MeanField:
    """The phase of a wide MLP without norm and skips at initialization, and its figures."""

    activation: str
    weight_variance: float  # σ_w², fan-in times the variance of weights
    bias_variance: float  # σ_b²
    q: float  # q*, the variance of z that depth leads standardized inputs to
    chi_1: float  # χ₁, a layer's factor of the squared gradient
    phase: Literal["ordered", "critical", "chaotic"]
    gradient_depth: float  # 1/|ln χ₁|, in layers
    correlation: float | None  # c*, which two inputs end with; None where layers keep any
    correlation_depth: float  # in layers
    critical_weight_variance: float  # where χ₁ = 1 for these biases; NaN where it never is
    chi_1_below_critical: float | None = None  # where χ₁ jumps there
    chi_1_above_critical: float | None = None
    factor: float | None  # of δ from layer to layer in this network; None where it is not known
    ratio: float | None  # of δ, first to last hidden layer
    depth: int
    residual: bool
    auto_gain: float | None = None  # what model.init_gain=auto stands for; None where it is given
    auto_rule: str | None = None  # by which rule

    def to_plain(self) -> dict[str, Any]:
        """The same as a mapping, without χ₁ on both sides of the critical line where it is 1 and
        without a gain that is given."""
        plain = dataclasses.asdict(self)
        if self.chi_1_below_critical is None:
            del plain["chi_1_below_critical"], plain["chi_1_above_critical"]
        if self.auto_gain is None:
            del plain["auto_gain"], plain["auto_rule"]
        return plain


def overview(config: Config) -> MeanField:
    """The phase of a plain MLP without norm, and its figures.

    Raises ConfigError where φ or σ_w² are not known.
    """
    model = config.model
    if not model.weights_are_drawn:
        raise ConfigError(
            "model.weight_standardization: theory here is of weights that are drawn independently; "
            "use none"
        )
    variance, biases = weight_variance(config), bias_variance(config)
    if math.isnan(variance):
        raise ConfigError(
            f"model.init={model.init}: the variance of its weights is not known, so that theory "
            "predicts nothing of it"
        )
    q = fixed_point(model.activation, variance, biases)
    chi_1 = chi(model.activation, q, variance)
    auto = model.init_gain == "auto"
    distance = abs(math.log(chi_1)) if chi_1 > 0 else math.inf
    alike, approach = correlation(model.activation, q, variance, biases)
    prediction = predict(config)
    return MeanField(
        activation=model.activation,
        weight_variance=variance,
        bias_variance=biases,
        q=q,
        chi_1=chi_1,
        phase="critical" if distance < 1e-3 else "ordered" if chi_1 < 1 else "chaotic",
        gradient_depth=_depth_scale(chi_1),
        correlation=alike,
        correlation_depth=_depth_scale(approach),
        **_critical(model.activation, biases),
        factor=prediction.factor if prediction else None,
        ratio=float(np.prod(prediction.factors)) if prediction else None,
        depth=model.depth,
        residual=model.residual,
        auto_gain=gain_of(model) if auto else None,
        auto_rule=auto_rule(model.activation) if auto else None,
    )


def _depth_scale(factor: float) -> float:
    """1/|ln factor|: the layers over which it makes e; ∞ where it is 1, 0 where it is 0."""
    distance = abs(math.log(factor)) if factor > 0 else math.inf
    return 1 / distance if distance > 1e-6 else math.inf


def _critical(activation: str, biases: float) -> dict[str, float]:
    """The critical σ_w² and, where χ₁ jumps there, χ₁ just below and just above it."""
    variance = critical_weight_variance(activation, biases)
    found = {"critical_weight_variance": variance}
    if not math.isnan(variance):
        below, above = (
            chi(activation, fixed_point(activation, variance * side, biases), variance * side)
            for side in (1 - 1e-6, 1 + 1e-6)
        )
        if above - below > 0.01:
            found |= {"chi_1_below_critical": below, "chi_1_above_critical": above}
    return found
