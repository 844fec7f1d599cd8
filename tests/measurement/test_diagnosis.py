import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame

from normlab.config import Config, compose
from normlab.measurement import (
    COLLAPSED_COSINE,
    EXPLODING_RATIO,
    VANISHING_RATIO,
    TrainingEnd,
    diagnose,
)
from normlab.measurement.diagnosis import TRAINED_SKILL, advice
from normlab.measurement.states import gradient_factor, gradient_ratio, state_at

DEFAULT = compose()


def snapshot(step: int, deltas: list[float], cosine: float = 0.5) -> DataFrame:
    """Layers from input to output; the output layer's δ is added and must not matter."""
    count = len(deltas) + 1
    return DataFrame(
        {
            "step": step,
            "layer": range(1, count + 1),
            "delta_rms": [*deltas, 123.0],
            "sample_cosine": [*[cosine] * len(deltas), 1.0],
        }
    )


def in_summary(
    config: Config, metrics: DataFrame, layers: DataFrame, status: str, step: int
) -> dict[str, Any]:
    """A diagnosis under the names that a summary has for it; ten classes, five steps an epoch."""
    found = diagnose(config, metrics, layers, TrainingEnd(status, step, 10, 5))
    words = {"verdict": found.diagnosis, "reason": found.reason, "try": found.advice}
    return {**words, **found.figures()}


def verdict(
    deltas: list[float],
    accuracy: float,
    *,
    at_init: list[float] | None = None,
    status: str = "finished",
    step: int = 10,
    cosine: float = 0.5,
    config: Config = DEFAULT,
) -> dict[str, Any]:
    layers = DataFrame(
        np.concatenate(
            [snapshot(0, at_init or deltas).values, snapshot(step, deltas, cosine).values]
        )
        if step
        else snapshot(0, deltas, cosine).values,
        columns=["step", "layer", "delta_rms", "sample_cosine"],
    )
    metrics = DataFrame(
        [{"train_acc": accuracy, "train_loss": 1.0, "test_acc": 0.1, "test_loss": 2.0}]
    )
    return in_summary(config, metrics, layers, status, step)


@given(
    factor=st.floats(0.05, 20),
    layers=st.integers(2, 30),
    scale=st.floats(1e-6, 1e6),
)
def test_an_exact_geometric_gradient(factor: float, layers: int, scale: float) -> None:
    """δ falls by the factor a layer towards the input: slope and ratio are known exactly."""
    deltas = scale * factor ** np.arange(layers - 1, -1, -1.0)
    assert gradient_factor(deltas) == pytest.approx(factor, rel=1e-9)
    assert gradient_ratio(deltas) == pytest.approx(factor ** (layers - 1), rel=1e-9)


def test_the_slope_leaves_the_first_and_last_hidden_layer_out() -> None:
    assert gradient_factor(np.array([1e9, 1.0, 2.0, 4.0, 1e-9])) == pytest.approx(0.5)


def test_zeros_are_left_out_of_the_slope() -> None:
    deltas = np.array([0, 0, 0, 1.0, 2.0, 4.0, 8.0])
    assert gradient_factor(deltas) == pytest.approx(0.5)
    assert gradient_ratio(deltas) == 0


@pytest.mark.parametrize("deltas", [[], [1.0], [0.0, 0.0, 0.0]])
def test_no_slope_without_two_layers(deltas: list[float]) -> None:
    assert math.isnan(gradient_factor(np.array(deltas)))


def test_ratio_without_a_last_gradient() -> None:
    assert gradient_ratio(np.array([1.0, 0.0])) == math.inf
    assert math.isnan(gradient_ratio(np.array([0.0, 0.0])))
    assert math.isnan(gradient_ratio(np.array([])))


@pytest.mark.parametrize(
    ("deltas", "cosine", "expected", "worst"),
    [
        ([1.0, 1.0, 1.0, 1.0], 0.5, "healthy", 0),
        # on both sides of each threshold
        ([VANISHING_RATIO * 1.01, 0.1, 1.0], 0.5, "healthy", 0),
        ([VANISHING_RATIO * 0.99, 0.1, 1.0], 0.5, "vanishing", 1),
        ([EXPLODING_RATIO * 0.99, 10.0, 1.0], 0.5, "healthy", 0),
        ([EXPLODING_RATIO * 1.01, 10.0, 1.0], 0.5, "exploding", 1),
        ([1.0, 1.0], COLLAPSED_COSINE - 1e-6, "healthy", 0),
        ([1.0, 1.0], COLLAPSED_COSINE + 1e-6, "collapsed", 1),
        # how far the fault reaches
        ([1e-9, 1e-6, 1e-3, 0.5, 1.0], 0.5, "vanishing", 3),
        ([1e9, 1e6, 1e3, 5.0, 1.0], 0.5, "exploding", 3),
        # a vanishing gradient outranks alike activations, which it brings
        ([1e-9, 1.0], 1.0, "vanishing", 1),
        ([0.0, 0.0, 1.0], 0.5, "vanishing", 2),
        ([0.0, 0.0, 0.0], 0.5, "vanishing", 3),
        ([math.inf, math.nan, 1.0], 0.5, "exploding", 2),
        # a skip around a dead last layer
        ([1e-9, 0.0, 0.0], 0.5, "vanishing", 0),
        ([1.0], 0.5, "healthy", 0),
    ],
)
def test_state(deltas: list[float], cosine: float, expected: str, worst: int) -> None:
    state = state_at(snapshot(3, deltas, cosine), 3)
    assert (state.diagnosis, state.worst, state.hidden) == (expected, worst, len(deltas))


def test_collapse_names_the_first_collapsed_layer() -> None:
    layers = snapshot(0, [1.0] * 4)
    layers["sample_cosine"] = [0.999, 0.9, 0.999, 0.9999, 0.2]
    state = state_at(layers, 0)
    assert (state.diagnosis, state.worst) == ("collapsed", 3)


EVEN = [1.0] * 6
VANISHED = [10.0 ** (2 * k) for k in range(-5, 1)]
EXPLODED = [10.0 ** (-2 * k) for k in range(-5, 1)]
GOOD = 0.1 + 0.9 * TRAINED_SKILL + 0.001


def test_a_network_that_trains() -> None:
    found = verdict(EVEN, GOOD)
    assert (found["verdict"], found["try"]) == ("trains", [])
    assert "neither vanishes nor explodes (layer 1 gets 1 of layer 6's)" in found["reason"]


def test_training_outranks_the_gradient_at_init() -> None:
    """BatchNorm without skips explodes at init, then settles (Yang et al. 2019)."""
    found = verdict(EVEN, GOOD, at_init=EXPLODED)
    assert (found["verdict"], found["verdict_init"]) == ("trains", "exploding")
    assert "although at init the gradient explodes" in found["reason"]


def test_a_vanishing_gradient_with_its_figures() -> None:
    found = verdict(VANISHED, 0.1)
    assert found["verdict"] == "vanishing"
    assert found["gradient_ratio_end"] == pytest.approx(1e-10)
    assert found["gradient_factor_end"] == pytest.approx(0.01)
    for figure in ("×0.01 per layer", "1e-10 of layer 6's", "layers 1–4", "10.0%"):
        assert figure in found["reason"]
    assert found["try"][0] == "model.residual=true"  # the default already has BatchNorm


def test_exploding_and_collapsed() -> None:
    assert verdict(EXPLODED, 0.1)["verdict"] == "exploding"
    assert verdict(EVEN, 0.1, cosine=0.999)["verdict"] == "collapsed"


def test_a_healthy_gradient_and_bad_accuracy_is_undertrained() -> None:
    found = verdict(EVEN, GOOD - 0.002, at_init=EXPLODED)
    assert found["verdict"] == "undertrained"
    assert "by the end it settled" in found["reason"]
    assert found["try"] == ["model.residual=true", "training.epochs=30"]


def test_diverged_names_the_step() -> None:
    found = verdict(EVEN, 0.1, status="diverged", step=7)
    assert found["verdict"] == "diverged"
    assert "step 7" in found["reason"]
    assert found["try"] == ["optimizer.lr=0.01", "training.clip_norm=1"]


def test_without_steps_the_state_at_init_is_the_verdict() -> None:
    assert verdict(EVEN, 0.1, step=0)["verdict"] == "healthy"
    assert verdict(VANISHED, 0.1, step=0)["verdict"] == "vanishing"


@pytest.mark.parametrize(
    ("deltas", "words"),
    [
        ([0.0] * 6, "no gradient is left: it is 0 in all 6 hidden layers"),
        ([1e-9, 1e-9, 0.0], "the last hidden layer, 3, is dead"),
        ([math.inf, 1.0, 1.0], "not finite up to layer 1"),
        ([1e-3], "the one hidden layer"),
    ],
)
def test_sentences_of_odd_states(deltas: list[float], words: str) -> None:
    assert words in verdict(deltas, 0.1, step=0)["reason"]


def test_units_that_died_in_training_ask_for_smaller_steps() -> None:
    found = verdict([0.0] * 6, 0.1, at_init=EVEN)
    assert found["verdict"] == "vanishing"
    assert found["try"][0] == "optimizer.lr=0.01"


def test_a_residual_net_is_not_told_to_compare_a_residual_twin() -> None:
    plain, residual = (
        verdict(EVEN, 0.3, config=compose([m])) for m in ("model=cnn", "model=resnet")
    )
    assert "a residual twin" in plain["reason"]
    assert "residual" not in residual["reason"]


def test_only_the_cosine_measured() -> None:
    layers = snapshot(10, EVEN, 0.999).drop(columns="delta_rms")
    metrics = DataFrame([{"train_acc": 0.1}])
    found = in_summary(DEFAULT, metrics, layers, "finished", 10)
    assert found["verdict"] == "collapsed"


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_no_verdict_on_half_a_run(status: str) -> None:
    assert verdict(VANISHED, 0.1, status=status)["verdict"] is None


def test_nothing_measured() -> None:
    empty = DataFrame({"step": [], "layer": []})
    found = in_summary(DEFAULT, DataFrame([{"train_acc": 0.2}]), empty, "finished", 10)
    assert found["verdict"] == "undertrained"
    assert "the gradient was not measured" in found["reason"]
    assert found["verdict_init"] is None


@pytest.mark.parametrize(
    "verdict_name", ["vanishing", "exploding", "collapsed", "diverged", "undertrained"]
)
@pytest.mark.parametrize(
    "overrides",
    [[], ["norm=none"], ["model=resnet"], ["model=mlp", "norm=ln"], ["training.steps=5"]],
)
def test_advice_composes_and_changes_something(verdict_name: str, overrides: list[str]) -> None:
    config = compose(overrides)
    given_advice = advice(config, verdict_name)
    assert given_advice or (verdict_name in ("vanishing", "collapsed") and config.model.residual)
    for override in given_advice:
        assert compose([*overrides, override]) != config
