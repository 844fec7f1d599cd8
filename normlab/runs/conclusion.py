"""What is concluded at a run's end: its summary, also where a part of it cannot be computed."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from normlab.config import Config
from normlab.measurement import TrainingEnd, diagnose, predict
from normlab.runs.provenance import made_with
from normlab.runs.summary import Summary
from normlab.text import capitalized, error_line

if TYPE_CHECKING:
    from pandas import DataFrame

    from normlab.training import Started

Tables = tuple["DataFrame", "DataFrame"]


class Ending(NamedTuple):
    """How training ended."""

    status: str
    step: int
    reason: str
    seconds: float


class Conclusion(NamedTuple):
    """A run's summary, and the error that made it fail after its training."""

    summary: Summary
    fault: Exception | None


def conclude(
    config: Config,
    started: "Started",
    ending: Ending,
    tables: Callable[[], Tables],
    environment: Mapping[str, Any],
) -> Conclusion:
    """The summary of a run that has ended, from its tables of metrics and layers.

    Never raises: where the diagnosis or the prediction cannot be computed, a run with a result
    becomes a failed one, which says so and keeps all other figures.
    """

    def diagnosed() -> dict[str, Any]:
        metrics, layers = tables()
        end = TrainingEnd(
            *(ending.status, ending.step, started.classes, started.steps_per_epoch),
            started.parameters,
        )
        found = diagnose(config, metrics, layers, end)
        return {
            "verdict": found.diagnosis,
            "reason": _sentences(ending.reason, found.reason, _leak(config)),
            "cause": found.cause,
            "evidence": found.evidence,
            "try": found.advice,
            **found.figures(),
        }

    def predicted() -> dict[str, Any]:
        prediction = predict(config)
        return {"gradient_factor_theory": prediction.factor if prediction else None}

    summary = Summary.pending(
        config,
        ending.status,
        reason=ending.reason,
        steps=ending.step,
        seconds=ending.seconds,
        parameters=started.parameters,
        layers=started.layers,
        classes=started.classes,
        **made_with(environment),
    )
    faults: dict[str, Exception] = {}
    for name, compute in (("diagnosis", diagnosed), ("prediction", predicted)):
        try:
            summary = _completed(summary, compute())
        except Exception as error:  # what was trained and measured must not be lost by it
            faults[name] = error
    return _admit(faults, summary, ending) if faults else Conclusion(summary, None)


def _leak(config: Config) -> str:
    """What is to be said where padding changes what a network makes of real tokens."""
    norm = config.norm
    if not (config.data.is_padded and config.model.uses_norm and norm.sees_padding):
        return ""
    return f"What lies in padding reaches real tokens, which {norm.phrase} normalizes with it."


def _admit(faults: dict[str, Exception], summary: Summary, ending: Ending) -> Conclusion:
    """A summary that says which parts of it could not be computed."""
    missing = _sentences(
        *(
            f"the {name} could not be computed ({error_line(error)})."
            for name, error in faults.items()
        )
    )
    if not summary.final:
        reason = _sentences(summary.reason, missing)
        return Conclusion(_completed(summary, {"reason": reason}), None)
    reason = f"Training ended at step {ending.step}, but {missing}"
    failed: dict[str, Any] = {"status": "failed", "verdict": None, "reason": reason}
    failed |= {"cause": None, "evidence": [], "try": []}
    return Conclusion(_completed(summary, failed), next(iter(faults.values())))


def _completed(summary: Summary, figures: dict[str, Any]) -> Summary:
    """A summary with more figures, checked again; None for those that are not finite."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in figures.items()
    }
    return Summary.model_validate({**summary.to_plain(), **finite})


def _sentences(*parts: str) -> str:
    """One after another those that are not empty; the first begins as it was written."""
    first, *others = [part for part in parts if part] or [""]
    for other in others:
        first = f"{first}{'' if first.endswith('.') else '.'} {capitalized(other)}"
    return first
