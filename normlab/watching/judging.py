"""What became of a watched network, and why, by rules as those of normlab's own runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.measurement import (
    COLLAPSED_COSINE,
    DEAD,
    DECAYED,
    EXPLODING_RATIO,
    FORGOTTEN_COSINE,
    GROWN,
    GROWN_BEFORE_NORM,
    LARGE_STEP,
    SHORT_PATH,
    SMALL_STEP,
    VANISHING_RATIO,
    State,
    Way,
    above,
    below,
    by_block,
    decide,
    growth,
    mean_update,
    snapshot_steps,
    state_at,
    unit_of,
    values_at,
)
from normlab.runs import Summary
from normlab.text import capitalized, plural
from normlab.vocabulary import CAUSES

if TYPE_CHECKING:
    from pandas import DataFrame

# The share of the probe batch's loss at init by which it falls where a network learns. How far it
# could fall is not known: that of a language model ends at the entropy of its text.
LEARNS = 0.2


@dataclass(frozen=True)
class Seen:
    """How far a watched training has come, and what is known of it."""

    status: str  # a name in vocabulary.STATUSES
    reason: str  # a sentence, of an end that is not the training's own
    parameters: int
    step: int
    settings: Mapping[str, Any]
    losses: Sequence[tuple[int, float, float]]  # step, the probe batch's loss in train, eval mode
    logged: Mapping[str, float]  # a person's own figures
    broken_step: int | None  # the first whose gradient was not finite
    probed: bool  # whether there is a probe batch

    @property
    def normalizes(self) -> bool:
        """Whether the network has norm layers."""
        return bool(self.settings["norm"].get("name", "none") != "none")

    @property
    def fall(self) -> float | None:
        """The share of the probe batch's loss at init by which it has fallen, (L₀ − L)/|L₀|; None
        where it was not measured twice."""
        if len(self.losses) < 2 or self.losses[0][0] != 0:
            return None
        return self._fall_to(self.losses[-1][1])

    @property
    def fall_eval_mode(self) -> float:
        """The same to the loss in eval mode; NaN where no running statistics make a difference."""
        return self._fall_to(self.losses[-1][2])

    def _fall_to(self, loss: float) -> float:
        first = self.losses[0][1]
        return (first - loss) / abs(first) if first else math.nan


@dataclass(frozen=True)
class WatchDiagnosis:
    """What became of a watched network: a verdict, its cause, and the facts that decided it."""

    verdict: str | None  # a name in vocabulary.DIAGNOSES; None where nothing was measured
    cause: str | None  # a name in vocabulary.CAUSES
    reason: str
    evidence: Way
    init: State | None
    end: State | None


def judge(layers: "DataFrame", seen: Seen) -> WatchDiagnosis:
    """What became of a network by its layers.parquet and the losses of its probe batch.

    Whether it learned all that there is to learn is not known: a cause is given for a gradient that
    is lost or a step that is not finite, and for weights that hardly moved while the loss stayed.
    """
    steps = snapshot_steps(layers)
    if not steps:
        return _without_snapshots(seen)
    residual = seen.settings["model"].get("residual") is True
    measured = layers.loc[layers["delta_rms"].notna(), "layer"].unique()
    path = by_block(layers[layers["layer"].isin(measured)])
    init, end = (state_at(path, step, residual=residual) for step in (steps[0], steps[-1]))
    noun = unit_of(layers)
    verdict = _verdict(seen, init, end)
    candidates = {"learns": _stale(seen), "healthy": _little_motion(layers, seen)}
    found = decide(candidates.get(verdict, _causes(layers, seen, init, end)))
    cause, evidence = found.cause, found.evidence
    if verdict in candidates and cause == "unknown":
        cause = "none"
    elif verdict == "healthy":
        verdict = "undertrained"
    sentences = [_trained(seen)]
    if init.diagnosis not in ("healthy", end.diagnosis) or not seen.step:
        sentences.append(f"At init {described(init, noun)}.")
    if seen.step:
        when = "At the end" if end.step == seen.step else f"At step {end.step}"
        sentences.append(f"{when} {described(end, noun)}.")
    if cause != "none" and seen.status not in ("failed", "interrupted"):
        sentences.append(f"{capitalized(CAUSES[cause].meaning)}.")
    return WatchDiagnosis(verdict, cause, " ".join(filter(None, sentences)), evidence, init, end)


def _without_snapshots(seen: Seen) -> WatchDiagnosis:
    if seen.broken_step is not None:
        return WatchDiagnosis("diverged", "rate_too_large", _trained(seen), (), None, None)
    reason = ""
    if not seen.step:
        reason = "Nothing is measured yet, as no optimizer has stepped."
    elif not seen.probed:
        reason = "Only gradients were measured; give probe=(x, y, loss_fn) for a diagnosis."
    return WatchDiagnosis(None, None, reason, (), None, None)


def _verdict(seen: Seen, init: State, end: State) -> str:
    if seen.broken_step is not None:
        return "diverged"
    fell = seen.fall is not None and seen.fall > LEARNS
    faulty = end.diagnosis not in (None, "healthy")
    # Where the gradient is lost at both ends the last layers alone have learned. What has forgotten
    # its input learns nothing of it.
    lost = end.diagnosis in ("vanishing", "exploding") and init.diagnosis == end.diagnosis
    if faulty and (lost or not fell):
        return str(end.diagnosis)
    return "learns" if fell else "healthy"


def _trained(seen: Seen) -> str:
    if seen.broken_step is not None:
        return f"A gradient was not finite at step {seen.broken_step}."
    if seen.fall is None:
        return ""
    first, last = seen.losses[0][1], seen.losses[-1][1]
    steps = plural(seen.step, "step")
    return f"The probe batch's loss went from {first:.3g} to {last:.3g} in {steps}."


def described(state: State, noun: str) -> str:
    """A state in words, of a network whose gradient is followed from block to block or layer to
    layer."""
    factor = f", ×{state.factor:.3g} per {noun} towards the input" if state.factor > 0 else ""
    share = f"the first {noun} gets {state.ratio:.2g} times the last one's"
    if math.isnan(state.ratio):
        share = f"that of the first {noun} over the last one's is not finite"
    match state.diagnosis:
        case "vanishing" if math.isnan(state.ratio):
            return f"no gradient is left: it is 0 in every {noun}"
        case "vanishing":
            return f"the gradient vanishes{factor}: {share}"
        case "exploding":
            return f"the gradient explodes{factor}: {share}"
        case "collapsed":
            return (
                "the layers forget the input: different samples' activations are nearly parallel "
                f"(mean cosine {state.cosine:.4f})"
            )
        case "healthy":
            return f"the gradient neither vanishes nor explodes ({share})"
    return f"no gradient was measured in two {noun}s"


# -------------------------------------------------------------------------------- causes


def _causes(
    layers: "DataFrame", seen: Seen, init: State, end: State
) -> Iterable[tuple[str, Iterable[Way]]]:
    """Causes in the order in which they exclude each other, and how each would show itself."""
    ratio_init = above("first/last gradient at init", init.ratio, EXPLODING_RATIO)
    vanishing = below("first/last gradient at init", init.ratio, VANISHING_RATIO)
    cosine = above("samples' mean cosine at init", init.cosine, COLLAPSED_COSINE)
    centred = above(
        "the same less what units have in common", init.centred_cosine, FORGOTTEN_COSINE
    )
    broken = (
        [(above("step of a gradient that is not finite", float(seen.broken_step), -1),)]
        if seen.broken_step is not None
        else []
    )
    yield "exploding_at_init", broken if seen.broken_step == 0 else []
    yield "exploding_at_init", [] if seen.normalizes else [(ratio_init,)]
    yield "vanishing_at_init", [(vanishing,)]
    yield "collapsed", [(cosine, centred)]
    yield "rate_too_large", broken
    grown = growth([values_at(layers, "weight_norm", step) for step in (0, end.step)], 0.0)
    yield "weight_decay", _decayed(seen, grown)
    yield "rate_too_large", _too_large(layers, seen, end, grown)


def _little_motion(layers: "DataFrame", seen: Seen) -> Iterable[tuple[str, Iterable[Way]]]:
    """Of a network with a sound gradient: why it stays where it was."""
    if not seen.step or seen.fall is None:
        return
    update = mean_update(layers, seen.step)
    moved = None if update is None else update * seen.step
    stays = below("fall of the probe batch's loss", seen.fall, LEARNS)
    path = below("sum of ‖ΔW‖/‖W‖ over all steps", moved, SHORT_PATH)
    small = below("mean ‖ΔW‖/‖W‖ of a step", update, SMALL_STEP)
    yield "rate_too_small", [(stays, small, path)]
    yield "too_short", [(stays, path)]


def _stale(seen: Seen) -> Iterable[tuple[str, Iterable[Way]]]:
    """Of a network that learns: whether eval mode shows nothing of it."""
    if seen.fall is not None:
        learned = above("fall of the probe batch's loss", seen.fall, LEARNS)
        lost = below("the same to its loss in eval mode", seen.fall_eval_mode, LEARNS)
        yield "stale_statistics", [(learned, lost)]


def _decayed(seen: Seen, grown: float | None) -> list[Way]:
    decay = seen.settings["optimizer"].get("weight_decay")
    if not isinstance(decay, int | float):
        return []
    kept = below("median ‖W‖ at the end over that at init", grown, DECAYED)
    return [(kept, above("weight decay", float(decay), 0))]


def _too_large(layers: "DataFrame", seen: Seen, end: State, grown: float | None) -> list[Way]:
    dead = [values_at(layers, "dead_fraction", step) for step in (0, end.step)]
    shares = [None if v is None else float(np.nanmean(v)) for v in dead]
    most = GROWN_BEFORE_NORM if seen.normalizes else GROWN
    ways: list[Way] = [
        (above("median ‖W‖ at the end over that at init", grown, most),),
        (
            above("dead units at the end", shares[1], DEAD),
            below("dead units at init", shares[0], DEAD),
        ),
    ]
    if not seen.normalizes:
        update = mean_update(layers, seen.step)
        ways.append((above("mean ‖ΔW‖/‖W‖ of a step", update, LARGE_STEP),))
    return ways


# ------------------------------------------------------------------------------- summary


def summary_of(
    layers: "DataFrame",
    seen: Seen,
    *,
    known: Mapping[str, Any],
) -> Summary:
    """What summary.json says of a watched training; `known` are further fields of it."""
    found = judge(layers, seen)
    scores = {key: value for key, value in seen.logged.items() if key in Summary.model_fields}
    states = {
        f"{figure}_{when}": value
        for when, state in (("init", found.init), ("end", found.end))
        if state is not None
        for figure, value in (
            ("verdict", state.diagnosis),
            ("gradient_factor", state.factor),
            ("gradient_ratio", state.ratio),
            ("sample_cosine", state.cosine),
        )
    }
    figures = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in {**scores, **states}.items()
    }
    judged = None if seen.status in ("failed", "interrupted") else found.verdict
    return Summary.of_watched(
        seen.settings,
        "diverged" if found.verdict == "diverged" and judged else seen.status,
        verdict=judged,
        cause=found.cause if judged else None,
        reason=" ".join(filter(None, (seen.reason, found.reason))),
        evidence=[fact.to_plain() for fact in found.evidence] if judged else [],
        steps=seen.step,
        parameters=seen.parameters,
        **figures,
        **known,
    )
