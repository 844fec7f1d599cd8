"""What every layer of a network does with a probe batch, without leaving a trace.

Snapshots are taken on a fixed probe batch in train mode: running statistics, gradients and random
states stay as they were.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from normlab.config import PROBES, InParts, Probe
from normlab.measurement.norms import accumulator
from normlab.measurement.tokens import recorded_tokens
from normlab.networks import EncoderNetwork, WeightLayer, cross_entropy


@dataclass(frozen=True)
class Observation:
    """What one layer did with a probe batch of B samples, in train mode."""

    weight: Tensor  # W, the effective one under weight normalization
    delta: Tensor  # ∂L/∂z [B, ...]: L the mean loss, z the linear output before normalization
    activation: Tensor  # [B, ...] what the next layer receives; the logits for the output layer
    slope: Tensor | None  # φ′ [B, ...] of the nonlinearity behind z; None for the output layer
    # Which tokens are no padding [B, T], where the others are [B, T, units]; None where all are.
    real: Tensor | None = None
    # γ and β of the norms between the layer and the next, each in one vector; None without.
    gain: Tensor | None = None
    shift: Tensor | None = None


class ProbeBatch(NamedTuple):
    """The samples on which a network is observed, and the loss whose gradient is taken."""

    images: Tensor  # [B, C, H, W]
    labels: Tensor  # [B]
    loss: str  # training.loss


def parts_of(batch: ProbeBatch, size: int | None) -> Iterator[tuple[ProbeBatch, float]]:
    """A batch in parts of so many samples, and each one's share of them; whole without a size."""
    samples = len(batch.labels)
    for start in range(0, samples, size or samples):
        images, labels = (
            whole[start : start + (size or samples)] for whole in (batch.images, batch.labels)
        )
        yield ProbeBatch(images, labels, batch.loss), len(labels) / samples


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

    Those of tokens, which come last, are NaN but in the rows of their role. The model must be in
    train mode. Running statistics, gradients and random state are untouched. With `part_size` so
    many samples at a time are looked at if all measurements can be made so. Not to be given where
    samples depend on each other, as under BatchNorm.
    """
    probes = [PROBES[name] for name in names]
    of_tokens = [probe for probe in probes if probe.role is not None]
    of_layers = [probe for probe in probes if probe.role is None]
    with recorded_tokens(model, of_tokens) as tokens:
        columns = _snapshot_of_layers(model, layers, batch, of_layers, part_size)
    return torch.cat([columns, tokens.measured(layers, columns)], dim=1) if of_tokens else columns


def _snapshot_of_layers(
    model: nn.Module,
    layers: Sequence[WeightLayer],
    batch: ProbeBatch,
    probes: Sequence[Probe],
    part_size: int | None,
) -> Tensor:
    measures = [probe.measure for probe in probes if probe.measure]
    parts = [probe.parts for probe in probes if probe.parts]
    samples = len(batch.labels)
    size = part_size or samples
    if size >= samples or len(parts) < len(measures):

        def measured(seen: Observation) -> Tensor:
            wide = _widened(seen)
            return _stacked([measure(wide) for measure in measures], wide.activation)

        return torch.stack(_over_layers(model, layers, batch, measured))

    def gathered(seen: Observation) -> list[tuple[Tensor, ...]]:
        wide = _widened(seen)
        return [part.gather(wide) for part in parts]

    together: Layers = []
    for part, share in parts_of(batch, size):
        found = _over_layers(model, layers, part, gathered, share)
        together = _joined(parts, together, found) if together else found
    rows = ([p.finish(g) for p, g in zip(parts, row, strict=True)] for row in together)
    with torch.no_grad():
        return torch.stack([_stacked(list(row), batch.images) for row in rows])


def _stacked(values: list[Tensor], like: Tensor) -> Tensor:
    """Scalars as a vector; an empty one, on the device of `like`, where there are none."""
    return torch.stack(values) if values else like.new_empty(0, dtype=accumulator(like))


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
    found: dict[int, Any] = {}
    real = model.tokens(batch.images)[1] if isinstance(model, EncoderNetwork) else None
    with torch.enable_grad(), _recording(layers) as recorded:
        logits = logits_without_trace(model, batch.images)
        loss = cross_entropy(logits, batch.labels, batch.loss) * share

        def look_at(layer: WeightLayer, delta: Tensor) -> None:
            activation = recorded.received(layer) if layer.receiver else logits.detach()
            slope = recorded.slope(layer) if layer.activation else None
            gain, shift = gain_and_shift(layer.norms)
            seen = Observation(
                *(layer.module.weight.detach(), delta, activation, slope, real, gain, shift)
            )
            with torch.no_grad():
                found[layer.index] = look(seen)

        first, *others = layers
        for layer in others:
            output = recorded.outputs.pop(layer.index)
            output.register_hook(partial(look_at, layer))  # type: ignore[no-untyped-call]
        (delta,) = torch.autograd.grad(loss, recorded.outputs.pop(first.index))
        look_at(first, delta)
    return [found[layer.index] for layer in layers]


def gain_and_shift(norms: Iterable[nn.Module]) -> tuple[Tensor | None, Tensor | None]:
    """γ and β of some norms, all entries in one vector each; None where there are none.

    By the names that PyTorch's own norms have for them, weight and bias.
    """
    found: dict[str, list[Tensor]] = {"weight": [], "bias": []}
    for norm in norms:
        for name, parameter in norm.named_parameters():
            if (last := name.rpartition(".")[2]) in found:
                found[last].append(parameter.detach().flatten())
    gain, shift = (torch.cat(parts) if parts else None for parts in found.values())
    return gain, shift


def train_mode_loss(model: nn.Module, batch: ProbeBatch) -> Tensor:
    """The mean loss of a batch in train mode, without a trace and without gradients."""
    with torch.no_grad():
        return cross_entropy(logits_without_trace(model, batch.images), batch.labels, batch.loss)


def eval_mode_loss(model: nn.Module, batch: ProbeBatch) -> Tensor:
    """The mean loss of a batch in eval mode, where BatchNorm uses its running statistics.

    The model is in train mode before and after.
    """
    model.eval()
    with torch.no_grad():
        loss = cross_entropy(model(batch.images), batch.labels, batch.loss)
    model.train()
    return loss


def logits_without_trace(model: nn.Module, images: Tensor) -> Tensor:
    """A network's logits of images, its buffers left as they were."""
    # Clones take the updates of BatchNorm's running statistics and of noise's count of steps.
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits: Tensor = torch.func.functional_call(model, buffers, (images,))
    return logits


class _Recorded:
    """What each layer received and gave, and each nonlinearity received, by the layer's index."""

    def __init__(self, layers: Sequence[WeightLayer]):
        self.inputs: dict[int, Tensor] = {}
        self.outputs: dict[int, Tensor] = {}
        self.unactivated: dict[int, Tensor] = {}
        self._lookers = Counter(layer.receiver for layer in layers)

    def received(self, layer: WeightLayer) -> Tensor:
        """The input of a layer's receiver, let go when all layers that it is of have asked."""
        assert layer.receiver is not None
        self._lookers[layer.receiver] -= 1
        left = self._lookers[layer.receiver]
        return self.inputs[layer.receiver] if left else self.inputs.pop(layer.receiver)

    def slope(self, layer: WeightLayer) -> Tensor:
        """φ′ of what a layer's nonlinearity has received, which is let go."""
        assert layer.activation is not None
        with torch.enable_grad():
            x = self.unactivated.pop(layer.index).requires_grad_()
            (slope,) = torch.autograd.grad(layer.activation.function(x).sum(), x)
        return slope


@contextmanager
def _recording(layers: Sequence[WeightLayer]) -> Iterator[_Recorded]:
    """Collect each layer's input and linear output and each nonlinearity's input as they run."""
    recorded = _Recorded(layers)

    def record_layer(index: int, _: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        recorded.inputs[index] = args[0].detach()
        recorded.outputs[index] = output

    def record_unactivated(index: int, _: nn.Module, args: tuple[Tensor], __: Tensor) -> None:
        recorded.unactivated[index] = args[0].detach()

    handles = [
        layer.module.register_forward_hook(partial(record_layer, layer.index)) for layer in layers
    ]
    handles += [
        layer.activation.register_forward_hook(partial(record_unactivated, layer.index))
        for layer in layers
        if layer.activation is not None
    ]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()
