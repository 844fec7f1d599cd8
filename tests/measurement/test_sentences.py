"""Every sentence that a summary may hold, to the letter."""

import math
from dataclasses import replace

import pytest

from normlab.measurement.sentences import (
    Learned,
    described,
    sentence_of_divergence,
    sentence_of_failure,
    sentence_of_queries,
    sentence_of_success,
)
from normlab.measurement.states import NOTHING_MEASURED, State

HEALTHY = State(10, "healthy", 0.9, 0.531, 0.5, 6, 0)
VANISHING = State(10, "vanishing", 0.01, 1e-10, 0.5, 6, 4)
EXPLODING = State(0, "exploding", 3.0, 1234.5, 0.5, 6, 1)
COLLAPSED = State(10, "collapsed", 1.0, 1.0, 0.99912, 6, 3)
ONE_TOKEN = replace(HEALTHY, diagnosis="collapsed", unit="block", worst=3, distance=1.52e-7)
HALF = Learned(0.53, 0.1, 10)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (HEALTHY, "the gradient neither vanishes nor explodes (layer 1 gets 0.53 of layer 6's)"),
        (State(0, "healthy", math.nan, 1, 0.5, 1, 0), "the gradient reaches the one hidden layer"),
        (
            replace(HEALTHY, ratio=1.0, last=1),
            "every branch is shut: layer 1 gets the gradient through the skips, and no hidden "
            "layer in a branch gets any",
        ),
        (
            VANISHING,
            "the gradient vanishes, ×0.01 per layer towards the input: layer 1 gets 1e-10 of layer "
            "6's, and layers 1–4 less than 1%",
        ),
        (
            ONE_TOKEN,
            "attention forgets which token is which: from block 3 on, all tokens of a sample are "
            "next to the same (distance from rank 1 1.5e-07)",
        ),
        (
            replace(COLLAPSED, unit="block", distance=0.2),
            "the layers forget the input: from block 3 on, different samples' activations are "
            "nearly parallel (mean cosine 0.9991)",
        ),
        (
            replace(VANISHING, unit="block"),
            "the gradient vanishes, ×0.01 per block towards the input: block 1 gets 1e-10 of block "
            "6's, and blocks 1–4 less than 1%",
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

    def sentence(init: State, end: State, cause: str = "") -> str:
        return sentence_of_failure(HALF, init, end, cause)

    assert sentence(HEALTHY, NOTHING_MEASURED) == f"{said}; the gradient by layer was not measured."
    alone = replace(NOTHING_MEASURED, step=10)  # of a network that is its output layer
    assert sentence(alone, alone) == (
        f"{said}; it has no hidden layer, whose gradient could vanish or explode."
    )
    shallow = replace(HEALTHY, hidden=1)
    assert sentence(shallow, shallow) == f"{said} though {described(shallow)}."
    faint = described(VANISHING)
    assert sentence(HEALTHY, VANISHING) == f"T{faint[1:]}. {said}."
    assert sentence(VANISHING, VANISHING) == f"T{faint[1:]}. {said}."
    assert sentence(EXPLODING, VANISHING) == (
        f"At init {described(EXPLODING)}. At the end {faint}. {said}."
    )
    assert sentence(HEALTHY, HEALTHY, "rate_too_small") == (
        f"{said} though {described(HEALTHY)}. The learning rate is too small."
    )
    assert sentence(EXPLODING, HEALTHY, "none") == (
        f"At init {described(EXPLODING)}; by the end it settled. "
        f"{said} though {described(HEALTHY)}."
    )


@pytest.mark.parametrize(("accuracy", "told"), [(0.776, True), (0.774, False)])
def test_how_near_a_network_came(accuracy: float, told: bool) -> None:
    sentence = sentence_of_failure(replace(HALF, accuracy=accuracy), HEALTHY, HEALTHY)
    assert (", 91.0% counts as trained)" in sentence) is told


def test_a_network_that_trains_and_only_guesses_on_the_test_set() -> None:
    learned = Learned(1.0, 0.1, 30, test_accuracy=0.105)
    sentence = sentence_of_success(learned, HEALTHY, HEALTHY, "memorizes")
    assert sentence.endswith(
        "Test accuracy is 10.5% (chance is 10.0%): what it learned is true of the training samples "
        "alone."
    )
    assert "Test" not in sentence_of_success(learned, HEALTHY, HEALTHY, "none")


def test_noisy_labels_are_told_with_the_accuracy_on_true_ones() -> None:
    learned = Learned(0.5, 0.1, 30, test_accuracy=0.9, label_noise=0.5)
    told = " (data.label_noise=0.5): on the test set's true labels its accuracy is 90.0%."
    assert sentence_of_failure(learned, HEALTHY, HEALTHY, "label_noise").endswith(
        f". The labels that it did not learn are noise{told}"
    )
    for sentence in (
        sentence_of_failure(learned, HEALTHY, HEALTHY, "memorizes"),
        sentence_of_success(replace(learned, accuracy=1.0), HEALTHY, HEALTHY, "memorizes"),
    ):
        assert sentence.endswith(f". It knows labels by heart that are noise{told}")
    assert "noise" not in sentence_of_failure(learned, HEALTHY, HEALTHY, "rate_too_small")
    little = replace(learned, label_noise=0.05)  # which is not why the test set shows nothing
    assert "noise" not in sentence_of_failure(little, HEALTHY, HEALTHY, "memorizes")


@pytest.mark.parametrize(
    "state",
    [
        State(10, "vanishing", 1.05, 0.002, 0.5, 6, 1),  # the slope points the other way
        State(10, "vanishing", math.nan, 0.0, 0.5, 6, 3),
        State(10, "exploding", 0.98, 150.0, 0.5, 6, 1),
        State(10, "vanishing", math.nan, 0.0, 0.5, 6, 0),
        State(10, "exploding", math.nan, math.inf, 0.5, 6, 0),
    ],
)
def test_no_figure_contradicts_another(state: State) -> None:
    said = described(state)
    assert "per layer" not in said
    assert "nan" not in said
    assert "–0" not in said


def test_the_open_branch_is_named_with_which_layer_1_is_compared() -> None:
    assert "layer 1 gets 0.53 of layer 4's" in described(replace(HEALTHY, last=4))


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


def test_starved_queries_are_said() -> None:
    said = sentence_of_queries(replace(HEALTHY, query_share=2.8e-4, query_block=12))
    assert said == (
        " Queries are starved of gradient at init: in block 12 ‖∂W_Q‖ is 0.00028 of ‖∂W_V‖."
    )
    for share in (0.0101, math.nan):
        assert sentence_of_queries(replace(HEALTHY, query_share=share)) == ""
