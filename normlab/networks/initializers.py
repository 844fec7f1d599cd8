"""Weight initialization schemes, each with its paper."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from normlab.config import ACTIVATIONS, INITIALIZERS, Initializer, Model
from normlab.networks.moments import functions, moments

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    # The standard deviation of a weight by its layer's fan-in and fan-out.
    Deviation = Callable[[int, int], float]


def initialize(layer: "nn.Linear | nn.Conv2d", model: Model, generator: "torch.Generator") -> None:
    """Fill a layer in place: its weight by `model.init` times init_gain, its biases with
    N(0, bias_std²) or as the scheme has them."""
    import torch

    with torch.no_grad():
        scheme = INITIALIZERS[model.init]
        scheme.fill(layer.weight, gain_of(model), model.init_std, generator)
        if layer.bias is not None:
            if scheme.bias_bound is not None:
                bound = scheme.bias_bound(fans(layer.weight)[0])
                layer.bias.uniform_(-bound, bound, generator=generator)
            elif model.bias_std:
                layer.bias.normal_(0, model.bias_std, generator=generator)
            else:
                layer.bias.zero_()


def gain_of(model: Model) -> float:
    """What a scheme's standard deviation is multiplied by: model.init_gain, or what `auto` is.

    That is the gain with which mean-field theory has a variance of z of 1 stay 1 from layer to
    layer, σ_w² = 1/E[φ(u)²] with u ~ N(0, 1): He et al.'s (2015) 2 of a rectifier, Klambauer et
    al.'s (2017) 1 of SELU. Of a nonlinearity that is 0 at 0 and saturates it is the gain of the
    critical line without biases, χ₁ = 1 at σ_w² = 1/φ′(0)² (Schoenholz et al. 2017).
    """
    return model.init_gain if isinstance(model.init_gain, float) else _auto_gain(model)


def auto_rule(activation: str) -> str:
    """What the gain that `auto` stands for does, in words."""
    return "χ₁ = 1" if _is_critical_at_0(activation) else "keeps the forward variance"


def _auto_gain(model: Model) -> float:
    _, slope = functions(model.activation)
    if _is_critical_at_0(model.activation):
        wanted = 1 / float(slope(np.zeros(1))[0]) ** 2
    else:
        wanted = 1 / moments(model.activation, 1.0)[1]
    variance = INITIALIZERS[model.init].variance
    assert variance is not None  # Config refuses it
    return math.sqrt(wanted / variance(model.width, model.width, 1.0, None))


def _is_critical_at_0(activation: str) -> bool:
    phi, _ = functions(activation)
    return ACTIVATIONS[activation].saturates and not np.any(phi(np.zeros(1)))


def fans(weight: "Tensor") -> tuple[int, int]:
    """Fan-in and fan-out of a weight [n_out, n_in, …]: units × kernel positions."""
    positions = weight[0, 0].numel()
    return weight.shape[1] * positions, weight.shape[0] * positions


def he(fan_in: int, _fan_out: int) -> float:
    """√(2/fan_in)."""
    return math.sqrt(2 / fan_in)


def he_out(_fan_in: int, fan_out: int) -> float:
    """√(2/fan_out)."""
    return math.sqrt(2 / fan_out)


def xavier(fan_in: int, fan_out: int) -> float:
    """√(2/(fan_in + fan_out))."""
    return math.sqrt(2 / (fan_in + fan_out))


def lecun(fan_in: int, _fan_out: int) -> float:
    """√(1/fan_in)."""
    return math.sqrt(1 / fan_in)


def _add_scheme(name: str, deviation: "Deviation", source: str) -> None:
    """Enter a scheme as N(0, σ²) and as U[−√3 σ, √3 σ], which has the same variance."""

    def normal(
        weight: "Tensor", gain: float, _std: float | None, generator: "torch.Generator"
    ) -> None:
        weight.normal_(0, gain * deviation(*fans(weight)), generator=generator)

    def uniform(
        weight: "Tensor", gain: float, _std: float | None, generator: "torch.Generator"
    ) -> None:
        bound = math.sqrt(3) * (gain * deviation(*fans(weight)))
        weight.uniform_(-bound, bound, generator=generator)

    def variance(fan_in: int, fan_out: int, gain: float, _std: float | None) -> float:
        return fan_in * (gain * deviation(fan_in, fan_out)) ** 2

    for form, fill in (("normal", normal), ("uniform", uniform)):
        INITIALIZERS.add(f"{name}_{form}", Initializer(fill, source, variance))


def _orthogonal(
    weight: "Tensor", gain: float, _std: float | None, generator: "torch.Generator"
) -> None:
    """Rows or columns orthonormal."""
    from torch import nn

    nn.init.orthogonal_(weight, gain, generator=generator)


def _orthogonal_variance(fan_in: int, fan_out: int, gain: float, _std: float | None) -> float:
    # The longer of rows and columns have length 1.
    return gain**2 * min(1.0, fan_in / fan_out)


def _delta_orthogonal(
    weight: "Tensor", gain: float, _std: float | None, generator: "torch.Generator"
) -> None:
    """A kernel's middle orthogonal, all else 0: a convolution that keeps norms at any depth."""
    from torch import nn

    middle = _middle(weight)
    weight.zero_()
    nn.init.orthogonal_(middle, gain, generator=generator)


def _dirac(
    weight: "Tensor", gain: float, _std: float | None, _generator: "torch.Generator"
) -> None:
    """The identity, as far as there are as many units as inputs; others are 0."""
    from torch import nn

    weight.zero_()
    nn.init.eye_(_middle(weight)).mul_(gain)


def _middle(weight: "Tensor") -> "Tensor":
    """A view of a weight [n_out, n_in, …] at its kernel's middle: [n_out, n_in]."""
    for size in weight.shape[2:]:
        weight = weight.select(2, size // 2)
    return weight


def _pytorch(
    weight: "Tensor", gain: float, _std: float | None, generator: "torch.Generator"
) -> None:
    """U[−g/√fan_in, g/√fan_in]."""
    bound = gain * _pytorch_bound(fans(weight)[0])
    weight.uniform_(-bound, bound, generator=generator)


def _pytorch_bound(fan_in: int) -> float:
    return 1 / math.sqrt(fan_in)


def _normal(weight: "Tensor", gain: float, std: float | None, generator: "torch.Generator") -> None:
    """N(0, (gain·std)²)."""
    assert std is not None  # Config refuses it
    weight.normal_(0, gain * std, generator=generator)


def _normal_variance(fan_in: int, _fan_out: int, gain: float, std: float | None) -> float:
    assert std is not None  # Config refuses it
    return fan_in * (std * gain) ** 2


# Keeps the variance of activations through rectifiers.
_add_scheme("he", he, "He et al. 2015")
# Keeps the variance of gradients through rectifiers.
_add_scheme("he_out", he_out, "He et al. 2015")
# Between keeping activations and keeping gradients, for linear units.
_add_scheme("xavier", xavier, "Glorot & Bengio 2010")
# Keeps the variance of activations through linear units.
_add_scheme("lecun", lecun, "LeCun et al. 1998")
INITIALIZERS.add("orthogonal", Initializer(_orthogonal, "Saxe et al. 2014", _orthogonal_variance))
INITIALIZERS.add(
    "delta_orthogonal", Initializer(_delta_orthogonal, "Xiao et al. 2018", _orthogonal_variance)
)
# Not drawn at all, so that mean-field theory is not of it.
INITIALIZERS.add("dirac", Initializer(_dirac, "Zagoruyko & Komodakis 2017", leaves_zeros=True))
# What PyTorch's own Linear and Conv2d begin with, biases too.
INITIALIZERS.add(
    "pytorch",
    Initializer(
        _pytorch,
        "PyTorch",
        lambda _fan_in, _fan_out, gain, _std: gain**2 / 3,
        bias_bound=_pytorch_bound,
    ),
)
INITIALIZERS.add("normal", Initializer(_normal, "–", _normal_variance, takes_std=True))
