"""Weight initialization schemes, each with its paper."""

import math

import torch
from torch import Tensor, nn

# Standard deviation of a weight by its layer's fan-in and fan-out (units × kernel positions).
STANDARD_DEVIATIONS = {
    # He et al. 2015: keeps the variance of activations through rectifiers.
    "he": lambda fan_in, fan_out: math.sqrt(2 / fan_in),  # noqa: ARG005
    # Glorot & Bengio 2010: between keeping activations and keeping gradients, for linear units.
    "xavier": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    # LeCun et al. 1998: keeps the variance of activations through linear units.
    "lecun": lambda fan_in, fan_out: math.sqrt(1 / fan_in),  # noqa: ARG005
}


def initialize(
    layer: nn.Linear | nn.Conv2d,
    scheme: str,
    *,
    gain: float,
    std: float | None,
    bias_std: float,
    generator: torch.Generator,
) -> None:
    """Fill a layer's weight and bias in place; W has shape [n_out, n_in] or [n_out, n_in, k, k].

    - he_normal, xavier_normal, lecun_normal: N(0, σ²) with σ from `STANDARD_DEVIATIONS`
    - he_uniform, xavier_uniform, lecun_uniform: U[−√3 σ, √3 σ], the same variance
    - orthogonal: rows or columns orthonormal (Saxe et al. 2014)
    - normal: N(0, std²)

    `gain` multiplies all of them; biases are N(0, bias_std²).
    """
    weight = layer.weight
    with torch.no_grad():
        if scheme == "orthogonal":
            nn.init.orthogonal_(weight, gain, generator=generator)
        else:
            sigma = gain * standard_deviation(weight, scheme, std)
            if scheme.endswith("_uniform"):
                bound = math.sqrt(3) * sigma
                weight.uniform_(-bound, bound, generator=generator)
            else:
                weight.normal_(0, sigma, generator=generator)
        if layer.bias is not None:
            if bias_std:
                layer.bias.normal_(0, bias_std, generator=generator)
            else:
                layer.bias.zero_()


def standard_deviation(weight: Tensor, scheme: str, std: float | None) -> float:
    """The standard deviation that a scheme gives a weight of this shape, before its gain."""
    if scheme == "normal":
        assert std is not None  # Config refuses it
        return std
    positions = weight[0, 0].numel()
    fan_in, fan_out = weight.shape[1] * positions, weight.shape[0] * positions
    return STANDARD_DEVIATIONS[scheme.split("_")[0]](fan_in, fan_out)
