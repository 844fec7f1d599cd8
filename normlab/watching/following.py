"""The optimizers that step watched weights, and which of them a watch refuses."""

import math
from collections.abc import Iterable, Sequence
from types import FrameType

from torch import Tensor
from torch.optim import LBFGS, Optimizer

from normlab.errors import ConfigError
from normlab.watching.gradients import NormRing
from normlab.watching.untouched import in_backward
from normlab.watching.weights import WatchedWeight


class Followed:
    """An optimizer that steps watched weights, and how far it has come."""

    def __init__(self, optimizer: Optimizer, weights: Sequence[WatchedWeight], step: int = 0):
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.places = [i for i, weight in enumerate(weights) if id(weight.parameter) in own]
        self.parameters: list[Tensor] = [weights[place].parameter for place in self.places]
        self.size = size_of(optimizer)
        self.step = step
        self.ring = NormRing(self.parameters)
        self.before: list[Tensor] | None = None  # the weights, where this step's update is measured
        self._taking: FrameType | None = None  # the step that is being taken

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
