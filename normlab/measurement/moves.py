"""How every layer's gradient changes as the weights move along the loss's gradient.

So Santurkar et al. (2018, Figure 4) look at a training's landscape: from the weights θ of a step
they go to θ − tη∇L, η the learning rate, and compare the gradients. Of a small rate both the step
and the change of the gradients lie within float32's rounding, so all of it is made in float64.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normlab.config import PROBES
from normlab.measurement.norms import accumulator, norm
from normlab.measurement.observation import ProbeBatch, logits_without_trace, parts_of
from normlab.measurement.steps import fused_norms, watched_weights
from normlab.networks import WeightLayer, cross_entropy

# How many learning rates far, t: from half a step to four, as in the paper.
REACH = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Moves:
    """What moving all parameters θ by −tη∇L does to a layer's gradient, for each t of REACH."""

    gradient: Tensor  # ‖∂L/∂W‖ at θ
    changes: Tensor  # [T] ‖∂L/∂W at θ − tη∇L, less that at θ‖
    lengths: Tensor  # [T] ‖tη∇L‖, of the whole network


def moves_along_gradient(
    model: nn.Module,
    layers: Sequence[WeightLayer],
    batch: ProbeBatch,
    rate: float,
    part_size: int | None = None,
) -> list[Moves]:
    """Every layer's gradient of a batch's mean loss, at the weights and along its direction.

    The model must be in train mode; noise and BatchNorm's statistics are of the same batch at each
    place. In float64, of a copy of the model, which itself is untouched. Parts of the batch as in
    `snapshot`.
    """
    seen = batch.images
    model, layers, batch = _widened(model, layers, batch)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients, by_weight = _gradients(model, layers, batch, part_size, parameters)
    before = [parameter.data for parameter in parameters]
    changes, lengths = [], []
    for reach in REACH:
        steps = [reach * rate * gradient for gradient in gradients]
        for parameter, x, step in zip(parameters, before, steps, strict=True):
            parameter.data = x - step
        _, there = _gradients(model, layers, batch, part_size, [])
        lengths.append(norm(torch.stack(fused_norms(steps))))
        changes.append(fused_norms([a - b for a, b in zip(there, by_weight, strict=True)]))
    found = (fused_norms(by_weight), zip(*changes, strict=True))
    return [
        Moves(*(_as_sums_of(seen, x) for x in (size, torch.stack(change), torch.stack(lengths))))
        for size, change in zip(*found, strict=True)
    ]


def measured_of(moves: Sequence[Moves], names: Sequence[str]) -> dict[str, Tensor]:
    """The named measurements of every layer's moves, [layers] each."""
    measures = {name: measure for name in names if (measure := PROBES[name].measure)}
    return {name: torch.stack([f(seen) for seen in moves]) for name, f in measures.items()}


def _widened(
    model: nn.Module, layers: Sequence[WeightLayer], batch: ProbeBatch
) -> tuple[nn.Module, Sequence[WeightLayer], ProbeBatch]:
    """A copy of a network, of its layers and of a batch in float64, on the CPU where a device has
    no float64."""
    device = batch.images.device if accumulator(batch.images) == torch.float64 else "cpu"
    model, layers = deepcopy((model, layers))  # together, so that the layers are the copy's
    images, labels = batch.images.to(device).double(), batch.labels.to(device)
    return model.to(device).double(), layers, ProbeBatch(images, labels, batch.loss)


def _as_sums_of(images: Tensor, x: Tensor) -> Tensor:
    """In the dtype of other measurements of a batch and on its device."""
    return x.to(accumulator(images)).to(images.device)


def _gradients(
    model: nn.Module,
    layers: Sequence[WeightLayer],
    batch: ProbeBatch,
    part_size: int | None,
    parameters: Sequence[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of some parameters and of all layers' weights."""
    total: list[Tensor] = []
    for part, share in parts_of(batch, part_size):
        with torch.enable_grad(), watched_weights(layers) as weights:
            inputs = [*parameters, *weights]
            logits = logits_without_trace(model, part.images)
            loss = cross_entropy(logits, part.labels, part.loss) * share
            found = torch.autograd.grad(loss, inputs, allow_unused=True)
        whole = [
            torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
        ]
        total = [a + b for a, b in zip(total, whole, strict=True)] if total else whole
    return total[: len(parameters)], total[len(parameters) :]
