"""How every layer's gradient changes as the weights move along the loss's gradient.

So Santurkar et al. (2018, Figure 4) look at a training's landscape: from the weights θ of a step
they go to θ − tη∇L, η the learning rate, and compare the gradients.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normlab.config import PROBES
from normlab.measurement.norms import norm
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
    place. Weights, running statistics, gradients and random state are as before. Parts of the batch
    as in `snapshot`.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients, by_weight = _gradients(model, layers, batch, part_size, parameters)
    changes, lengths = [], []
    for reach in REACH:
        with _moved(parameters, gradients, reach * rate) as length:
            _, there = _gradients(model, layers, batch, part_size, [])
        lengths.append(length)
        changes.append(fused_norms([a - b for a, b in zip(there, by_weight, strict=True)]))
    sizes, moved = fused_norms(by_weight), torch.stack(lengths)
    return [
        Moves(size, torch.stack(change), moved)
        for size, change in zip(sizes, zip(*changes, strict=True), strict=True)
    ]


def measured_of(moves: Sequence[Moves], names: Sequence[str]) -> dict[str, Tensor]:
    """The named measurements of every layer's moves, [layers] each."""
    measures = {name: measure for name in names if (measure := PROBES[name].measure)}
    return {name: torch.stack([f(seen) for seen in moves]) for name, f in measures.items()}


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


@contextmanager
def _moved(
    parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor], factor: float
) -> Iterator[Tensor]:
    """Within, parameters are moved by −factor times their gradients; how far that is, in all.

    Others stand in their place meanwhile, so that they are the same afterwards bit for bit, and
    autograd hears of no change.
    """
    before = [parameter.data for parameter in parameters]
    there = [x - factor * g for x, g in zip(before, gradients, strict=True)]
    length = norm(torch.stack(fused_norms([a - b for a, b in zip(there, before, strict=True)])))
    try:
        for parameter, moved in zip(parameters, there, strict=True):
            parameter.data = moved
        yield length
    finally:
        for parameter, kept in zip(parameters, before, strict=True):
            parameter.data = kept
