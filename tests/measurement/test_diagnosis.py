import functools
import math
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from normlab.config import Config, compose
from normlab.measurement import TrainingEnd, diagnose
from normlab.measurement.diagnosis import TRAINED_SKILL, advice
from tests.measurement.layer_tables import snapshot

DEFAULT = compose()


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


@functools.cache
def composed(*overrides: str) -> Config:
    return compose(overrides)


@pytest.mark.parametrize(
    ("overrides", "diagnosis", "expected"),
    [
        ("norm=none", "vanishing", "norm=bn model.residual=true"),
        ("norm=none model.activation=tanh", "vanishing", "norm=bn model.residual=true relu"),
        ("norm=none model.activation=sigmoid", "vanishing", "norm=bn model.residual=true relu"),
        ("norm=none model.activation=erf", "vanishing", "norm=bn model.residual=true relu"),
        ("norm=bn model=resnet", "vanishing", ""),
        ("norm=none", "exploding", "norm=bn model.residual=true"),
        ("norm=wn", "exploding", "norm=bn model.residual=true"),
        ("norm=ln", "exploding", "model.residual=true"),
        ("norm=ln model=resnet", "exploding", "model.init_gain=0.5"),
        ("norm=ln", "collapsed", "model.residual=true norm=bn"),
        ("norm=in norm.position=after", "collapsed", "norm.position=before"),
        ("norm=in", "collapsed", "model.residual=true norm=bn"),
        # BatchNorm has no variance over one vector, but over the positions of one image.
        ("model=mlp norm=none training.batch_size=1", "vanishing", "model.residual=true"),
        ("norm=none training.batch_size=1", "vanishing", "norm=bn model.residual=true"),
        ("", "diverged", "optimizer.lr=0.01 training.clip_norm=1"),
        ("training.clip_norm=2 optimizer.lr=0.5", "diverged", "optimizer.lr=0.05"),
        ("training.epochs=4", "undertrained", "model.residual=true training.epochs=8"),
        ("model=resnet training.steps=7", "undertrained", "training.steps=14"),
        ("", "trains", ""),
        ("", "healthy", ""),
        ("", None, ""),
    ],
)
def test_advice(overrides: str, diagnosis: str | None, expected: str) -> None:
    words = expected.replace(" relu", " model.activation=relu").split()
    assert advice(composed(*overrides.split()), diagnosis) == words


@pytest.mark.parametrize(("depth", "skips"), [(1, False), (2, False), (3, True)])
def test_skips_are_advised_where_there_is_something_to_skip(depth: int, skips: bool) -> None:
    """Of an MLP, whose last layer is the output, one around the second hidden layer or later."""
    config = composed("model=mlp", f"model.depth={depth}", "norm=none")
    for diagnosis in ("vanishing", "undertrained"):
        assert ("model.residual=true" in advice(config, diagnosis)) is skips


@pytest.mark.parametrize(
    "verdict_name", ["vanishing", "exploding", "collapsed", "diverged", "undertrained"]
)
@pytest.mark.parametrize(
    "overrides",
    [[], ["norm=none"], ["model=resnet"], ["model=mlp", "norm=ln"], ["training.steps=5"]],
)
def test_advice_composes_and_changes_something(verdict_name: str, overrides: list[str]) -> None:
    config = composed(*overrides)
    given_advice = advice(config, verdict_name)
    assert given_advice or (verdict_name in ("vanishing", "collapsed") and config.model.residual)
    for override in given_advice:
        assert composed(*overrides, override) != config


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    # Of ten classes: 91 % is a skill of .9 over chance.
    [(0.905, "undertrained"), (0.915, "trains")],
)
def test_a_skill_of_nine_tenths_trains(accuracy: float, expected: str) -> None:
    assert verdict(EVEN, accuracy)["verdict"] == expected


def test_what_is_said_of_a_part_of_a_training() -> None:
    """Of one that stopped early, as of any that ended; of one that goes on or has no step, how it
    stands."""
    assert verdict(EVEN, 0.1, status="stopped")["verdict"] == "undertrained"
    assert verdict(EVEN, GOOD, status="stopped")["verdict"] == "trains"
    assert verdict(VANISHED, 0.1, status="interrupted")["reason"].startswith("So far the gradient")
    assert verdict(VANISHED, 0.1, step=0)["reason"].startswith("At init the gradient")
    empty = DataFrame({"step": [], "layer": []})
    for status, step in (("interrupted", 10), ("finished", 0)):
        found = in_summary(DEFAULT, DataFrame([{"train_acc": 0.2}]), empty, status, step)
        assert (found["verdict"], found["reason"]) == (None, "")
