"""Weight standardization: a layer's weight as rows of mean 0 and equal variance."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normlab.errors import ConfigError
from normlab.networks.blocks import PreActivationBlock
from normlab.networks.moments import moments

if TYPE_CHECKING:
    from normlab.networks.models import FeedForward

# Of Qiao et al.'s own code.
PLAIN_EPS = 1e-5
# Of Brock et al.'s own code: the least of N times a row's variance.
SCALED_LEAST = 1e-4


class PlainStandardization(nn.Module):
    """Ŵᵢ = (Wᵢ − μᵢ)/√(σᵢ² + ε) with mean and variance of a unit's N weights (Qiao et al. 2019).

    Shapes [n_out, n_in, …]; ε = 1e-5. The variance of a weight is 1, whatever N is.
    """

    def forward(self, weight: Tensor) -> Tensor:
        variance, mean = torch.var_mean(weight.flatten(1), dim=1, correction=0)
        scale = torch.rsqrt(variance + PLAIN_EPS)
        return (weight - _to_units(mean, weight)) * _to_units(scale, weight)


class ScaledStandardization(nn.Module):
    """Ŵᵢ = gᵢ·γ·(Wᵢ − μᵢ)/√(N·σᵢ²), mean and variance of a unit's N weights (Brock et al. 2021a).

    γ = 1/√Var φ(u), u ~ N(0, 1), of the nonlinearity φ before the layer, 1 where there is none, so
    that a variance of 1 stays 1; gᵢ is learned, 1 at the start. Shapes [n_out, n_in, …].
    """

    def __init__(self, units: int, gamma: float):
        super().__init__()
        self.gamma = gamma
        self.gain = nn.Parameter(torch.ones(units))

    def forward(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(1)
        variance, mean = torch.var_mean(rows, dim=1, correction=0)
        scale = self.gain * self.gamma * torch.rsqrt((rows.shape[1] * variance).clamp(SCALED_LEAST))
        return (weight - _to_units(mean, weight)) * _to_units(scale, weight)


def _to_units(x: Tensor, weight: Tensor) -> Tensor:
    return x.view(-1, *[1] * (weight.ndim - 1))


def activation_gamma(activation: str) -> float:
    """γ = 1/√Var φ(u), u ~ N(0, 1): √2/√(1 − 1/π) of a rectifier (Brock et al. 2021a, section 3).

    Raises ConfigError where φ is not known on arrays.
    """
    mean, square, _ = moments(activation, 1.0)
    return float((square - mean**2) ** -0.5)


def standardize(network: nn.Module, model: "FeedForward") -> None:
    """Standardize the weights of a network's layers, shortcuts too, but for the output layer.

    γ is 1 of a layer that no nonlinearity stands before: the first one, which reads the data, and
    a shortcut that reads the stream of a pre-activation network.

    Raises ConfigError where a unit has one weight alone, which has no variance.
    """
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    *layers, _output = layers
    linear = {layers[0], *_shortcuts_of_streams(network)} if layers else set()
    for layer in layers:
        if layer.weight[0].numel() == 1:
            raise ConfigError(
                f"model.weight_standardization={model.weight_standardization}: a layer has one "
                "weight a unit, which has no variance; use a larger model.width, or none"
            )
        if model.weight_standardization == "plain":
            made: nn.Module = PlainStandardization()
        else:
            gamma = 1.0 if layer in linear else activation_gamma(model.activation)
            made = ScaledStandardization(len(layer.weight), gamma)
        parametrize.register_parametrization(layer, "weight", made)


def _shortcuts_of_streams(network: nn.Module) -> list[nn.Module]:
    """The shortcuts that take a stream to which branches were only added."""
    blocks = [m for m in network.modules() if isinstance(m, PreActivationBlock)]
    given = [None if block.shortcut_is_activated else block.shortcut for block in blocks]
    return [shortcut for shortcut in given if shortcut is not None]
