"""Weight initialization schemes, each with its paper."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from normlab.config import INITIALIZERS, Initializer, Model

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    # The standard deviation of a weight by its layer's fan-in and fan-out.
    Deviation = Callable[[int, int], float]


def initialize(layer: "nn.Linear | nn.Conv2d", model: Model, generator: "torch.Generator") -> None:
    """Fill a layer in place: its weight by `model.init` times init_gain, its biases with
    N(0, bias_std²)."""
    import torch

    with torch.no_grad():
        scheme = INITIALIZERS[model.init]
        scheme.fill(layer.weight, model.init_gain, model.init_std, generator)
        if layer.bias is not None:
            if model.bias_std:
                layer.bias.normal_(0, model.bias_std, generator=generator)
            else:
                layer.bias.zero_()


def fans(weight: "Tensor") -> tuple[int, int]:
    """Fan-in and fan-out of a weight [n_out, n_in, …]: units × kernel positions."""
    positions = weight[0, 0].numel()
    return weight.shape[1] * positions, weight.shape[0] * positions


def he(fan_in: int, _fan_out: int) -> float:
    """√(2/fan_in)."""
    return math.sqrt(2 / fan_in)


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


def _normal(weight: "Tensor", gain: float, std: float | None, generator: "torch.Generator") -> None:
    """N(0, (gain·std)²)."""
    assert std is not None  # Config refuses it
    weight.normal_(0, gain * std, generator=generator)


def _normal_variance(fan_in: int, _fan_out: int, gain: float, std: float | None) -> float:
    assert std is not None  # Config refuses it
    return fan_in * (std * gain) ** 2


# Keeps the variance of activations through rectifiers.
_add_scheme("he", he, "He et al. 2015")
# Between keeping activations and keeping gradients, for linear units.
_add_scheme("xavier", xavier, "Glorot & Bengio 2010")
# Keeps the variance of activations through linear units.
_add_scheme("lecun", lecun, "LeCun et al. 1998")
INITIALIZERS.add("orthogonal", Initializer(_orthogonal, "Saxe et al. 2014", _orthogonal_variance))
INITIALIZERS.add("normal", Initializer(_normal, "–", _normal_variance, takes_std=True))
