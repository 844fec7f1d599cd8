"""The ingredients under study: normalizations, activations, shortcuts and residual blocks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import CNN, BatchNorm, Config, GroupNorm, NoNorm, SampleNorm, WeightNorm

NormConfig = NoNorm | WeightNorm | BatchNorm | SampleNorm | GroupNorm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


class Activation(nn.Module):
    """An elementwise nonlinearity; one class for all, so that probes find every one of them."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name
        self.function = ACTIVATIONS[name]

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


class UnsteadyNoise(nn.Module):
    """Noise whose distribution is another one at every training step (Santurkar et al. 2018, A.3).

    y = s·x + m with m ~ U[μ ± n/5] and s ~ N(σ, (n/5)²) for each sample and channel; at each step
    and for each channel anew μ ~ U[−n, n] and σ ~ U[1, 1 + n/2], where n is `norm.noise`; 0.5 makes
    their constants. In eval mode its mean, (1 + n/4)·x. x: [B, C, …]. What is drawn is a pure
    function of `seed` and of the steps made so far, a buffer: a measurement leaves no trace.
    """

    steps: Tensor

    def __init__(self, channels: int, noise: float):
        super().__init__()
        self.channels = channels
        self.noise = noise
        self.seed = 0  # `build_model` gives each its own
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x * (1 + self.noise / 4)
        # On the CPU, so that a seed means the same noise on every device.
        generator = torch.Generator().manual_seed((self.seed + int(self.steps)) % 2**63)
        self.steps += 1
        n = self.noise

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(shape, generator=generator) * (high - low) + low

        shift = uniform(-n, n, self.channels) + uniform(-n / 5, n / 5, len(x), self.channels)
        spread = torch.randn(len(x), self.channels, generator=generator)
        scale = uniform(1, 1 + n / 2, self.channels) + n / 5 * spread
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))
        return x * scale.to(x).view(shape) + shift.to(x).view(shape)


class RMSNorm2d(nn.Module):
    """Root mean square normalization of a convolution's output (Zhang & Sennrich 2019).

    y = γ_c · x / sqrt(mean over C, H, W of x² + ε) for each sample; shapes [B, C, H, W]. PyTorch's
    own RMSNorm would learn a γ for every position too, unlike every other norm here.
    """

    def __init__(self, channels: int, eps: float, affine: bool):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.rms_norm(x, x.shape[1:], eps=self.eps)
        return y if self.weight is None else y * self.weight[:, None, None]


def build_norm(norm: NormConfig, channels: int, *, spatial: bool) -> nn.Module:
    """The normalization of a layer: outputs [B, C] of a linear layer, [B, C, H, W] if `spatial`.

    What shares one mean and variance (γ and β always belong to a channel):

    - bn: a channel, over all samples and positions (Ioffe & Szegedy 2015)
    - ln: a sample, over C, H and W (Ba et al. 2016; of images, GroupNorm with one group)
    - gn: a sample and a group of channels, over its C/groups, H and W (Wu & He 2018)
    - in: a sample and a channel, over H and W (Ulyanov et al. 2016); a linear layer's output is
      taken as one channel of C positions, since a lone value has no variance
    - rms: as ln, divided by the root mean square without subtracting the mean
    - none, wn: nothing is normalized here; wn reparametrizes the weights (`build_model`)
    """
    match norm:
        case NoNorm() | WeightNorm():
            return nn.Identity()
        case BatchNorm():
            kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
            bn = kind(channels, norm.eps, norm.momentum, norm.affine)
            return nn.Sequential(bn, UnsteadyNoise(channels, norm.noise)) if norm.noise else bn
        case GroupNorm():
            return nn.GroupNorm(norm.groups, channels, norm.eps, norm.affine)
        case SampleNorm(name="ln"):
            if spatial:
                return nn.GroupNorm(1, channels, norm.eps, norm.affine)
            return nn.LayerNorm(channels, norm.eps, norm.affine)
        case SampleNorm(name="in"):
            if spatial:
                return nn.InstanceNorm2d(channels, norm.eps, affine=norm.affine)
            return nn.Sequential(
                nn.Unflatten(1, (1, -1)),
                nn.InstanceNorm1d(1, norm.eps, affine=norm.affine),
                nn.Flatten(),
            )
        case SampleNorm(name="rms"):
            if spatial:
                return RMSNorm2d(channels, norm.eps, norm.affine)
            return nn.RMSNorm(channels, norm.eps, norm.affine)
    raise AssertionError(norm)


class NormActivation(nn.Module):
    """A normalization and a nonlinearity, in the order that `norm.position` says."""

    def __init__(self, config: Config, channels: int, *, spatial: bool):
        super().__init__()
        self.norm = build_norm(config.norm, channels, spatial=spatial)
        self.activation = Activation(config.model.activation)
        self.norm_first = normalizes_first(config.norm)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = (
            self.activation(self.norm(x)) if self.norm_first else self.norm(self.activation(x))
        )
        return y


def normalizes_first(norm: NormConfig) -> bool:
    """Whether the normalization stands before the nonlinearity."""
    return isinstance(norm, NoNorm | WeightNorm) or norm.position == "before"


class ZeroPadShortcut(nn.Module):
    """He et al.'s (2015) option A: every stride-th position, new channels zero, no parameters."""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.extra = channels_out - channels_in
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def build_shortcut(config: Config, channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """The skip of a block: the identity, but option A or B of He et al. (2015) on a new shape.

    B is a strided 1×1 convolution, normalized as its block's convolutions are in a post-activation
    block. Its layer counts neither in `depth` nor among the measured layers, as in the paper.
    """
    model = config.model
    assert isinstance(model, CNN)
    if channels_in == channels_out and stride == 1:
        return nn.Identity()
    if model.shortcut == "A":
        return ZeroPadShortcut(channels_in, channels_out, stride)
    convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=model.bias)
    if model.block == "pre":
        return convolution
    return nn.Sequential(convolution, build_norm(config.norm, channels_out, spatial=True))


def conv3x3(config: Config, channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution that keeps height and width up to its stride."""
    bias = config.model.bias
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=bias)


class PostActivationBlock(nn.Module):
    """Two convolutions, the skip added before the last nonlinearity (He et al. 2015).

    y = φ(N(W₂ φ(N(W₁x))) + S(x)), N after φ with norm.position=after; without residual S = 0, and
    the block is the same two layers of a plain network.
    """

    def __init__(self, config: Config, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.conv1 = conv3x3(config, channels_in, channels_out, stride)
        self.unit1 = NormActivation(config, channels_out, spatial=True)
        self.conv2 = conv3x3(config, channels_out, channels_out)
        self.unit2 = NormActivation(config, channels_out, spatial=True)
        self.shortcut = (
            build_shortcut(config, channels_in, channels_out, stride)
            if config.model.residual
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.unit1(self.conv1(x)))
        norm, activation = self.unit2.norm, self.unit2.activation
        if self.unit2.norm_first:
            y = norm(y)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        y = activation(y)
        return y if self.unit2.norm_first else norm(y)


class PreActivationBlock(nn.Module):
    """Two convolutions, each after its normalization and nonlinearity (He et al. 2016).

    y = W₂ φ(N(W₁ φ(N(x)))) + S(x): nothing stands in the way of the skip, where the paper's very
    first block shares its first φ(N(x)) with it; without residual S = 0.
    """

    def __init__(self, config: Config, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.unit1 = NormActivation(config, channels_in, spatial=True)
        self.conv1 = conv3x3(config, channels_in, channels_out, stride)
        self.unit2 = NormActivation(config, channels_out, spatial=True)
        self.conv2 = conv3x3(config, channels_out, channels_out)
        self.shortcut = (
            build_shortcut(config, channels_in, channels_out, stride)
            if config.model.residual
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(self.unit2(self.conv1(self.unit1(x))))
        return y if self.shortcut is None else y + self.shortcut(x)


# ----------------------------------------------------------------- softmax and its losses


def cross_entropy(logits: Tensor, labels: Tensor, kind: str, reduction: str = "mean") -> Tensor:
    """The loss of a classifier over B samples: logits a [B, K], labels [B], one value.

    - softmax: −log softmax(a)_y, whose gradient by a is softmax(a) − onehot(y)
    - sigmoid: Σ_k −log σ(a_k) if k = y, else −log(1 − σ(a_k)): a logistic regression for each
      class, with gradient σ(a) − onehot(y) (Nielsen 2015, ch. 3)

    `reduction` is the mean or the sum over samples.
    """
    if kind == "softmax":
        return F.cross_entropy(logits, labels, reduction=reduction)
    targets = F.one_hot(labels, logits.shape[1]).to(logits)
    total = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return total / len(labels) if reduction == "mean" else total


def masked_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the positions where `mask` is true; exactly 0 elsewhere, in every dtype.

    wᵢ = exp(aᵢ) / Σ_{j: mask} exp(aⱼ). A row without any position is all 0, not uniform and not
    NaN, and its gradient is 0; whatever stands at masked positions, NaN and infinity too, has no
    effect. `mask` is boolean and broadcasts to the logits.
    """
    mask = mask.expand_as(logits)
    empty = ~mask.any(dim, keepdim=True)
    # An empty row gets finite logits, since a row of −∞ has no softmax and its gradient is NaN.
    filled = logits.masked_fill(~mask, -torch.inf).masked_fill(empty, 0)
    return torch.softmax(filled, dim).masked_fill(~mask, 0)


PADDING_FILL = -(2.0**32) + 1


def fill_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax with masked positions filled with −2³²+1, as widespread attention code has it.

    Exact in float32 and float64 as long as a row keeps a position; a row that is all padding
    becomes uniform. In float16 the fill is −∞, and such a row NaN. Use `masked_softmax`.
    """
    fill = torch.tensor(PADDING_FILL, dtype=torch.float64).to(logits)
    return torch.softmax(torch.where(mask.expand_as(logits), logits, fill), dim)
