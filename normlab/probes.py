"""Measurements of a network's layers: a measurement is a name and a pure function.

Snapshots are taken on a fixed probe batch in train mode and leave no trace: running statistics,
gradients and random states stay as they were. Two measurements, `grad_norm` and `update_ratio`,
are of the training step itself.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normlab.layers import Activation, cross_entropy
from normlab.models import WeightLayer

# A unit whose nonlinearity has a smaller slope than this passes no gradient worth the name:
# exactly 0 for a rectifier, |tanh| > 0.995, a sigmoid within 0.0102 of 0 or 1.
DEAD_SLOPE = 0.01


@dataclass(frozen=True)
class Observation:
    """What one layer did with a probe batch of B samples, in train mode."""

    weight: Tensor  # W, the effective one under weight normalization
    delta: Tensor  # ∂L/∂z [B, ...]: L the mean loss, z the linear output before normalization
    activation: Tensor  # [B, ...] what the next layer receives; the logits for the output layer
    slope: Tensor | None  # φ′ [B, ...] of the nonlinearity behind z; None for the output layer


def delta_rms(seen: Observation) -> Tensor:
    """sqrt(Σᵢ ‖B·∂L/∂zᵢ‖² / (B·n)) over B samples and n units (C·H·W of a convolution).

    The root mean square of a sample's own ∂ℓᵢ/∂z: independent of width and batch size, and what
    mean field theory predicts (Schoenholz et al. 2017). Under BatchNorm, where samples are coupled,
    ℓᵢ's derivative is B times the batch loss's.
    """
    return _norm(seen.delta) * len(seen.delta) / math.sqrt(seen.delta.numel())


def mean_delta(seen: Observation) -> Tensor:
    """‖Σᵢ ∂L/∂zᵢ‖, the norm of the samples' mean δ as Nielsen (2015, ch. 5) takes it.

    Samples cancel each other here, and under BatchNorm the sum is 0: only for comparison with his
    figures.
    """
    return _norm(seen.delta.sum(dim=0))


def weight_norm(seen: Observation) -> Tensor:
    """‖W‖, Frobenius."""
    return _norm(seen.weight)


def act_mean(seen: Observation) -> Tensor:
    """Mean of the activations over samples and units."""
    return seen.activation.to(_wide(seen.activation)).mean()


def act_std(seen: Observation) -> Tensor:
    """Standard deviation of the activations over samples and units, with divisor B·n."""
    return seen.activation.to(_wide(seen.activation)).std(correction=0)


def dead_fraction(seen: Observation) -> Tensor:
    """Share of units whose |φ′| is below `DEAD_SLOPE` for every sample: zero or saturated units.

    NaN for the output layer, which has no nonlinearity, and where a slope is NaN.
    """
    if seen.slope is None:
        return seen.delta.new_full((), torch.nan)
    steepest = seen.slope.abs().amax(dim=0)  # NaN where any is
    dead = (steepest < DEAD_SLOPE).to(_wide(seen.delta)).mean()
    return torch.where(steepest.isnan().any(), torch.nan, dead)


def sample_cosine(seen: Observation) -> Tensor:
    """Mean cosine between different samples' activations a: mean over i ≠ j of aᵢ·aⱼ/(‖aᵢ‖‖aⱼ‖).

    Near 1 the layers up to here have forgotten the input. Two zero vectors, being alike, count 1;
    a zero and another vector count 0.
    """
    a = seen.activation.flatten(1).to(_wide(seen.activation))
    norms = torch.linalg.vector_norm(a, dim=1)
    zeros = (norms == 0).sum()
    total = torch.where(norms == 0, 0, 1 / norms) @ a  # Σᵢ aᵢ/‖aᵢ‖ of those that are not zero
    batch = len(a)
    pairs: Tensor = total.square().sum() - (batch - zeros) + zeros * (zeros - 1)
    return pairs / (batch * (batch - 1))


SNAPSHOT_PROBES: dict[str, Callable[[Observation], Tensor]] = {
    "delta_rms": delta_rms,
    "mean_delta": mean_delta,
    "weight_norm": weight_norm,
    "act_mean": act_mean,
    "act_std": act_std,
    "dead_fraction": dead_fraction,
    "sample_cosine": sample_cosine,
}


def snapshot(
    model: nn.Module,
    layers: Sequence[WeightLayer],
    images: Tensor,
    labels: Tensor,
    names: Sequence[str],
    loss: str,
) -> Tensor:
    """The named measurements of every layer on a probe batch: [layers, names], on the device.

    The model must be in train mode. Running statistics, gradients and random state are untouched.
    """
    observations = observe(model, layers, images, labels, loss)
    with torch.no_grad():
        rows = []
        for seen in observations:
            # Once for all of them: each would make a copy of its own.
            wide = replace(seen, activation=seen.activation.to(_wide(seen.activation)))
            rows.append(torch.stack([SNAPSHOT_PROBES[name](wide) for name in names]))
        return torch.stack(rows)


def observe(
    model: nn.Module, layers: Sequence[WeightLayer], images: Tensor, labels: Tensor, loss: str
) -> list[Observation]:
    """Every layer's weight, ∂L/∂z, activation and slope for the mean loss of a batch."""
    with torch.enable_grad(), _recording(layers) as (inputs, outputs, slopes):
        logits = _logits(model, images)
        deltas = torch.autograd.grad(cross_entropy(logits, labels, loss), outputs)
    activations = [*inputs[1:], logits.detach()]
    return [
        Observation(layer.module.weight.detach(), delta, activation, slope)
        for layer, delta, activation, slope in zip(
            layers, deltas, activations, [*slopes, None], strict=True
        )
    ]


def train_mode_loss(model: nn.Module, images: Tensor, labels: Tensor, loss: str) -> Tensor:
    """The mean loss of a batch in train mode, without a trace and without gradients."""
    with torch.no_grad():
        return cross_entropy(_logits(model, images), labels, loss)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    # Clones take the updates of BatchNorm's running statistics and of noise's count of steps.
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits: Tensor = torch.func.functional_call(model, buffers, (images,))
    return logits


@contextmanager
def _recording(
    layers: Sequence[WeightLayer],
) -> Iterator[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
    """Collect each layer's input and linear output and each nonlinearity's slope as they run."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    slopes: list[Tensor] = []

    def record_layer(_: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        inputs.append(args[0].detach())
        outputs.append(output)

    def record_slope(activation: nn.Module, args: tuple[Tensor], _: Tensor) -> None:
        assert isinstance(activation, Activation)
        x = args[0].detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation.function(x).sum(), x)
        slopes.append(slope)

    handles = [layer.module.register_forward_hook(record_layer) for layer in layers]
    handles += [
        layer.activation.register_forward_hook(record_slope)
        for layer in layers
        if layer.activation is not None
    ]
    try:
        yield inputs, outputs, slopes
    finally:
        for handle in handles:
            handle.remove()


# --------------------------------------------------------------------- the training step


@contextmanager
def watched_weights(layers: Sequence[WeightLayer]) -> Iterator[list[Tensor]]:
    """The layers' weights, whose `.grad` a backward pass from within this context fills.

    Under weight normalization W = g·v/‖v‖ is no parameter; it is computed once here and keeps its
    gradient ∂L/∂W.
    """
    with parametrize.cached():
        weights = [layer.module.weight for layer in layers]
        for weight in weights:
            if not weight.is_leaf:
                weight.retain_grad()
        yield weights


def gradient_norms(weights: Sequence[Tensor]) -> Tensor:
    """‖∂L/∂W‖ (Frobenius) of every weight, from its `.grad`: [layers], one fused computation.

    Summed in float64: in float32 squares overflow above 1e19 and are 0 below 1e-23.
    """
    gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
    return torch.stack(torch._foreach_norm(gradients, 2, dtype=_wide(weights[0])))


def update_ratios(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """‖ΔW‖/‖W‖ of an optimizer step for every weight: [layers]."""
    with torch.no_grad():
        return torch.stack([_norm(b - a) / _norm(b) for b, a in zip(before, after, strict=True)])


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x.detach(), dtype=_wide(x))
    return norm


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64  # MPS has no float64
