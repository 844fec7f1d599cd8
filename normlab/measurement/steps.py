"""What a training step measures of itself: gradient norms and relative updates of every layer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from normlab.measurement.norms import accumulator, norm
from normlab.networks import WeightLayer


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
    return torch.stack(fused_norms(gradients))


def fused_norms(tensors: list[Tensor]) -> list[Tensor]:
    """‖x‖ (Frobenius) of each of some tensors on one device, a scalar each, summed in float64."""
    return list(torch._foreach_norm(tensors, 2, dtype=accumulator(tensors[0])))


def update_ratios(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """‖ΔW‖/‖W‖ of an optimizer step for every weight: [layers]."""
    with torch.no_grad():
        return torch.stack([norm(b - a) / norm(b) for b, a in zip(before, after, strict=True)])
