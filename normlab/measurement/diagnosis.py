"""A run's measurements to a diagnosis, its cause and evidence, and what is worth trying."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from normlab.config import Config
from normlab.measurement.causes import Found, find_cause
from normlab.measurement.figures import TRAINED_SKILL, TrainingEnd, figures_of
from normlab.measurement.remedies import remedies, to_measure
from normlab.measurement.sentences import (
    Learned,
    described,
    sentence_of_cause,
    sentence_of_divergence,
    sentence_of_failure,
    sentence_of_queries,
    sentence_of_success,
)
from normlab.measurement.states import NOTHING_MEASURED, State, snapshot_steps, state_at

if TYPE_CHECKING:
    from pandas import DataFrame

_SCORES = ("train_acc", "train_loss", "test_acc", "test_loss")


@dataclass(frozen=True)
class Diagnosed:
    """What became of a network, and why.

    `diagnosis` is one of trains, vanishing, exploding, collapsed, undertrained and diverged; of a
    run of no steps it is that of the initial state, healthy among them. Diagnosis and cause are
    None for a run that did not come to its end.
    """

    diagnosis: str | None
    reason: str
    scores: Mapping[str, float]  # of the last evaluation
    init: State
    first_epoch: State
    end: State
    cause: str | None = None  # a name in vocabulary.CAUSES
    evidence: list[dict[str, Any]] = field(default_factory=list)  # what decided it
    advice: list[str] = field(default_factory=list)  # overrides worth trying, best first

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
    """What became of a network and why, by its evaluations and the snapshots of its layers."""
    snapshots = snapshot_steps(layers)
    at_steps = (0, ending.steps_per_epoch, snapshots[-1] if snapshots else None)
    init, first_epoch, end = (
        state_at(layers, step, residual=config.model.residual)
        if step in snapshots
        else NOTHING_MEASURED
        for step in at_steps
    )
    if config.model.is_silent_at_start and 0 in snapshots:
        # No gradient comes through an output layer that is 0, whatever the other layers are like.
        init = state_at(layers.drop(columns="delta_rms", errors="ignore"), 0)
    last = metrics.iloc[-1].to_dict() if len(metrics) else {}
    scores = {key: float(last.get(key, math.nan)) for key in _SCORES}
    if ending.status not in ("finished", "stopped", "diverged"):
        reason = f"So far {described(end)}." if end.diagnosis else ""
        return Diagnosed(None, reason, scores, init, first_epoch, end)
    figures = figures_of(config, metrics, layers, ending, (init, end))
    found = find_cause(figures)
    chance = 1 / ending.classes
    learned = Learned(
        *(scores["train_acc"], chance, ending.step, scores["test_acc"]), figures.label_noise
    )
    diagnosis, reason = _diagnosis_and_reason(ending, learned, init, end, found)
    reason = f"{reason}{sentence_of_queries(init)}"
    if ending.step == 0 and config.model.is_silent_at_start:
        silence = "The output layer begins as 0, by design: at init no other layer gets a gradient."
        reason = f"{reason} {silence}".lstrip()
    return Diagnosed(
        *(diagnosis, reason, scores, init, first_epoch, end, found.cause),
        [fact.to_plain() for fact in found.evidence],
        [to_measure(config)] if found.missing else remedies(found.cause, figures),
    )


def _diagnosis_and_reason(
    ending: TrainingEnd, learned: Learned, init: State, end: State, found: Found
) -> tuple[str | None, str]:
    if ending.status == "diverged":
        sentence = sentence_of_divergence(ending.step, init, end)
        return "diverged", f"{sentence}{sentence_of_cause(found.cause, found.missing)}"
    if ending.step == 0:
        return init.diagnosis, f"At init {described(init)}." if init.diagnosis else ""
    if learned.skill >= TRAINED_SKILL:
        return "trains", sentence_of_success(learned, init, end, found.cause)
    reason = sentence_of_failure(learned, init, end, found.cause, found.missing)
    faulty = end.diagnosis not in (None, "healthy")
    return end.diagnosis if faulty else "undertrained", reason
