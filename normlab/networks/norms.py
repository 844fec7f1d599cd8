"""Normalizations: each its settings, its module, its colour, and what is known of it.

What shares one mean and variance; γ and β always belong to a channel:

- bn: a channel, over all samples and positions
- ln: a sample, over C, H and W
- ln_channels: a sample and a position, over C
- gn: a sample and a group of channels, over its C/groups, H and W
- in: a sample and a channel, over H and W
- rms: as ln, divided by the root mean square without subtracting the mean
- none, wn: no activation is normalized; wn reparametrizes the weights
- dyt: nothing, it squashes; γ and β as the others

Of an encoder's tokens, ln, gn, in and rms take each by itself, and bn takes all of a batch.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from normlab.config import (
    ACTIVATIONS,
    INITIALIZERS,
    NORMS,
    Config,
    Count,
    Fraction,
    NonNegative,
    Norm,
    Positive,
)
from normlab.errors import ConfigError
from normlab.networks.initializers import gain_of

if TYPE_CHECKING:
    from torch import nn

# Of so many samples δ² grows within 1 % as of infinitely many: by 1.465 a layer of 512 behind a
# rectifier at 128, 1.52 at 32, 1.79 at 8, where theory has 1.467.
LARGE_BATCH = 128
# Okabe & Ito's (2008) colours, which the colour-blind can tell apart.
BLACK, BLUE, ORANGE, SKY, PINK, GREEN, VERMILION = (
    *("#000000", "#0072B2", "#E69F00", "#56B4E9"),
    *("#CC79A7", "#009E73", "#D55E00"),
)
PLUM = "#882255"  # Tol's, too
OLIVE = "#999933"  # Tol's (2021), in the place of their yellow, which is pale on white


@NORMS.register("none")
class NoNorm(Norm):
    """No normalization."""

    label = "no norm"
    adjective: ClassVar[str | None] = "no-norm"
    colour = BLACK
    normalizes = False
    channels_last = True

    @property
    def phrase(self) -> str:
        return "without norm"

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":  # noqa: ARG002
        from torch import nn

        return nn.Identity()


@NORMS.register("wn")
class WeightNorm(NoNorm):
    """Weight normalization (Salimans & Kingma 2016): w = g·v/‖v‖ per output unit, with g = ‖v‖ at
    the start, so that initialization is as without."""

    label = "WeightNorm"
    adjective = None
    colour = VERMILION
    of_weights = True
    channels_last = False

    @property
    def phrase(self) -> str:
        return self.name

    def check(self, config: Config) -> None:
        model = config.model
        scheme = INITIALIZERS.get(model.init)
        if scheme is not None and scheme.leaves_zeros:
            raise ValueError(
                f"model.init={model.init}: leaves units with weights of 0 where layers widen, of "
                "which weight normalization has no direction; use another init, or another norm"
            )
        if model.init_gain == 0 or model.init_std == 0:
            zero = "model.init_gain" if model.init_gain == 0 else "model.init_std"
            raise ValueError(
                f"{zero}=0: weight normalization has no direction for a zero weight; "
                "use more than 0, or another norm"
            )

    def reparametrize(self, layer: "nn.Linear | nn.Conv2d") -> None:
        from torch.nn.utils.parametrizations import weight_norm

        weight_norm(layer)


class PlacedNorm(Norm):
    """What stands before or behind a nonlinearity."""

    position: Literal["before", "after"]
    affine: bool

    @property
    def before_activation(self) -> bool:
        return self.position == "before"

    @property
    def has_gamma(self) -> bool:
        return self.affine


class ActivationNorm(PlacedNorm):
    """What normalizations of activations by their statistics have in common."""

    eps: NonNegative


@NORMS.register("bn")
class BatchNorm(ActivationNorm):
    """Batch normalization (Ioffe & Szegedy 2015)."""

    eps: Positive  # PyTorch's own refuses 0
    momentum: Fraction
    noise: NonNegative
    masked: bool

    label = "BatchNorm"
    colour = BLUE
    over_batch = True
    channels_last = True

    @property
    def phrase(self) -> str:
        return self.name if self.masked else f"unmasked {self.name}"

    @property
    def sees_padding(self) -> bool:
        return not self.masked

    def check(self, config: Config) -> None:
        model = config.model
        if not (self.masked or model.takes_padding):
            raise ValueError(
                f"norm.masked=false: model={model.name} has no padding to mask; leave it out"
            )
        if not (model.spatial or model.of_tokens) and config.training.batch_size == 1:
            raise ValueError(
                "training.batch_size=1: BatchNorm has no variance over one sample; "
                "use at least 2, or norm=ln"
            )

    def check_images(self, config: Config, sizes: Sequence[tuple[int, int]]) -> None:
        if math.prod(sizes[-1]) == 1 and config.training.batch_size == 1:
            raise ConfigError(
                f"training.batch_size=1: {_images(sizes)} leave BatchNorm one value in the last "
                "stage, which has no variance; use at least 2, or norm=ln"
                if config.model.spatial
                else "training.batch_size=1: BatchNorm has no variance over one token; "
                "use at least 2, or norm=ln"
            )

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":
        from torch import nn

        from normlab.networks.norm_modules import UnsteadyNoise

        kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        module = kind(channels, self.eps, self.momentum, self.affine)
        return nn.Sequential(module, UnsteadyNoise(channels, self.noise)) if self.noise else module

    def build_masked(self, channels: int) -> "nn.Module | None":
        from normlab.networks.norm_modules import MaskedBatchNorm

        settings = self.eps, self.momentum, self.affine, self.noise
        return MaskedBatchNorm(channels, *settings) if self.masked else None

    def share_of_start(self, steps: int) -> float:
        share: float = (1 - self.momentum) ** steps
        return share

    def gradient_factor(self, config: Config) -> tuple[float, str] | None:
        """Known before a rectifier, without skips, of many samples, whose variance outweighs ε."""
        model, init = config.model, INITIALIZERS[config.model.init]
        growth = ACTIVATIONS[model.activation].batch_norm_growth
        # With affine parameters or without, γ and β are 1 and 0 at the start.
        if growth is None or model.residual or not self.before_activation or self.noise:
            return None
        samples = config.data.samples or config.probes.batch_size
        if min(samples, config.probes.batch_size) < LARGE_BATCH or init.variance is None:
            return None
        weights = init.variance(model.width, model.width, gain_of(model), model.init_std)
        if weights < 200 * self.eps:  # a unit behind a rectifier of N(0, 1) has E[h²] = ½
            return None
        return math.sqrt(growth), "Yang et al. 2019"


class SampleNorm(ActivationNorm):
    """Statistics within one sample, over groups of channels."""

    @property
    def group_count(self) -> int:
        """The groups of a sample's channels that have a mean and variance each."""
        return 1

    def check(self, config: Config) -> None:
        model = config.model
        if not model.spatial and model.width == self.group_count:
            raise ValueError(
                f"model.width={model.width}: norm={self.name} has no variance over one value; "
                f"use more than {self.group_count}, or another norm"
            )

    def check_images(self, config: Config, sizes: Sequence[tuple[int, int]]) -> None:
        model = config.model
        if model.spatial and sizes[0] == (1, 1) and model.width == self.group_count:
            raise ConfigError(
                f"norm={self.name}: {_images(sizes)} and model.width={model.width} leave "
                "one value to a group, which has no variance; use model=mlp, a wider network or "
                "larger images"
            )


@NORMS.register("ln")
class LayerNorm(SampleNorm):
    """Layer normalization (Ba et al. 2016); of images, GroupNorm with one group."""

    label = "LayerNorm"
    colour = ORANGE

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":
        from torch import nn

        if spatial:
            return nn.GroupNorm(1, channels, self.eps, self.affine)
        return nn.LayerNorm(channels, self.eps, self.affine)


@NORMS.register("ln_channels")
class ChannelLayerNorm(SampleNorm):
    """Layer normalization over the channels of each position alone (Liu et al. 2022); of linear
    layers the same as LayerNorm."""

    label = "LayerNorm over channels"
    colour = PLUM
    channels_last = True

    def check(self, config: Config) -> None:
        if config.model.width == 1:
            raise ValueError(
                "model.width=1: norm=ln_channels has no variance over one channel; use more than "
                "1, or another norm"
            )

    def check_images(self, config: Config, sizes: Sequence[tuple[int, int]]) -> None:
        """Of a position alone, whatever the image's size is."""

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":
        from torch import nn

        from normlab.networks.norm_modules import ChannelNorm

        kind = ChannelNorm if spatial else nn.LayerNorm
        return kind(channels, self.eps, self.affine)


@NORMS.register("gn")
class GroupNorm(SampleNorm):
    """Group normalization (Wu & He 2018)."""

    groups: Count

    label = "GroupNorm"
    colour = SKY

    @property
    def group_count(self) -> int:
        return self.groups

    def check(self, config: Config) -> None:
        if config.model.width % self.groups:
            raise ValueError(
                f"norm.groups={self.groups}: must divide the layers' channels, "
                f"{', '.join(map(str, config.model.channels))}; "
                "change norm.groups or model.width"
            )
        super().check(config)

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":  # noqa: ARG002
        from torch import nn

        return nn.GroupNorm(self.groups, channels, self.eps, self.affine)


@NORMS.register("in")
class InstanceNorm(SampleNorm):
    """Instance normalization (Ulyanov et al. 2016).

    A linear layer's output is taken as one channel of C positions, since a lone value has no
    variance.
    """

    label = "InstanceNorm"
    colour = PINK

    @property
    def erases_channel_means(self) -> bool:
        return not self.before_activation

    def check_images(self, config: Config, sizes: Sequence[tuple[int, int]]) -> None:
        if config.model.spatial and math.prod(sizes[-1]) == 1:
            raise ConfigError(
                f"norm=in: {_images(sizes)} leave one position in the last stage, which has no "
                "variance; use model=mlp, norm=ln or larger images"
            )

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":
        from torch import nn

        if spatial:
            return nn.InstanceNorm2d(channels, self.eps, affine=self.affine)
        return nn.Sequential(
            nn.Unflatten(1, (1, -1)),
            nn.InstanceNorm1d(1, self.eps, affine=self.affine),
            nn.Flatten(),
        )


@NORMS.register("rms")
class RMSNorm(ActivationNorm):
    """Root mean square normalization (Zhang & Sennrich 2019)."""

    label = "RMSNorm"
    colour = GREEN
    channels_last = True

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":
        from torch import nn

        from normlab.networks.norm_modules import RMSNorm2d

        if spatial:
            return RMSNorm2d(channels, self.eps, self.affine)
        return nn.RMSNorm(channels, self.eps, self.affine)


@NORMS.register("dyt")
class DyT(PlacedNorm):
    """Dynamic tanh (Zhu et al. 2025), in the place of a normalization."""

    alpha: Positive

    label = "DyT"
    colour = OLIVE
    channels_last = True

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":  # noqa: ARG002
        from normlab.networks.norm_modules import DynamicTanh

        return DynamicTanh(channels, self.alpha, self.affine)


def _images(sizes: Sequence[tuple[int, int]]) -> str:
    return f"images of {sizes[0][0]}×{sizes[0][1]}"
