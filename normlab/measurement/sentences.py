"""A diagnosis in plain words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from normlab.measurement.figures import CLEAR_GAP, TRAINED_SKILL, skill
from normlab.measurement.states import COLLAPSED_DISTANCE, VANISHING_RATIO, State
from normlab.text import capitalized, percent, plural
from normlab.vocabulary import CAUSES

# A network of this skill or more just misses it, which is said.
_NEARLY_TRAINED = 0.75


@dataclass(frozen=True)
class Learned:
    """How far a network has come in learning its training set."""

    accuracy: float
    chance: float  # accuracy without having learned anything
    step: int
    test_accuracy: float = math.nan
    label_noise: float = 0.0  # the share of training labels that was drawn anew

    @property
    def skill(self) -> float:
        """The share of the way from chance to perfect accuracy."""
        return skill(self.accuracy, self.chance)


def sentence_of_success(learned: Learned, init: State, end: State, cause: str = "none") -> str:
    """Of a network that trains."""
    outcome = f"Train accuracy {percent(learned.accuracy)} after {plural(learned.step, 'step')}"
    if init.diagnosis not in (None, "healthy"):
        outcome = f"{outcome}, although at init {described(init)}."
    elif end.diagnosis == "healthy":
        outcome = f"{outcome}; at the end {described(end)}."
    else:
        outcome = f"{outcome}."
    if noise := _sentence_of_noise(cause, learned):
        return f"{outcome}{noise}"
    if cause != "memorizes":
        return outcome
    return (
        f"{outcome} Test accuracy is {percent(learned.test_accuracy)} (chance is "
        f"{percent(learned.chance)}): {CAUSES[cause].meaning}."
    )


def sentence_of_failure(
    learned: Learned, init: State, end: State, cause: str = "", missing: Sequence[str] = ()
) -> str:
    """Of a network that came to its end without having learned, for some cause."""
    # What is there at init has been said where it is not what is there at the end.
    stays = init.diagnosis in (None, "healthy", end.diagnosis)
    said = not stays and cause in CAUSES and CAUSES[cause].state_at_init is not None
    why = _sentence_of_noise(cause, learned) or sentence_of_cause(cause, missing)
    if cause == "collapsed" and init.distance < COLLAPSED_DISTANCE:
        why = " It forgets that at init already."
    return f"{_failure(learned, init, end)}{'' if said else why}"


def _sentence_of_noise(cause: str, learned: Learned) -> str:
    """A further sentence on a cause of which noisy labels are a part; empty of any other."""
    meanings = {
        "memorizes": "it knows labels by heart that are noise",
        "label_noise": CAUSES["label_noise"].meaning,
    }
    least = CLEAR_GAP if cause == "memorizes" else 0
    if cause not in meanings or learned.label_noise <= least:
        return ""
    return (
        f" {capitalized(meanings[cause])} (data.label_noise={learned.label_noise:g}): on the test "
        f"set's true labels its accuracy is {percent(learned.test_accuracy)}."
    )


def sentence_of_cause(cause: str, missing: Sequence[str] = ()) -> str:
    """A further sentence, with what was not measured; empty for what is no cause of a failure."""
    if cause in ("", "none"):
        return ""
    lacking = f", as these were not measured: {', '.join(missing)}"
    return f" {capitalized(CAUSES[cause].meaning)}{lacking if missing else ''}."


def _failure(learned: Learned, init: State, end: State) -> str:
    needed = learned.chance + TRAINED_SKILL * (1 - learned.chance)
    near = f", {percent(needed)} counts as trained" if learned.skill > _NEARLY_TRAINED else ""
    outcome = (
        f"Train accuracy is {percent(learned.accuracy)} after {plural(learned.step, 'step')} "
        f"(chance is {percent(learned.chance)}{near})"
    )
    if end.diagnosis is None:
        # A snapshot of a network whose only layer is the output has no gradient to judge.
        if end.hidden == 0 < end.step:
            return f"{outcome}; it has no hidden layer, whose gradient could vanish or explode."
        return f"{outcome}; the gradient by layer was not measured."
    ill_at_init = init.diagnosis not in (None, "healthy", end.diagnosis)
    at_init = f"At init {described(init)}" if ill_at_init else ""
    if end.diagnosis == "healthy":
        settled = f"{at_init}; by the end it settled. " if at_init else ""
        return f"{settled}{outcome} though {described(end)}."
    if at_init:
        return f"{at_init}. At the end {described(end)}. {outcome}."
    return f"{capitalized(described(end))}. {outcome}."


def sentence_of_divergence(step: int, init: State, end: State) -> str:
    """Of a network whose loss or gradient was not finite at a step."""
    sentence = f"The loss or a gradient was not finite at step {step}"
    if init.diagnosis == "exploding":
        return f"{sentence}; already at init {described(init)}."
    return f"{sentence}; at step {end.step} {described(end)}." if end.diagnosis else f"{sentence}."


def sentence_of_queries(init: State) -> str:
    """Of attention that does not learn where to look; empty where queries get their gradient."""
    if not init.query_share < VANISHING_RATIO:
        return ""
    return (
        f" Queries are starved of gradient at init: in block {init.query_block} ‖∂W_Q‖ is "
        f"{init.query_share:.2g} of ‖∂W_V‖."
    )


def described(state: State) -> str:
    """A state as half a sentence with its figures."""
    # Fitted to the interior layers, it may point the other way than the ratio, and then explains
    # nothing.
    agrees = (state.factor > 1) == (state.ratio > 1) and state.ratio > 0
    agrees &= math.isfinite(state.factor) and math.isfinite(state.ratio)
    factor = f", ×{state.factor:.3g} per {state.unit} towards the input" if agrees else ""
    unit, multiple = state.unit, _multiple_of(state.ratio)
    hidden = "hidden layer" if unit == "layer" else unit
    of_last = f"{unit} 1 gets {multiple} {unit} {state.last or state.hidden}'s"
    beyond = f", and {_up_to(state.worst, unit)}" if state.worst else ""
    match state.diagnosis:
        case "vanishing" if state.worst == state.hidden:
            return f"no gradient is left: it is 0 in all {state.hidden} {hidden}s"
        case "vanishing" if math.isinf(state.ratio):
            return (
                f"the last {hidden}, {state.hidden}, is dead: no gradient reaches it, "
                f"though some reaches {unit} 1"
            )
        case "vanishing":
            return f"the gradient vanishes{factor}: {of_last}{beyond and f'{beyond} less than 1%'}"
        case "exploding" if math.isnan(state.ratio):
            return f"the gradient explodes: it is not finite up to {unit} {state.worst}"
        case "exploding":
            return (
                f"the gradient explodes{factor}: {of_last}"
                f"{beyond and f'{beyond} more than 100 times'}"
            )
        case "collapsed" if state.distance < COLLAPSED_DISTANCE:
            return (
                f"attention forgets which token is which: from {unit} {state.worst} on, all tokens "
                f"of a sample are next to the same (distance from rank 1 {state.distance:.2g})"
            )
        case "collapsed":
            return (
                f"the layers forget the input: from {unit} {state.worst} on, different samples' "
                f"activations are nearly parallel (mean cosine {state.cosine:.4f})"
            )
        case "healthy" if state.hidden == 1:
            return f"the gradient reaches the one {hidden}"
        case "healthy" if state.last == 1:
            return (
                f"every branch is shut: {unit} 1 gets the gradient through the skips, and no "
                f"{hidden} in a branch gets any"
            )
    return f"the gradient neither vanishes nor explodes ({of_last})"


def _multiple_of(ratio: float) -> str:
    return f"{ratio:.2g} of" if ratio < 1 else f"{ratio:.{2 if ratio < 10 else 3}g} times"


def _up_to(worst: int, unit: str) -> str:
    return f"{unit} 1" if worst == 1 else f"{unit}s 1–{worst}"
