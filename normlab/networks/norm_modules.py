"""Modules of normalizations that PyTorch does not have."""

import math
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        n, channels, samples = self.noise, self.channels, len(x)
        # On the device, so that a step on a GPU neither waits nor differs from the one before.
        draw = HashedNumbers(self.seed + self.steps)
        self.steps += 1
        low, high = 1, 1 + n / 2
        shift = draw.uniform(channels) * 2 * n - n
        shift = shift + (draw.uniform(samples, channels) * 2 - 1) * n / 5
        scale = draw.uniform(channels) * (high - low) + low
        scale = scale + n / 5 * draw.normal(samples, channels)
        shape = (*x.shape[:2], *[1] * (x.ndim - 2))
        return x * scale.to(x.dtype).view(shape) + shift.to(x.dtype).view(shape)


class HashedNumbers:
    """Random numbers that are a pure function of a key, an int64 scalar, and of how many were drawn
    before: no state, and nothing that a device would have to be waited for.

    The bits are splitmix64's (Steele et al. 2014), of a counter that begins at the key's own hash.
    """

    def __init__(self, key: Tensor):
        self._start = _mixed(key.to(torch.int64))
        self._drawn = 0

    def uniform(self, *shape: int) -> Tensor:
        """Independent numbers from U(0, 1), the middles of 2²³ equal parts, float32."""
        count = math.prod(shape)
        places = torch.arange(self._drawn + 1, self._drawn + count + 1, device=self._start.device)
        self._drawn += count
        bits = _mixed(self._start + places * _GOLDEN)
        numbers: Tensor = (_shifted(bits, 41).float() + 0.5) * 2**-23
        return numbers.view(shape)

    def normal(self, *shape: int) -> Tensor:
        """Independent numbers from N(0, 1), by Box and Muller (1958), float32."""
        radius: Tensor = (-2 * self.uniform(*shape).log()).sqrt()
        return radius * (2 * math.pi * self.uniform(*shape)).cos()


def _mixed(x: Tensor) -> Tensor:
    """splitmix64's mixing of 64 bits; products wrap."""
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """x moved right with zeros in front, as an unsigned number is."""
    moved: Tensor = (x >> bits) & (2 ** (64 - bits) - 1)
    return moved


def _signed(x: int) -> int:
    """The int64 of the same 64 bits."""
    return x - 2**64 if x >= 2**63 else x


_GOLDEN = _signed(0x9E3779B97F4A7C15)


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalization whose statistics, the running ones too, are of real rows alone.

    μ = Σ m·x / n and σ² = Σ m·(x − μ)² / n over rows x [N, C] with m = 1 at the n real ones, 0 at
    others; every row is normalized by them. The same as BatchNorm of the real rows, but of one row
    σ² is 0, and of none nothing is learned. Other rows must be finite: 0·NaN is NaN. No shape
    depends on n. `noise` is of `UnsteadyNoise`.
    """

    def __init__(self, channels: int, eps: float, momentum: float, affine: bool, noise: float):
        super().__init__(channels, eps, momentum, affine)
        self.noise = UnsteadyNoise(channels, noise) if noise else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: [N, C]; mask: [N], true at real rows, or None where all are."""
        if mask is None or not self.training:
            y = super().forward(x)
        else:
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            with _without_autocast(x.device.type):  # which would sum in half precision
                y = self._normalized(wide, mask).to(x)
        z: Tensor = self.noise(y)
        return z

    def _normalized(self, x: Tensor, mask: Tensor) -> Tensor:
        # Sums over real rows as products with the mask, which take half as long as filling rows.
        real, count = mask.to(x.dtype), mask.sum()
        mean = (real @ x) / count.clamp(min=1)
        centred = x - mean
        squares = real @ centred.square()
        self._learn(mean.detach(), squares.detach(), count)
        scale = torch.rsqrt(squares / count.clamp(min=1) + self.eps)
        if self.weight is None:
            return centred * scale
        return torch.addcmul(self.bias, centred, scale * self.weight)

    def _learn(self, mean: Tensor, squares: Tensor, count: Tensor) -> None:
        """Bring the running mean and unbiased variance nearer to those of this batch."""
        variance = squares / (count - 1).clamp(min=1)
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            assert self.momentum is not None
            learned = (1 - self.momentum) * running + self.momentum * found
            running.copy_(torch.where(count > 0, learned, running))
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


def _without_autocast(device: str) -> AbstractContextManager[None]:
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else nullcontext()


class DynamicTanh(nn.Module):
    """DyT (Zhu et al. 2025): y = γ_c · tanh(αx) + β_c, with one learned α a layer; no statistics.

    x: [B, C, …].
    """

    def __init__(self, channels: int, alpha: float, affine: bool):
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(alpha))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.alpha * x)
        if self.weight is None or self.bias is None:
            return y
        shape = (-1, *[1] * (x.ndim - 2))
        return y * self.weight.view(shape) + self.bias.view(shape)


class ChannelNorm(nn.LayerNorm):
    """Layer normalization of each position over its channels (Liu et al. 2022).

    y = γ_c·(x − μ)/√(σ² + ε) + β_c, mean and variance over C of each sample and position; shapes
    [B, C, H, W].
    """

    def __init__(self, channels: int, eps: float, affine: bool):
        super().__init__(channels, eps, affine)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.movedim(1, -1)).movedim(-1, 1)
        # In the order that it came in: in channels_last the CPU's backward pass of a strided 1×1
        # convolution of few channels, as another's model may have, writes out of bounds.
        return y.contiguous() if x.is_contiguous() else y


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
