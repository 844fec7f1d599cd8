"""Networks: each its settings, its name, its shapes, and how it is built."""

import math
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from normlab.config import MODELS, Config, Model

if TYPE_CHECKING:
    from torch import nn

CNN_STAGES = 3


@MODELS.register("mlp")
class MLP(Model):
    """A deep multilayer perceptron; depth counts its linear layers, the output one too."""

    spatial = False
    in_theory = True

    @property
    def family(self) -> str:
        return "residual MLP" if self.residual else "MLP"

    def build(self, config: Config, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        from normlab.networks.mlp import MLPNetwork

        return MLPNetwork(config, math.prod(shape), classes)


@MODELS.register("cnn")
class CNN(Model):
    """He et al.'s CIFAR-10 network of 6n+2 weight layers; with `residual`, their ResNet."""

    shortcut: Literal["A", "B"]
    block: Literal["post", "pre"]

    spatial = True

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        if self.depth < 8 or (self.depth - 2) % 6:
            valid = sorted(range(8, 1001, 6), key=lambda depth: abs(depth - self.depth))
            one, two = sorted(valid[:2])
            raise ValueError(
                f"model.depth={self.depth}: a CNN's depth is 6n+2; nearest are {one} and {two}"
            )
        return self

    @property
    def family(self) -> str:
        return "ResNet" if self.residual else "CNN"

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.width * 2**stage for stage in range(CNN_STAGES))

    def feature_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        sizes = [(height, width)]
        for _ in range(CNN_STAGES - 1):  # each later stage has a stride of 2, rounded up
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes

    def build(self, config: Config, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        from normlab.networks.convnet import ConvNet

        return ConvNet(config, shape, classes)
