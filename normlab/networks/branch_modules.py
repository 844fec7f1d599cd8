"""Modules on the way of a residual branch, and what is done to branches at initialization."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator


class Multiplied(nn.Module):
    """c·x with a constant c."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def extra_repr(self) -> str:
        return f"{self.factor:.4g}"


class LearnedScalar(nn.Module):
    """a·x with one learned number a."""

    def __init__(self, start: float):
        super().__init__()
        self.scalar = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        return self.scalar * x


class ScalarBias(nn.Module):
    """x + b with one learned number b, 0 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.scalar = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scalar


class ResidualBlock(nn.Module):
    """A block whose branch f stands beside a skip if `residual`.

    Its modules `into` and `out_of` are what the stream goes through on its way into the branch, and
    the branch's output on its way to the sum.
    """

    residual: bool

    @property
    def branch_layers(self) -> "list[nn.Linear | nn.Conv2d]":
        """The layers of its branch, in order."""
        raise NotImplementedError

    @property
    def last_norm(self) -> nn.Module:
        """The last norm of its branch."""
        raise NotImplementedError


def residual_blocks(network: nn.Module) -> "Iterator[ResidualBlock]":
    """A network's blocks with skips, from the input."""
    blocks = (module for module in network.modules() if isinstance(module, ResidualBlock))
    return (block for block in blocks if block.residual)


def scale(layer: "nn.Linear | nn.Conv2d", factor: float) -> None:
    """Multiply a layer's weight by a number."""
    with torch.no_grad():
        layer.weight.mul_(factor)


def silence(layer: "nn.Linear | nn.Conv2d") -> None:
    """Set a layer's weight and biases to 0."""
    scale(layer, 0.0)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def begin_at_zero(norm: nn.Module) -> None:
    """Set a norm's γ to 0."""
    for name, parameter in norm.named_parameters():
        if name.rpartition(".")[2] == "weight":
            nn.init.zeros_(parameter)
