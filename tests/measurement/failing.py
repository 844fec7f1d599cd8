"""The figures of trainings that fail for one reason alone, and of one that is sound."""

import functools
import math
from dataclasses import replace
from typing import Any

from normlab.config import Config, compose
from normlab.measurement.figures import Figures, TrainingEnd
from normlab.measurement.states import State


@functools.cache
def composed(*overrides: str) -> Config:
    return compose(overrides)


def state(**changes: Any) -> State:
    sound = State(10, "healthy", 1.0, 0.7, 0.5, 4, 0, 0.4, 4)
    return replace(sound, **changes)


def figures(*overrides: str, **changes: Any) -> Figures:
    """A training of 165 steps that did not learn, with nothing to blame: ten classes."""
    known: dict[str, Any] = {
        "config": composed("model=mlp", "model.depth=5", "norm=none", *overrides),
        "ending": TrainingEnd("finished", 165, 10, 11, 10_000),
        "train_skill": 0.4,
        "test_skill": 0.4,
        "chance_loss": math.log(10),
        "init": state(step=0),
        "end": state(),
        "loss_init": 2.5,
        "loss_end": 2.0,
        "loss_end_eval_mode": 2.0,
        "falling": 0.01,
        "gain_init": 1.4,
        "weight_kept": 1.05,
        "weight_growth": 1.05,
        "update": 0.01,
        "dead_init": 0.02,
        "dead_end": 0.05,
        "clip_factor": None,
    }
    return Figures(**{**known, **changes})
