"""SGD, Adam and AdamW: what each remembers as plain tensors, and one fused update of all weights.

The arithmetic is PyTorch's own fused kernels. Its optimizer classes would import its compiler, a
second at every start, and SGD's usual loop over parameters takes a tenth of a small net's step.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from normlab.config import OPTIMIZERS, NonNegative, OpenFraction, Optimizer, ParameterGroup

if TYPE_CHECKING:
    from torch import Tensor, nn


@OPTIMIZERS.register("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent.

    With weight decay λ and momentum μ: g ← g + λw, v ← μv + g (v = g at first), w ← w − lr·v, or
    w − lr·(g + μv) with nesterov.
    """

    momentum: OpenFraction
    nesterov: bool

    @model_validator(mode="after")
    def _check_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("optimizer.nesterov=true: needs optimizer.momentum above 0")
        return self

    def update(
        self, group: ParameterGroup, gradients: "list[Tensor]", lr: "float | Tensor"
    ) -> None:
        from torch.optim.sgd import sgd

        sgd(
            list(group.parameters),
            gradients,
            group.momenta,
            fused=group.fused,
            foreach=not group.fused,
            weight_decay=group.weight_decay,
            momentum=self.momentum,
            lr=lr,  # type: ignore[arg-type]  # a scalar tensor as well
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
        )


@OPTIMIZERS.register("adam")
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1), with λw added to the gradient."""

    beta1: OpenFraction
    beta2: OpenFraction
    eps: NonNegative

    decoupled: ClassVar[bool] = False

    def remember(self, group: ParameterGroup) -> None:
        import torch

        group.momenta = [torch.zeros_like(p) for p in group.parameters]
        group.squares = [torch.zeros_like(p) for p in group.parameters]
        group.steps = [torch.zeros((), device=p.device) for p in group.parameters]

    def update(
        self, group: ParameterGroup, gradients: "list[Tensor]", lr: "float | Tensor"
    ) -> None:
        from torch.optim.adam import adam

        adam(
            list(group.parameters),
            gradients,
            group.momenta,  # type: ignore[arg-type]  # Adam's are never None
            group.squares,
            [],
            group.steps,
            fused=group.fused,
            foreach=not group.fused,
            decoupled_weight_decay=self.decoupled,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=lr,
            weight_decay=group.weight_decay,
            eps=self.eps,
            maximize=False,
        )


@OPTIMIZERS.register("adamw")
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): w ← (1 − lr·λ)w
    before the step."""

    decoupled = True


def parameter_groups(
    optimizer: Optimizer,
    parameters: "Sequence[nn.Parameter]",
    rate_shares: "Mapping[nn.Parameter, float] | None" = None,
) -> list[ParameterGroup]:
    """The parameters in groups of one weight decay and rate, with nothing remembered yet.

    With `optimizer.decay=weights` the decay spares biases, γ and β. `rate_shares` has what a
    parameter's learning rate is over that of the others, where it is another.
    """
    decay, shares = optimizer.weight_decay, rate_shares or {}
    spare = optimizer.decay == "weights" and decay > 0
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for parameter in parameters:
        kind = spare and parameter.ndim < 2, shares.get(parameter, 1.0)
        groups.setdefault(kind, []).append(parameter)
    made = []
    # Those that are decayed first, and the usual rate before smaller ones.
    for (spared, share), members in sorted(groups.items(), key=lambda g: (g[0][0], -g[0][1])):
        own_decay = 0.0 if spared else decay
        group = ParameterGroup(members, own_decay, [None] * len(members), rate_share=share)
        optimizer.remember(group)
        made.append(group)
    return made


def update(optimizer: Optimizer, groups: Sequence[ParameterGroup], lr: "float | Tensor") -> None:
    """One step of learning rate `lr` along the parameters' `.grad`."""
    import torch

    with torch.no_grad():
        for group in groups:
            gradients = [p.grad for p in group.parameters if p.grad is not None]
            assert len(gradients) == len(group.parameters)  # every parameter is part of the loss
            share = group.rate_share
            optimizer.update(group, gradients, lr if share == 1 else lr * share)
