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
    LEARNED_LOSS,
    PROBE_LOSS,
    SHORT_PATH,
    SMALL_STEP,
    STALE_RATIO,
    STILL_FALLING,
    VANISHING_RATIO,
    State,
    Way,
    above,
    below,
    by_block,
    decide,
    growth,
    has_blocks,
    mean_update,
    snapshot_steps,
    state_at,
    values_at,
)
from normlab.runs import Summary
from normlab.text import capitalized, plural
from normlab.vocabulary import CAUSES

if TYPE_CHECKING:
    from pandas import DataFrame

# The loss of the probe batch at the end over that at init, below which a network learns.
LEARNS = 0.5


@dataclass(frozen=True)
class Seen:
    """How far a watched training has come, and what is known of it."""

    status: str  # a name in vocabulary.STATUSES
    step: int
    settings: Mapping[str, Any]
    losses: Sequence[tuple[int, float, float]]  # step, the probe batch's loss in train, eval mode
    logged: Mapping[str, float]  # a person's own figures
    broken_step: int | None  # the first whose gradient was not finite

    @property
    def normalizes(self) -> bool:
        """Whether the network has norm layers."""
        return bool(self.settings["norm"].get("name", "none") != "none")

    @property
    def loss_ratio(self) -> float | None:
        """The probe batch's loss over that at init; None where it was not measured twice."""
        if len(self.losses) < 2 or self.losses[0][0] != 0:
            return None
        first, last = self.losses[0][1], self.losses[-1][1]
        return last / first if first > 0 else math.nan

    @property
    def falling(self) -> float | None:
        """The share of the probe batch's loss that was lost since the last snapshot in the third
        quarter of the steps; None where there is none."""
        before = [
            loss for step, loss, _ in self.losses if self.step / 2 <= step <= self.step * 0.75
        ]
        if not before or self.losses[-1][0] < self.step:
            return None
        return 1 - self.losses[-1][1] / before[-1] if before[-1] > 0 else math.nan


@dataclass(frozen=True)
class WatchDiagnosis:
    """What became of a watched network: a verdict, its cause, and the facts that decided it."""

    verdict: str | None  # a name in vocabulary.DIAGNOSES; None where nothing was measured
    cause: str | None  # a name in vocabulary.CAUSES
    reason: str
    evidence: Way
    init: State | None
    end: State | None

    def __str__(self) -> str:
        return f"{self.verdict or 'not judged'}. {self.reason}".strip()


def judge(layers: "DataFrame", seen: Seen) -> WatchDiagnosis:
    """What became of a network by its layers.parquet and the losses of its probe batch."""
    steps = snapshot_steps(layers)
    if not steps:
        if seen.broken_step is not None:
            reason = f"A gradient was not finite at step {seen.broken_step}."
            return WatchDiagnosis("diverged", "rate_too_large", reason, (), None, None)
        reason = "Only gradients were measured; give probe=(x, y, loss_fn) for a diagnosis."
        return WatchDiagnosis(None, None, reason, (), None, None)
    residual = seen.settings["model"].get("residual") is True
    measured = layers.loc[layers["delta_rms"].notna(), "layer"].unique()
    path = by_block(layers[layers["layer"].isin(measured)])
    init, end = (state_at(path, step, residual=residual) for step in (steps[0], steps[-1]))
    noun = "block" if has_blocks(layers) else "layer"
    found = decide(_causes(layers, seen, init, end))
    sentences = [_trained(seen)]
    if seen.broken_step is not None:
        verdict = "diverged"
    elif not seen.step:
        verdict = init.diagnosis or "healthy"
    elif found.cause == "none":
        verdict = "learns"
    else:
        verdict = end.diagnosis if end.diagnosis not in (None, "healthy") else "undertrained"
    if init.diagnosis not in ("healthy", end.diagnosis) or not seen.step:
        sentences.append(f"At init {described(init, noun)}.")
    if seen.step:
        sentences.append(f"At the end {described(end, noun)}.")
    if found.cause not in ("none", "unknown") or verdict not in ("learns", "healthy"):
        lacking = (
            f", as these were not measured: {', '.join(found.missing)}" if found.missing else ""
        )
        sentences.append(f"{capitalized(CAUSES[found.cause].meaning)}{lacking}.")
    reason = " ".join(filter(None, sentences))
    return WatchDiagnosis(verdict, found.cause, reason, found.evidence, init, end)


def _trained(seen: Seen) -> str:
    if seen.broken_step is not None:
        return f"A gradient was not finite at step {seen.broken_step}."
    if seen.loss_ratio is None:
        return ""
    first, last = seen.losses[0][1], seen.losses[-1][1]
    steps = plural(seen.step, "step")
    return f"The probe batch's loss went from {first:.3g} to {last:.3g} in {steps}."


def described(state: State, noun: str) -> str:
    """A state in words, of a network whose gradient is followed from block to block or layer to
    layer."""
    factor = f", ×{state.factor:.3g} per {noun} towards the input" if state.factor > 0 else ""
    ratio = "not finite" if math.isnan(state.ratio) else f"{state.ratio:.2g} times"
    share = f"the first {noun} gets {ratio} the last one's"
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
    update = mean_update(layers, seen.step)
    step = "mean ‖ΔW‖/‖W‖ of a step", update
    path = below(
        "sum of ‖ΔW‖/‖W‖ over all steps", None if update is None else update * seen.step, SHORT_PATH
    )
    broken = (
        [(above("loss or gradient", math.inf, 3.4e38),)] if seen.broken_step is not None else []
    )
    yield "none", _learns(seen)
    yield "exploding_at_init", broken if seen.broken_step == 0 else []
    yield "stale_statistics", _stale(seen)
    yield "exploding_at_init", [] if seen.normalizes else [(ratio_init,)]
    yield "vanishing_at_init", [(vanishing,)]
    yield "collapsed", [(cosine, centred)]
    yield "rate_too_large", broken
    if not seen.step:
        yield "none", [(below("first/last gradient at init", init.ratio, math.inf),)]
        return
    yield "weight_decay", _decayed(layers, seen, end)
    yield "rate_too_small", [(below(*step, SMALL_STEP), path)]
    yield "too_short", [(path,)]
    yield "rate_too_large", _too_large(layers, seen, end, update)
    yield (
        "too_short",
        [(above("fall of the loss in the last quarter", seen.falling, STILL_FALLING),)],
    )


def _learns(seen: Seen) -> list[Way]:
    if seen.broken_step is not None or seen.loss_ratio is None:
        return []
    return [(below("probe batch's loss at the end over that at init", seen.loss_ratio, LEARNS),)]


def _stale(seen: Seen) -> list[Way]:
    """Where running statistics spoil what was learned."""
    if not seen.losses or math.isnan(seen.losses[-1][2]) or seen.loss_ratio is None:
        return []
    _, trained, evaluated = seen.losses[-1]
    apart = evaluated / trained if trained > 0 else math.nan
    return [
        (
            below("train-mode loss over that at init", seen.loss_ratio, LEARNED_LOSS, PROBE_LOSS),
            above("eval-mode loss over train-mode loss", apart, STALE_RATIO, PROBE_LOSS),
        )
    ]


def _decayed(layers: "DataFrame", seen: Seen, end: State) -> list[Way]:
    decay = seen.settings["optimizer"].get("weight_decay")
    weights = [values_at(layers, "weight_norm", step) for step in (0, end.step)]
    kept = growth(weights, 0.0)
    if not isinstance(decay, int | float):
        return []
    return [
        (
            below("median ‖W‖ at the end over that at init", kept, DECAYED),
            above("weight decay", float(decay), 0),
        )
    ]


def _too_large(layers: "DataFrame", seen: Seen, end: State, update: float | None) -> list[Way]:
    weights = [values_at(layers, "weight_norm", step) for step in (0, end.step)]
    dead = [values_at(layers, "dead_fraction", step) for step in (0, end.step)]
    shares = [None if v is None else float(np.nanmean(v)) for v in dead]
    most = GROWN_BEFORE_NORM if seen.normalizes else GROWN
    ways: list[Way] = [
        (above("median ‖W‖ at the end over that at init", growth(weights, 0.0), most),),
        (
            above("dead units at the end", shares[1], DEAD),
            below("dead units at init", shares[0], DEAD),
        ),
    ]
    if not seen.normalizes:
        ways.append((above("mean ‖ΔW‖/‖W‖ of a step", update, LARGE_STEP),))
    return ways


# ------------------------------------------------------------------------------- summary


def summary_of(
    layers: "DataFrame",
    seen: Seen,
    *,
    reason: str,
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
        reason=" ".join(filter(None, (reason, found.reason))),
        evidence=[fact.to_plain() for fact in found.evidence] if judged else [],
        steps=seen.step,
        **figures,
        **known,
    )
