"""A diagnosis in plain words."""

import math
from dataclasses import dataclass

from normlab.measurement.states import State
from normlab.text import capitalized, percent


@dataclass(frozen=True)
class Learned:
    """How far a network has come in learning its training set."""

    accuracy: float
    chance: float  # accuracy without having learned anything
    step: int

    @property
    def skill(self) -> float:
        """The share of the way from chance to perfect accuracy."""
        return (self.accuracy - self.chance) / (1 - self.chance)


def sentence_of_success(learned: Learned, init: State, end: State) -> str:
    """Of a network that trains."""
    outcome = f"Train accuracy {percent(learned.accuracy)} after {learned.step} steps"
    if init.diagnosis not in (None, "healthy"):
        return f"{outcome}, although at init {described(init)}."
    return (
        f"{outcome}; at the end {described(end)}." if end.diagnosis == "healthy" else f"{outcome}."
    )


def sentence_of_failure(learned: Learned, init: State, end: State, *, residual: bool) -> str:
    """Of a network that came to its end without having learned."""
    outcome = (
        f"Train accuracy is {percent(learned.accuracy)} after {learned.step} steps "
        f"(chance is {percent(learned.chance)})"
    )
    if end.diagnosis is None:
        # A snapshot of a network whose only layer is the output has no gradient to judge.
        if end.hidden == 0 < end.step:
            return f"{outcome}; it has no hidden layer, whose gradient could vanish or explode."
        return f"{outcome}; the gradient was not measured."
    ill_at_init = init.diagnosis not in (None, "healthy", end.diagnosis)
    at_init = f"At init {described(init)}" if ill_at_init else ""
    if end.diagnosis == "healthy":
        settled = f"{at_init}; by the end it settled. " if at_init else ""
        twin = "a shallower twin" if residual else "a shallower or a residual twin"
        cause = f"slow or degraded, which {twin} would tell"
        if end.hidden == 1:  # too shallow for depth to do harm
            cause = "too slow, or trained for too short a time"
        return f"{settled}{outcome} though {described(end)}: {cause}."
    if at_init:
        return f"{at_init}. At the end {described(end)}. {outcome}."
    return f"{capitalized(described(end))}. {outcome}."


def sentence_of_divergence(step: int, init: State, end: State) -> str:
    """Of a network whose loss or gradient was not finite at a step."""
    sentence = f"The loss or a gradient was not finite at step {step}"
    if init.diagnosis == "exploding":
        return f"{sentence}; already at init {described(init)}."
    return f"{sentence}; at step {end.step} {described(end)}." if end.diagnosis else f"{sentence}."


def described(state: State) -> str:
    """A state as half a sentence with its figures."""
    factor = f"×{state.factor:.3g} per layer towards the input"
    of_last = f"layer 1 gets {_multiple_of(state.ratio)} layer {state.hidden}'s"
    match state.diagnosis:
        case "vanishing" if state.worst == state.hidden:
            return f"no gradient is left: it is 0 in all {state.hidden} hidden layers"
        case "vanishing" if math.isinf(state.ratio):
            return (
                f"the last hidden layer, {state.hidden}, is dead: no gradient reaches it, "
                "though some reaches layer 1"
            )
        case "vanishing":
            return (
                f"the gradient vanishes, {factor}: {of_last}, "
                f"and {_up_to_layer(state.worst)} less than 1%"
            )
        case "exploding" if math.isnan(state.ratio):
            return f"the gradient explodes: it is not finite up to layer {state.worst}"
        case "exploding":
            return (
                f"the gradient explodes, {factor}: {of_last}, "
                f"and {_up_to_layer(state.worst)} more than 100 times"
            )
        case "collapsed":
            return (
                f"the layers forget the input: from layer {state.worst} on, different samples' "
                f"activations are nearly parallel (mean cosine {state.cosine:.4f})"
            )
        case "healthy" if state.hidden == 1:
            return "the gradient reaches the one hidden layer"
    return f"the gradient neither vanishes nor explodes ({of_last})"


def _multiple_of(ratio: float) -> str:
    return f"{ratio:.2g} of" if ratio < 10 else f"{ratio:.3g} times"


def _up_to_layer(worst: int) -> str:
    return "layer 1" if worst == 1 else f"layers 1–{worst}"
