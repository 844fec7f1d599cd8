"""Networks: each its settings, its name, its shapes, and how it is built."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from normlab.config import MODELS, Config, Count, DataSet, Model, Norm, OneOf, Positive
from normlab.errors import ConfigError
from normlab.networks.branches import BRANCH_SCALES, BranchScale
from normlab.text import plural

if TYPE_CHECKING:
    import torch
    from torch import nn

CNN_STAGES = 3


class FeedForward(Model):
    """A network whose layers stand in a row, with skips around blocks of them or without."""

    block: Literal["post", "pre"]
    branch_scale: Annotated[str, OneOf(BRANCH_SCALES)]
    branch_alpha: Positive
    weight_standardization: Literal["none", "plain", "scaled"]

    @model_validator(mode="after")
    def _check_branches(self) -> Self:
        if self.branch_scale != "one" and not self.residual:
            raise ValueError(
                f"model.branch_scale={self.branch_scale}: scales the branches beside skips, and "
                "there are none; add model.residual=true"
            )
        return self

    @property
    def blocks(self) -> int:
        """L, the number of blocks around which a skip leads where the network is residual."""
        raise NotImplementedError

    @property
    def branches(self) -> BranchScale:
        """How blocks join their branches to their skips."""
        return BRANCH_SCALES[self.branch_scale]

    def behind_last_norm(self, norm: Norm) -> Literal["nothing", "nonlinearity", "layer", "skip"]:
        """What follows on the last norm of a block's branch, up to the sum."""
        if self.block == "pre":
            return "nonlinearity" if norm.before_activation else "layer"
        raise NotImplementedError

    @property
    def weights_are_drawn(self) -> bool:
        return self.weight_standardization == "none"

    @property
    def family(self) -> str:
        """Such as `SkipInit ResNet`."""
        way = BRANCH_SCALES.get(self.branch_scale) if self.residual else None
        adjective = way.adjective if way else ""
        return f"{adjective} {self.kind}" if adjective else self.kind

    @property
    def kind(self) -> str:
        """What it is called without saying how its branches are scaled."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        standardized = {"none": "", "plain": " ws", "scaled": " scaled-ws"}
        return super().title + standardized[self.weight_standardization]

    def check(self, config: Config) -> None:
        self.branches.check(config, self)
        if self.weight_standardization == "none":
            return
        if self.init_gain == "auto":
            raise ValueError(
                "model.init_gain=auto: weight standardization divides a gain out; "
                "use model.init_gain=1.0"
            )
        named = f"model.weight_standardization={self.weight_standardization}"
        if config.norm.of_weights:
            raise ValueError(
                f"{named}: norm={config.norm.name} gives weights another form already; "
                "use norm=none, or leave it out"
            )
        if self.weight_standardization == "plain" and not config.norm.normalizes:
            raise ValueError(
                f"{named}: weights of variance 1 make every layer's output √fan_in times as large, "
                "which asks for a norm; use norm=gn, or model.weight_standardization=scaled"
            )

    def build_shift(self) -> "nn.Module | None":
        return self.branches.shift()

    @property
    def excludes_norms(self) -> bool:
        return self.branches.excludes_norms

    @property
    def is_silent_at_start(self) -> bool:
        return self.residual and self.branches.is_silent_at_start

    def rate_shares(self, network: "nn.Module") -> "dict[nn.Parameter, float]":
        return self.branches.rate_shares(network) if self.residual else {}

    def reparametrize(self, network: "nn.Module") -> None:
        if self.weight_standardization != "none":
            from normlab.networks.standardization import standardize

            standardize(network, self)

    def initialize_beside_layers(self, network: "nn.Module", generator: "torch.Generator") -> None:  # noqa: ARG002
        if self.residual:
            self.branches.initialize(network)


@MODELS.register("mlp")
class MLP(FeedForward):
    """A deep multilayer perceptron; depth counts its linear layers, the output one too."""

    spatial = False
    in_theory = True

    @property
    def kind(self) -> str:
        return "residual MLP" if self.residual else "MLP"

    @property
    def blocks(self) -> int:
        return max(0, self.depth - 2)

    def behind_last_norm(self, norm: Norm) -> Literal["nothing", "nonlinearity", "layer", "skip"]:
        if self.block == "pre":
            return super().behind_last_norm(norm)
        return "nonlinearity" if norm.before_activation else "nothing"

    def build(self, config: Config, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        from normlab.networks.mlp import MLPNetwork

        return MLPNetwork(config, math.prod(shape), classes)


@MODELS.register("cnn")
class CNN(FeedForward):
    """He et al.'s CIFAR-10 network of 6n+2 weight layers; with `residual`, their ResNet."""

    shortcut: Literal["A", "B"]

    spatial = True
    channels_last = True

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        if self.depth < 8 or (self.depth - 2) % 6:
            one = max(8, self.depth - (self.depth - 2) % 6)
            two = one + 6
            raise ValueError(
                f"model.depth={self.depth}: a CNN's depth is 6n+2; nearest are {one} and {two}"
            )
        return self

    @property
    def kind(self) -> str:
        return "ResNet" if self.residual else "CNN"

    @property
    def blocks(self) -> int:
        return (self.depth - 2) // 2

    def behind_last_norm(self, norm: Norm) -> Literal["nothing", "nonlinearity", "layer", "skip"]:
        if self.block == "pre":
            return super().behind_last_norm(norm)
        return "nothing" if norm.before_activation else "skip"

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


@MODELS.register("encoder")
class Encoder(Model):
    """A Transformer encoder over an image's tokens; depth counts its blocks."""

    heads: Count
    feed_forward: Count
    placement: Literal["post", "pre", "peri", "deepnorm", "none"]
    qk_norm: bool
    attention_scale: Literal["sqrt", "none"]
    patch: Count | None
    positions: Literal["learned", "none"]

    spatial = False
    of_tokens = True
    takes_padding = True
    # Of a key of another model's what does the same here.
    instead: ClassVar[dict[str, str]] = {
        "block": "its norms stand where model.placement says",
        "branch_scale": "model.placement=deepnorm scales its skips",
    }
    # What a network is called whose norms stand there.
    placed: ClassVar[dict[str, str]] = {
        "post": "post-norm encoder",
        "pre": "pre-norm encoder",
        "peri": "peri-norm encoder",
        "deepnorm": "DeepNorm encoder",
        "none": "encoder",
    }

    @model_validator(mode="after")
    def _check_blocks(self) -> Self:
        if self.width % self.heads:
            fitting = [n for n in range(1, self.width + 1) if self.width % n == 0]
            below = max(n for n in fitting if n < self.heads)
            above = [min(n for n in fitting if n > self.heads)] if self.heads < self.width else []
            raise ValueError(
                f"model.heads={self.heads}: must divide model.width={self.width}; "
                f"use {' or '.join(map(str, (below, *above)))}"
            )
        if self.placement == "deepnorm" and not self.residual:
            raise ValueError(
                "model.residual=false: model.placement=deepnorm scales the skips; "
                "use model.residual=true, or model.placement=post"
            )
        return self

    @property
    def family(self) -> str:
        plain = "" if self.residual else "plain "
        return f"{plain}{self.placed[self.placement]}"

    @property
    def hidden_layers(self) -> int:
        # The embedding; of each block value, attention output and the two of feed-forward.
        return 1 + 4 * self.depth

    @property
    def uses_norm(self) -> bool:
        return self.placement != "none"

    @property
    def block_numbers(self) -> range:
        """Its blocks, from 1 at the input."""
        return range(1, self.depth + 1)

    @property
    def skip_scale(self) -> float:
        """What a skip is multiplied by: 0 without, 1, or DeepNorm's α = (2L)^¼ of L blocks."""
        if self.placement == "deepnorm":
            return float((2 * self.depth) ** 0.25)
        return float(self.residual)

    @property
    def branch_gain(self) -> float:
        """What the weights of values, attention outputs and feed-forward layers are multiplied by
        at initialization: DeepNorm's β = (8L)^−¼ of L blocks, else 1."""
        return float((8 * self.depth) ** -0.25) if self.placement == "deepnorm" else 1.0

    def check(self, config: Config) -> None:
        if not config.norm.before_activation:
            raise ValueError(
                "norm.position=after: an encoder's norms stand where model.placement says; "
                "leave norm.position out"
            )
        shape = config.data.image_shape
        if shape is not None and (fault := self._fault_of_patch(config.data, *shape[1:])):
            raise ValueError(fault)

    def patch_shape(self, data: DataSet, height: int, width: int) -> tuple[int, int]:
        """A token's height and width; raises ConfigError where patches do not fill an image, or a
        padded one may be without any."""
        if fault := self._fault_of_patch(data, height, width):
            raise ConfigError(fault)
        return (1, width) if self.patch is None else (self.patch, self.patch)

    def _fault_of_patch(self, data: DataSet, height: int, width: int) -> str:
        if self.patch is None:
            return ""
        if not (height % self.patch or width % self.patch):
            rows = data.least_rows(height)
            if rows >= self.patch:
                return ""
            most = math.floor(1000 * (1 - self.patch / height)) / 1000
            fix = f"use at most data.padding={most:g}" if most else "use data.padding=0"
            return (
                f"model.patch={self.patch}: data.padding leaves {plural(rows, 'row')} of some "
                f"samples, less than a patch; {fix}, or a smaller patch"
            )
        common = math.gcd(height, width)
        fitting = [str(n) for n in range(1, common + 1) if common % n == 0]
        return (
            f"model.patch={self.patch}: must divide the images' height and width, "
            f"{height}×{width}; use {', '.join(fitting)}, or null for their rows"
        )

    def feature_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        if self.patch is None:
            return [(height, 1)]
        return [(height // self.patch, width // self.patch)]

    def build(self, config: Config, shape: tuple[int, int, int], classes: int) -> "nn.Module":
        from normlab.networks.encoder import EncoderNetwork

        return EncoderNetwork(config, shape, classes)

    def initialize_beside_layers(self, network: "nn.Module", generator: "torch.Generator") -> None:
        from normlab.networks.encoder import EncoderNetwork

        assert isinstance(network, EncoderNetwork)
        network.initialize_beside_layers(self.branch_gain, generator)
