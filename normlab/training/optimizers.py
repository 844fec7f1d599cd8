"""SGD, Adam and AdamW: what each remembers as plain tensors, and one fused update of all weights.

The arithmetic is PyTorch's own fused kernels. Its optimizer classes would import its compiler, a
second at every start, and SGD's usual loop over parameters takes a tenth of a small net's step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from normlab.config import SGD, Adam


@dataclass
class ParameterGroup:
    """Parameters with one weight decay, and what the optimizer remembers of each."""

    parameters: list[nn.Parameter]
    weight_decay: float
    momenta: list[Tensor | None]  # SGD's velocity, Adam's mean of gradients; None before a step
    squares: list[Tensor]  # Adam's mean of squared gradients
    steps: list[Tensor]  # Adam's count of steps, for its bias correction


def parameter_groups(
    config: SGD | Adam, parameters: Sequence[nn.Parameter]
) -> list[ParameterGroup]:
    """The parameters in groups of one weight decay, with nothing remembered yet.

    With `optimizer.decay=weights` the decay spares biases, γ and β.
    """
    decay = config.weight_decay
    spare = config.decay == "weights" and decay > 0
    spared = [p for p in parameters if spare and p.ndim < 2]
    decayed = [p for p in parameters if not spare or p.ndim >= 2]
    groups = []
    for members, own_decay in ((decayed, decay), (spared, 0.0)):
        if not members:
            continue
        group = ParameterGroup(members, own_decay, [None] * len(members), [], [])
        if isinstance(config, Adam):
            group.momenta = [torch.zeros_like(p) for p in members]
            group.squares = [torch.zeros_like(p) for p in members]
            group.steps = [torch.zeros((), device=p.device) for p in members]
        groups.append(group)
    return groups


@torch.no_grad()
def update(config: SGD | Adam, groups: Sequence[ParameterGroup], lr: float) -> None:
    """One step of learning rate `lr` along the parameters' `.grad`.

    SGD (weight decay λ, momentum μ): g ← g + λw, v ← μv + g (v = g at first), w ← w − lr·v, or
    w − lr·(g + μv) with nesterov. Adam: Kingma & Ba (2015), algorithm 1, with λw added to g; AdamW:
    Loshchilov & Hutter (2019), algorithm 2, w ← (1 − lr·λ)w before.
    """
    for group in groups:
        gradients = [p.grad for p in group.parameters if p.grad is not None]
        assert len(gradients) == len(group.parameters)  # every parameter has a part in the loss
        parameters: list[Tensor] = list(group.parameters)
        fused = parameters[0].device.type in ("cpu", "cuda")
        if isinstance(config, Adam):
            adam(
                parameters,
                gradients,
                group.momenta,  # type: ignore[arg-type]  # Adam's are never None
                group.squares,
                [],
                group.steps,
                fused=fused,
                foreach=not fused,
                decoupled_weight_decay=config.name == "adamw",
                amsgrad=False,
                beta1=config.beta1,
                beta2=config.beta2,
                lr=lr,
                weight_decay=group.weight_decay,
                eps=config.eps,
                maximize=False,
            )
        else:
            sgd(
                parameters,
                gradients,
                group.momenta,
                fused=fused,
                foreach=not fused,
                weight_decay=group.weight_decay,
                momentum=config.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=config.nesterov,
                maximize=False,
            )
