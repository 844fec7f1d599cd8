"""Every sentence that a summary may hold, to the letter."""

import math
from dataclasses import replace

import pytest

from normlab.measurement.sentences import (
    Learned,
    described,
    sentence_of_divergence,
    sentence_of_failure,
    sentence_of_success,
)
from normlab.measurement.states import NOTHING_MEASURED, State

HEALTHY = State(10, "healthy", 0.9, 0.531, 0.5, 6, 0)
VANISHING = State(10, "vanishing", 0.01, 1e-10, 0.5, 6, 4)
EXPLODING = State(0, "exploding", 3.0, 1234.5, 0.5, 6, 1)
COLLAPSED = State(10, "collapsed", 1.0, 1.0, 0.99912, 6, 3)
HALF = Learned(0.53, 0.1, 10)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (HEALTHY, "the gradient neither vanishes nor explodes (layer 1 gets 0.53 of layer 6's)"),
        (State(0, "healthy", math.nan, 1, 0.5, 1, 0), "the gradient reaches the one hidden layer"),
        (
            VANISHING,
            "the gradient vanishes, ×0.01 per layer towards the input: layer 1 gets 1e-10 of layer "
            "6's, and layers 1–4 less than 1%",
        ),
        (
            State(0, "vanishing", math.nan, math.nan, 0.5, 6, 6),
            "no gradient is left: it is 0 in all 6 hidden layers",
        ),
        (
            State(0, "vanishing", 1, math.inf, 0.5, 3, 0),
            "the last hidden layer, 3, is dead: no gradient reaches it, though some reaches "
            "layer 1",
        ),
        (
            EXPLODING,
            "the gradient explodes, ×3 per layer towards the input: layer 1 gets 1.23e+03 times "
            "layer 6's, and layer 1 more than 100 times",
        ),
        (
            State(0, "exploding", math.nan, math.nan, 0.5, 3, 2),
            "the gradient explodes: it is not finite up to layer 2",
        ),
        (
            COLLAPSED,
            "the layers forget the input: from layer 3 on, different samples' activations are "
            "nearly parallel (mean cosine 0.9991)",
        ),
    ],
)
def test_states(state: State, words: str) -> None:
    assert described(state) == words


def test_success() -> None:
    learned = Learned(0.987, 0.1, 30)
    said = "Train accuracy 98.7% after 30 steps"
    assert sentence_of_success(learned, HEALTHY, VANISHING) == f"{said}."
    assert sentence_of_success(learned, HEALTHY, HEALTHY) == (
        f"{said}; at the end {described(HEALTHY)}."
    )
    assert sentence_of_success(learned, EXPLODING, HEALTHY) == (
        f"{said}, although at init {described(EXPLODING)}."
    )


def test_failure() -> None:
    said = "Train accuracy is 53.0% after 10 steps (chance is 10.0%)"

    def sentence(init: State, end: State, *, residual: bool = False) -> str:
        return sentence_of_failure(HALF, init, end, residual=residual)

    assert sentence(HEALTHY, NOTHING_MEASURED) == f"{said}; the gradient was not measured."
    alone = replace(NOTHING_MEASURED, step=10)  # of a network that is its output layer
    assert sentence(alone, alone) == (
        f"{said}; it has no hidden layer, whose gradient could vanish or explode."
    )
    shallow = replace(HEALTHY, hidden=1)
    assert sentence(shallow, shallow) == (
        f"{said} though {described(shallow)}: too slow, or trained for too short a time."
    )
    faint = described(VANISHING)
    assert sentence(HEALTHY, VANISHING) == f"T{faint[1:]}. {said}."
    assert sentence(VANISHING, VANISHING) == f"T{faint[1:]}. {said}."
    assert sentence(EXPLODING, VANISHING) == (
        f"At init {described(EXPLODING)}. At the end {faint}. {said}."
    )
    cause = "slow or degraded, which a shallower or a residual twin would tell"
    assert sentence(HEALTHY, HEALTHY) == f"{said} though {described(HEALTHY)}: {cause}."
    assert sentence(EXPLODING, HEALTHY) == (
        f"At init {described(EXPLODING)}; by the end it settled. "
        f"{said} though {described(HEALTHY)}: {cause}."
    )
    assert sentence(HEALTHY, HEALTHY, residual=True) == (
        f"{said} though {described(HEALTHY)}: slow or degraded, which a shallower twin would tell."
    )


def test_divergence() -> None:
    said = "The loss or a gradient was not finite at step 7"
    assert sentence_of_divergence(7, EXPLODING, VANISHING) == (
        f"{said}; already at init {described(EXPLODING)}."
    )
    assert sentence_of_divergence(7, HEALTHY, COLLAPSED) == (
        f"{said}; at step 10 {described(COLLAPSED)}."
    )
    assert sentence_of_divergence(7, HEALTHY, NOTHING_MEASURED) == f"{said}."


def test_skill_is_the_share_of_the_way_from_chance_to_perfect() -> None:
    assert Learned(0.1, 0.1, 1).skill == 0
    assert Learned(0.55, 0.1, 1).skill == pytest.approx(0.5)
    assert Learned(1.0, 0.1, 1).skill == 1
