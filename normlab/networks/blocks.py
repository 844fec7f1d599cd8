"""A layer's norm and nonlinearity, shortcuts, and the two kinds of convolutional block."""

import pkgutil
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import ACTIVATIONS, Config
from normlab.networks.branch_modules import ResidualBlock
from normlab.networks.models import CNN


class Nonlinearity(nn.Module):
    """An elementwise nonlinearity; one class for all, so that probes find every one of them."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        function = ACTIVATIONS[name].function
        self._function: Callable[..., Tensor] = (
            pkgutil.resolve_name(function) if isinstance(function, str) else function
        )
        start = ACTIVATIONS[name].learned
        self.learned = None if start is None else nn.Parameter(torch.tensor([start]))

    def function(self, x: Tensor) -> Tensor:
        """φ(x), without the hooks of a module."""
        return self._function(x) if self.learned is None else self._function(x, self.learned)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


class NormActivation(nn.Module):
    """A normalization and a nonlinearity, in the order that `norm.position` says.

    A skip is added before the nonlinearity: φ(a·N(x) + s), or N(φ(a·x + s)), where `out_of` is the
    module that multiplies by a; the model may have shifts before φ and before what follows, unless
    that is the `stream` of a residual network.
    """

    def __init__(
        self,
        config: Config,
        channels: int,
        *,
        spatial: bool,
        out_of: nn.Module | None = None,
        onto_stream: bool = False,
    ):
        super().__init__()
        self.norm = config.norm.build(channels, spatial=spatial)
        self.activation = Nonlinearity(config.model.activation)
        self.norm_first = config.norm.before_activation
        self.out_of = out_of or nn.Identity()
        self.shift_before = config.model.build_shift()
        self.shift_behind = None if onto_stream else config.model.build_shift()

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        y: Tensor = self.norm(x) if self.norm_first else x
        if skip is not None:
            y = self.out_of(y)
        if self.shift_before is not None:
            y = self.shift_before(y)
        if skip is not None:
            y = y + skip
        y = self.activation(y)
        if self.shift_behind is not None:
            y = self.shift_behind(y)
        return y if self.norm_first else self.norm(y)


class ZeroPadShortcut(nn.Module):
    """He et al.'s (2015) option A: every stride-th position, new channels zero, no parameters."""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.extra = channels_out - channels_in
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


class ProjectionShortcut(nn.Conv2d):
    """He et al.'s (2015) option B: a 1×1 convolution of every stride-th position.

    It equals `Conv2d(channels_in, channels_out, 1, stride)`. Positions are taken out first, as in
    channels_last order oneDNN's backward pass of a strided 1×1 convolution of few channels writes
    out of bounds.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, bias: bool):
        super().__init__(channels_in, channels_out, 1, bias=bias)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.every, :: self.every])

    def extra_repr(self) -> str:
        whole: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{whole}, every={self.every}"


def build_shortcut(config: Config, channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The skip of a block: the identity, but option A or B of He et al. (2015) on a new shape.

    B is normalized as its block's convolutions are in a post-activation block. Its layer counts
    neither in `depth` nor among the measured layers, as in the paper.
    """
    model = config.model
    assert isinstance(model, CNN)  # which alone has shortcuts
    if channels_in == channels_out and stride == 1:
        return nn.Identity()
    if model.shortcut == "A":
        return ZeroPadShortcut(channels_in, channels_out, stride)
    convolution = ProjectionShortcut(channels_in, channels_out, stride, bias=model.bias)
    if model.block == "pre":
        return convolution
    return nn.Sequential(convolution, config.norm.build(channels_out, spatial=True))


def conv3x3(config: Config, channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution that keeps height and width up to its stride."""
    bias = config.model.bias
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=bias)


class PostActivationBlock(ResidualBlock):
    """Two convolutions, the skip added before the last nonlinearity (He et al. 2015).

    y = φ(N(W₂ φ(N(W₁x))) + S(x)), N after φ with norm.position=after; without residual S = 0, and
    the block is the same two layers of a plain network. `place` counts the blocks between it and
    where the stream's variance was 1 last.
    """

    def __init__(
        self, config: Config, channels_in: int, channels_out: int, stride: int, place: int = 0
    ):
        super().__init__()
        model = config.model
        assert isinstance(model, CNN)
        self.residual = model.residual
        self.into = model.branches.into(model, place)
        self.conv1 = conv3x3(config, channels_in, channels_out, stride)
        self.unit1 = NormActivation(config, channels_out, spatial=True)
        self.conv2 = conv3x3(config, channels_out, channels_out)
        out_of = model.branches.out_of(model)
        self.unit2 = NormActivation(
            config, channels_out, spatial=True, out_of=out_of, onto_stream=True
        )
        self.shortcut = (
            build_shortcut(config, channels_in, channels_out, stride) if model.residual else None
        )

    @property
    def last_norm(self) -> nn.Module:
        return self.unit2.norm

    @property
    def branch_layers(self) -> list[nn.Linear | nn.Conv2d]:
        return [self.conv1, self.conv2]

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.conv2(self.unit1(self.conv1(self.into(x))))
        y: Tensor = self.unit2(z, None if self.shortcut is None else self.shortcut(x))
        return y


class PreActivationBlock(ResidualBlock):
    """Two convolutions, each after its normalization and nonlinearity (He et al. 2016).

    y = W₂ φ(N(W₁ φ(N(x)))) + S(x): nothing stands in the way of the skip, where the paper's very
    first block shares its first φ(N(x)) with it; without residual S = 0. `place` as above.
    """

    def __init__(
        self, config: Config, channels_in: int, channels_out: int, stride: int, place: int = 0
    ):
        super().__init__()
        model = config.model
        assert isinstance(model, CNN)
        self.residual = model.residual
        self.into = model.branches.into(model, place)
        self.unit1 = NormActivation(config, channels_in, spatial=True)
        self.conv1 = conv3x3(config, channels_in, channels_out, stride)
        self.unit2 = NormActivation(config, channels_out, spatial=True)
        self.conv2 = conv3x3(config, channels_out, channels_out)
        self.out_of = model.branches.out_of(model)
        self.shortcut = (
            build_shortcut(config, channels_in, channels_out, stride) if model.residual else None
        )
        same = isinstance(self.shortcut, nn.Identity)
        self.shortcut_is_activated = model.branches.projects_activated and not same

    @property
    def last_norm(self) -> nn.Module:
        return self.unit2.norm

    @property
    def branch_layers(self) -> list[nn.Linear | nn.Conv2d]:
        return [self.conv1, self.conv2]

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.unit1(self.into(x))
        y: Tensor = self.conv2(self.unit2(self.conv1(h)))
        if self.shortcut is not None:
            y = self.out_of(y) + self.shortcut(h if self.shortcut_is_activated else x)
        return y
