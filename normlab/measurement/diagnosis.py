"""A run's measurements to a diagnosis, its reason in plain words, and what is worth trying."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from normlab.config import ACTIVATIONS, Config
from normlab.measurement.sentences import (
    Learned,
    described,
    sentence_of_divergence,
    sentence_of_failure,
    sentence_of_success,
)
from normlab.measurement.states import NOTHING_MEASURED, State, snapshot_steps, state_at

if TYPE_CHECKING:
    from pandas import DataFrame

# A network of this skill or more is said to train.
TRAINED_SKILL = 0.9
_SCORES = ("train_acc", "train_loss", "test_acc", "test_loss")


@dataclass(frozen=True)
class TrainingEnd:
    """How a training came to its end."""

    status: str  # a name in vocabulary.STATUSES
    step: int
    classes: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Diagnosed:
    """What became of a network.

    `diagnosis` is one of trains, vanishing, exploding, collapsed, undertrained and diverged; of a
    run of no steps it is that of the initial state, healthy among them; None for a run that did not
    come to its end.
    """

    diagnosis: str | None
    reason: str
    advice: list[str]  # overrides worth trying, most promising first
    scores: Mapping[str, float]  # of the last evaluation
    init: State
    first_epoch: State
    end: State

    def figures(self) -> dict[str, Any]:
        """The scores and the three states under the names that a summary has for them."""
        states = (("init", self.init), ("first_epoch", self.first_epoch), ("end", self.end))
        return {
            **self.scores,
            **{
                f"{name}_{when}": value
                for when, state in states
                for name, value in (
                    ("verdict", state.diagnosis),
                    ("gradient_factor", state.factor),
                    ("gradient_ratio", state.ratio),
                    ("sample_cosine", state.cosine),
                )
            },
        }


def diagnose(
    config: Config, metrics: "DataFrame", layers: "DataFrame", ending: TrainingEnd
) -> Diagnosed:
    """What became of a network, by its evaluations and the snapshots of its layers."""
    snapshots = snapshot_steps(layers)
    at_steps = (0, ending.steps_per_epoch, snapshots[-1] if snapshots else None)
    init, first_epoch, end = (
        state_at(layers, step) if step in snapshots else NOTHING_MEASURED for step in at_steps
    )
    last = metrics.iloc[-1].to_dict() if len(metrics) else {}
    scores = {key: float(last.get(key, math.nan)) for key in _SCORES}
    learned = Learned(scores["train_acc"], 1 / ending.classes, ending.step)
    diagnosis, reason = _diagnosis_and_reason(config, ending, learned, init, end)
    # Units that were alive at init and are dead at the end died of steps too large, not of depth.
    died = init.diagnosis == "healthy" and end.diagnosis == "vanishing" and end.worst == end.hidden
    return Diagnosed(
        diagnosis,
        reason,
        advice(config, "diverged" if died else diagnosis),
        scores,
        init,
        first_epoch,
        end,
    )


def _diagnosis_and_reason(
    config: Config, ending: TrainingEnd, learned: Learned, init: State, end: State
) -> tuple[str | None, str]:
    if ending.status == "diverged":
        return "diverged", sentence_of_divergence(ending.step, init, end)
    if ending.status not in ("finished", "stopped"):
        return None, f"So far {described(end)}." if end.diagnosis else ""
    if ending.step == 0:
        return init.diagnosis, f"At init {described(init)}." if init.diagnosis else ""
    if learned.skill >= TRAINED_SKILL:
        return "trains", sentence_of_success(learned, init, end)
    reason = sentence_of_failure(learned, init, end, residual=config.model.residual)
    faulty = end.diagnosis not in (None, "healthy")
    return end.diagnosis if faulty else "undertrained", reason


def advice(config: Config, diagnosis: str | None) -> list[str]:
    """Overrides worth trying against a diagnosis, most promising first."""
    given = _ADVICE.get(diagnosis or "")
    return given(config) if given else []


def _against_vanishing(config: Config) -> list[str]:
    saturates = ACTIVATIONS[config.model.activation].saturates
    relu = ["model.activation=relu"] if saturates else []
    return [*_batch_norm(config), *_skips(config), *relu]


def _against_exploding(config: Config) -> list[str]:
    norm = [] if config.norm.normalizes else _batch_norm(config)
    skips = _skips(config)
    return [*norm, *skips, *([] if norm or skips else ["model.init_gain=0.5"])]


def _against_collapse(config: Config) -> list[str]:
    # The pooling that follows keeps nothing of a channel but its mean.
    if config.norm.erases_channel_means:
        return ["norm.position=before"]
    return [*_skips(config), *_batch_norm(config)]


def _against_divergence(config: Config) -> list[str]:
    clip = [] if config.training.clip_norm else ["training.clip_norm=1"]
    return [f"optimizer.lr={config.optimizer.lr / 10:g}", *clip]


def _against_too_short_a_training(config: Config) -> list[str]:
    training = config.training
    if training.steps is not None:
        return [*_skips(config), f"training.steps={2 * training.steps}"]
    return [*_skips(config), f"training.epochs={2 * (training.epochs or 1)}"]


_ADVICE = {
    "vanishing": _against_vanishing,
    "exploding": _against_exploding,
    "collapsed": _against_collapse,
    "diverged": _against_divergence,
    "undertrained": _against_too_short_a_training,
}


def _skips(config: Config) -> list[str]:
    # A skip leads around a hidden layer that follows another.
    return [] if config.model.residual or config.model.depth < 3 else ["model.residual=true"]


def _batch_norm(config: Config) -> list[str]:
    # A batch of one vector has no variance to normalize by.
    lone = not config.model.spatial and config.training.batch_size == 1
    return [] if config.norm.over_batch or lone else ["norm=bn"]
