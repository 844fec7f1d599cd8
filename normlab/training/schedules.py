"""Schedules: the learning rate as a pure function of the step.

A schedule's own fractions count from the start of training, warm-up included.
"""

import math
from typing import Annotated, Literal

from pydantic import Field

from normlab.config import SCHEDULES, Config, Fraction, NonNegative, Positive, Schedule, Whole


class WarmUp(Schedule):
    """Scales a schedule from warmup_factor to 1 over the first warmup_steps."""

    warmup_steps: Whole
    warmup_factor: NonNegative
    warmup_shape: Literal["linear", "constant"]

    def factor(self, step: int, steps: int) -> float:
        factor = self.factor_after_warmup(step / steps)
        if step < self.warmup_steps:
            begin = self.warmup_factor
            share = step / self.warmup_steps if self.warmup_shape == "linear" else 0.0
            factor *= begin + (1 - begin) * share
        return factor

    def factor_after_warmup(self, done: float) -> float:
        """The factor when a share `done` of the training lies behind."""
        raise NotImplementedError


@SCHEDULES.register("constant")
class Constant(WarmUp):
    """The same learning rate throughout."""

    def factor_after_warmup(self, done: float) -> float:  # noqa: ARG002
        return 1.0


@SCHEDULES.register("multistep")
class MultiStep(WarmUp):
    """Multiply the learning rate by gamma at each milestone, a fraction of the training."""

    milestones: Annotated[tuple[Fraction, ...], Field(strict=False)]
    gamma: Positive

    def factor_after_warmup(self, done: float) -> float:
        return self.gamma ** sum(done >= milestone for milestone in self.milestones)


@SCHEDULES.register("cosine")
class Cosine(WarmUp):
    """Half a cosine down to final_factor."""

    final_factor: NonNegative

    def factor_after_warmup(self, done: float) -> float:
        return _half_cosine(1.0, self.final_factor, done)


@SCHEDULES.register("onecycle")
class OneCycle(Schedule):
    """Up along half a cosine, then down along another (Smith & Topin 2019, whose are straight).

    The first step has start_factor and the last final_factor.
    """

    rise: Annotated[float, Field(gt=0, lt=1)]
    start_factor: Fraction
    final_factor: Fraction

    def factor(self, step: int, steps: int) -> float:
        place, peak = step / max(steps - 1, 1), self.rise
        if place < peak:
            return _half_cosine(self.start_factor, 1.0, place / peak)
        return _half_cosine(1.0, self.final_factor, (place - peak) / (1 - peak))


def learning_rate(config: Config, step: int, steps: int) -> float:
    """The learning rate of training step `step` (from 0) of `steps`."""
    return config.optimizer.lr * config.schedule.factor(step, steps)


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
