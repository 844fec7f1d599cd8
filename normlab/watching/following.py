"""The optimizers that step watched weights, and which of them a watch refuses."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

from torch import Tensor
from torch.optim import LBFGS, Optimizer

from normlab.errors import ConfigError
from normlab.watching.gradients import NormRing
from normlab.watching.untouched import in_backward
from normlab.watching.weights import WatchedWeight


class StepCount:
    """How many steps some weights have had, of whichever optimizers."""

    def __init__(self) -> None:
        self.value = 0


class Followed:
    """An optimizer that steps watched weights, and how many steps those have had."""

    def __init__(self, optimizer: Optimizer, weights: Sequence[WatchedWeight]):
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.places = [i for i, weight in enumerate(weights) if id(weight.parameter) in own]
        self.parameters: list[Tensor] = [weights[place].parameter for place in self.places]
        self.size = size_of(optimizer)
        self.count = StepCount()
        self.changes_gradients = changes_gradients(optimizer)
        self.ring = NormRing(self.parameters)
        self.before: list[Tensor] | None = None  # the weights, where this step's update is measured
        self._taking: FrameType | None = None  # the step that is being taken

    @property
    def step(self) -> int:
        """How many steps its weights have had; another optimizer of them counts on."""
        return self.count.value

    @step.setter
    def step(self, value: int) -> None:
        self.count.value = value

    @property
    def is_stepping(self) -> bool:
        """Whether it is within a step."""
        return self._taking is not None

    def begins(self, caller: FrameType, others: Iterable["Followed"]) -> bool:
        """Whether a step begins, and not one within a step of the same weights: an optimizer whose
        class calls its parent's `step` is heard twice, and so is one that another steps."""
        for other in others:
            taking = other._taking
            if taking is not None and _is_on_stack(taking, caller):
                if not set(other.places).isdisjoint(self.places):
                    return False
            else:
                other._taking = None  # its step has raised
        self._taking = caller
        return True

    def ends(self, caller: FrameType) -> bool:
        """Whether it is the end of the step that began."""
        if self._taking is not caller:
            return False
        self._taking = None
        return True


def changes_gradients(optimizer: Optimizer) -> bool:
    """Whether a step leaves something else in `.grad` than it used, as PyTorch's SGD with Nesterov
    momentum does with many tensors at once: g + μb."""
    return any(
        group.get("nesterov")
        and "momentum" in group
        and not group.get("fused")
        and (
            group.get("foreach")
            or (group.get("foreach") is None and any(p.is_cuda for p in group["params"]))
        )
        for group in optimizer.param_groups
    )


def size_of(optimizer: Optimizer) -> int:
    """How many parameters it has, of which a person may add some."""
    return sum(len(group["params"]) for group in optimizer.param_groups)


def is_sampled(step: int) -> bool:
    """Whether a step is one of 0, 1, 2, 3, 4, 6, 8, 11, 16, …, two in each doubling."""
    return step < 2 or step == round(2 ** (round(2 * math.log2(step)) / 2))


def _is_on_stack(frame: FrameType, top: FrameType | None) -> bool:
    while top is not None:
        if top is frame:
            return True
        top = top.f_back
    return False


def refuse_closure(optimizer: Optimizer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ConfigError where a step that changes its gradients computes them itself, too."""
    if kwargs.get("closure") is not None or any(argument is not None for argument in args[1:]):
        raise ConfigError(
            f"{type(optimizer).__name__}: with nesterov and foreach it changes the gradients that "
            "its closure has computed; give it foreach=False"
        )


def refuse(optimizer: Optimizer) -> None:
    """Raise ConfigError for an optimizer whose gradients after a step are not those of the step;
    asked as a step begins."""
    name = type(optimizer).__name__
    if isinstance(optimizer, LBFGS):
        raise ConfigError(f"{name}: takes many gradients in a step, of which none is the step's")
    if name == "ZeroRedundancyOptimizer":  # its module needs what not every build has
        raise ConfigError(
            f"{name}: each process steps a part of the weights only; use fully_shard, or a plain "
            "optimizer"
        )
    if in_backward():
        raise ConfigError(
            f"{name}: steps within the backward pass, when other gradients are not there yet"
        )
