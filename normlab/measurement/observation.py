"""What every layer of a network does with a probe batch, without leaving a trace.

Snapshots are taken on a fixed probe batch in train mode: running statistics, gradients and random
states stay as they were.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normlab.config import PROBES
from normlab.measurement.norms import accumulator
from normlab.networks import Nonlinearity, WeightLayer, cross_entropy


@dataclass(frozen=True)
class Observation:
    """What one layer did with a probe batch of B samples, in train mode."""

    weight: Tensor  # W, the effective one under weight normalization
    delta: Tensor  # ∂L/∂z [B, ...]: L the mean loss, z the linear output before normalization
    activation: Tensor  # [B, ...] what the next layer receives; the logits for the output layer
    slope: Tensor | None  # φ′ [B, ...] of the nonlinearity behind z; None for the output layer


class ProbeBatch(NamedTuple):
    """The samples on which a network is observed, and the loss whose gradient is taken."""

    images: Tensor  # [B, C, H, W]
    labels: Tensor  # [B]
    loss: str  # training.loss


def snapshot(
    model: nn.Module, layers: Sequence[WeightLayer], batch: ProbeBatch, names: Sequence[str]
) -> Tensor:
    """The named measurements of every layer on a probe batch: [layers, names], on the device.

    The model must be in train mode. Running statistics, gradients and random state are untouched.
    """
    measures = [measure for name in names if (measure := PROBES[name].measure)]
    observations = observe(model, layers, batch)
    with torch.no_grad():
        rows = []
        for seen in observations:
            # Converted here, as else each measure would make a copy of its own.
            wide = replace(seen, activation=seen.activation.to(accumulator(seen.activation)))
            rows.append(torch.stack([measure(wide) for measure in measures]))
        return torch.stack(rows)


def observe(
    model: nn.Module, layers: Sequence[WeightLayer], batch: ProbeBatch
) -> list[Observation]:
    """Every layer's weight, ∂L/∂z, activation and slope for the mean loss of a batch."""
    with torch.enable_grad(), _recording(layers) as (inputs, outputs, slopes):
        logits = _logits(model, batch.images)
        loss = cross_entropy(logits, batch.labels, batch.loss)
        deltas = torch.autograd.grad(loss, outputs)
    activations = [*inputs[1:], logits.detach()]
    return [
        Observation(layer.module.weight.detach(), delta, activation, slope)
        for layer, delta, activation, slope in zip(
            layers, deltas, activations, [*slopes, None], strict=True
        )
    ]


def train_mode_loss(model: nn.Module, batch: ProbeBatch) -> Tensor:
    """The mean loss of a batch in train mode, without a trace and without gradients."""
    with torch.no_grad():
        return cross_entropy(_logits(model, batch.images), batch.labels, batch.loss)


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
        assert isinstance(activation, Nonlinearity)
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
