"""What every layer of a network does with a probe batch, without leaving a trace.

Snapshots are taken on a fixed probe batch in train mode: running statistics, gradients and random
states stay as they were.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normlab.config import PROBES, InParts
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


# What was gathered of every layer by every probe.
Layers = list[list[tuple[Tensor, ...]]]


def snapshot(
    model: nn.Module,
    layers: Sequence[WeightLayer],
    batch: ProbeBatch,
    names: Sequence[str],
    part_size: int | None = None,
) -> Tensor:
    """The named measurements of every layer on a probe batch: [layers, names], on the device.

    The model must be in train mode. Running statistics, gradients and random state are untouched.
    With `part_size` so many samples at a time are looked at if all measurements can be made so. Not
    to be given where samples depend on each other, as under BatchNorm.
    """
    probes = [PROBES[name] for name in names]
    measures = [probe.measure for probe in probes if probe.measure]
    parts = [probe.parts for probe in probes if probe.parts]
    samples = len(batch.labels)
    size = part_size or samples
    if size >= samples or len(parts) < len(measures):

        def measured(seen: Observation) -> Tensor:
            wide = _widened(seen)
            return torch.stack([measure(wide) for measure in measures])

        return torch.stack(_over_layers(model, layers, batch, measured))

    def gathered(seen: Observation) -> list[tuple[Tensor, ...]]:
        wide = _widened(seen)
        return [part.gather(wide) for part in parts]

    together: Layers = []
    for start in range(0, samples, size):
        images, labels = (whole[start : start + size] for whole in (batch.images, batch.labels))
        part = ProbeBatch(images, labels, batch.loss)
        found = _over_layers(model, layers, part, gathered, len(labels) / samples)
        together = _joined(parts, together, found) if together else found
    rows = ([p.finish(g) for p, g in zip(parts, row, strict=True)] for row in together)
    with torch.no_grad():
        return torch.stack([torch.stack(row) for row in rows])


def _widened(seen: Observation) -> Observation:
    # Converted once, as else each measure would make a copy of its own.
    return replace(seen, activation=seen.activation.to(accumulator(seen.activation)))


def _joined(parts: Sequence[InParts], one: Layers, other: Layers) -> Layers:
    """What was gathered of two parts of a batch, together."""
    with torch.no_grad():
        return [
            [part.join(*both) for part, *both in zip(parts, *rows, strict=True)]
            for rows in zip(one, other, strict=True)
        ]


def observe(
    model: nn.Module, layers: Sequence[WeightLayer], batch: ProbeBatch
) -> list[Observation]:
    """Every layer's weight, ∂L/∂z, activation and slope for the mean loss of a batch."""
    return _over_layers(model, layers, batch, lambda seen: seen)


def _over_layers(
    model: nn.Module,
    layers: Sequence[WeightLayer],
    batch: ProbeBatch,
    look: Callable[[Observation], Any],
    share: float = 1.0,
) -> list[Any]:
    """What `look` finds in each layer's observation, for `share` times the mean loss of a batch.

    A layer is looked at when the backward pass has come to it, and then let go, so that a network's
    observations are never in memory together.
    """
    found: list[Any] = [None] * len(layers)
    with torch.enable_grad(), _recording(layers) as (received, outputs, unactivated):
        logits = _logits(model, batch.images)
        loss = cross_entropy(logits, batch.labels, batch.loss) * share
        received.append(logits.detach())

        def look_at(index: int, delta: Tensor) -> None:
            layer = layers[index]
            activation = received[index + 1]
            received[index + 1] = delta.new_empty(0)
            slope = _slope(layer.activation, unactivated, index) if layer.activation else None
            seen = Observation(layer.module.weight.detach(), delta, activation, slope)
            with torch.no_grad():
                found[index] = look(seen)

        first = outputs[0]
        for index, output in enumerate(outputs[1:], start=1):
            output.register_hook(partial(look_at, index))  # type: ignore[no-untyped-call]
        outputs.clear()
        (delta,) = torch.autograd.grad(loss, first)
        look_at(0, delta)
    return found


def _slope(activation: Nonlinearity, unactivated: list[Tensor], index: int) -> Tensor:
    """φ′ of what a layer's nonlinearity has received, which is let go."""
    with torch.enable_grad():
        x = unactivated[index].requires_grad_()
        unactivated[index] = x.new_empty(0)
        (slope,) = torch.autograd.grad(activation.function(x).sum(), x)
    return slope


def train_mode_loss(model: nn.Module, batch: ProbeBatch) -> Tensor:
    """The mean loss of a batch in train mode, without a trace and without gradients."""
    with torch.no_grad():
        return cross_entropy(_logits(model, batch.images), batch.labels, batch.loss)


def eval_mode_loss(model: nn.Module, batch: ProbeBatch) -> Tensor:
    """The mean loss of a batch in eval mode, where BatchNorm uses its running statistics.

    The model is in train mode before and after.
    """
    model.eval()
    with torch.no_grad():
        loss = cross_entropy(model(batch.images), batch.labels, batch.loss)
    model.train()
    return loss


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    # Clones take the updates of BatchNorm's running statistics and of noise's count of steps.
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits: Tensor = torch.func.functional_call(model, buffers, (images,))
    return logits


@contextmanager
def _recording(
    layers: Sequence[WeightLayer],
) -> Iterator[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
    """Collect each layer's input and linear output and each nonlinearity's input as they run."""
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    unactivated: list[Tensor] = []

    def record_layer(_: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        inputs.append(args[0].detach())
        outputs.append(output)

    def record_unactivated(_: nn.Module, args: tuple[Tensor], __: Tensor) -> None:
        unactivated.append(args[0].detach())

    handles = [layer.module.register_forward_hook(record_layer) for layer in layers]
    handles += [
        layer.activation.register_forward_hook(record_unactivated)
        for layer in layers
        if layer.activation is not None
    ]
    try:
        yield inputs, outputs, unactivated
    finally:
        for handle in handles:
            handle.remove()
