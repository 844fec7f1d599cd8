import math
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from normlab.config import Config, compose
from normlab.measurement import TrainingEnd, diagnose
from normlab.measurement.causes import find_cause
from normlab.measurement.diagnosis import TRAINED_SKILL
from normlab.measurement.figures import mean_update
from normlab.measurement.remedies import to_measure
from normlab.training import Measurement
from tests.conftest import TINY
from tests.measurement.failing import figures, state
from tests.measurement.layer_tables import snapshot
from tests.training.small_trainings import evaluations, events_of, measured

DEFAULT = compose()


def in_summary(
    config: Config, metrics: DataFrame, layers: DataFrame, status: str, step: int
) -> dict[str, Any]:
    """A diagnosis under the names that a summary has for it; ten classes, five steps an epoch."""
    found = diagnose(config, metrics, layers, TrainingEnd(status, step, 10, 5, 10_000))
    words = {"verdict": found.diagnosis, "reason": found.reason, "try": found.advice}
    words |= {"cause": found.cause, "evidence": found.evidence}
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
        [{"train_acc": accuracy, "train_loss": 1.0, "test_acc": 0.8, "test_loss": 2.0}]
    )
    return in_summary(config, metrics, layers, status, step)


EVEN = [1.0] * 6
VANISHED = [10.0 ** (2 * k) for k in range(-5, 1)]
EXPLODED = [10.0 ** (-2 * k) for k in range(-5, 1)]
GOOD = 0.1 + 0.9 * TRAINED_SKILL + 0.001


def test_a_network_that_trains() -> None:
    found = verdict(EVEN, GOOD)
    assert (found["verdict"], found["try"]) == ("trains", [])
    assert "neither vanishes nor explodes (layer 1 gets 1 times layer 6's)" in found["reason"]


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


def test_exploding_and_collapsed() -> None:
    assert verdict(EXPLODED, 0.1)["verdict"] == "exploding"
    assert verdict(EVEN, 0.1, cosine=0.999)["verdict"] == "collapsed"


def test_a_healthy_gradient_and_bad_accuracy_is_undertrained() -> None:
    found = verdict(EVEN, GOOD - 0.002, at_init=EXPLODED)
    assert found["verdict"] == "undertrained"
    assert "by the end it settled" in found["reason"]


def test_diverged_names_the_step() -> None:
    found = verdict(EVEN, 0.1, status="diverged", step=7)
    assert found["verdict"] == "diverged"
    assert "step 7" in found["reason"]
    assert found["cause"] == "unknown"  # of what could be there at init not all was measured


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
    assert "the gradient by layer was not measured" in found["reason"]
    assert found["verdict_init"] is None


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


def test_what_was_not_measured_is_named() -> None:
    found = verdict(EVEN, 0.1)
    assert (found["cause"], found["evidence"]) == ("unknown", [])
    assert found["reason"].endswith(
        "The cause is unknown, as these were not measured: weight_norm, the probe batch's loss, "
        "update_ratio, dead_fraction."
    )
    (advice,) = found["try"]
    assert advice.startswith("probes.measure=[")
    nothing = verdict(EVEN, 0.1, config=compose(["probes=none"]))
    assert nothing["try"] == ["probes=verdict"]
    measured_all = compose([advice]).probes.measure
    assert set(compose(["probes=verdict"]).probes.measure) <= set(measured_all)
    assert set(DEFAULT.probes.measure) <= set(measured_all)


def test_what_was_not_measured_of_tokens_is_named() -> None:
    config = compose(["model=encoder", "norm=ln", "probes.tokens=[logit_std]"])
    words = to_measure(config).split()
    assert compose(["model=encoder", *words]).probes.tokens == compose([]).probes.tokens
    assert not [w for w in to_measure(compose(["probes.tokens=[]"])).split() if "tokens" in w]


def test_a_cause_its_evidence_and_advice() -> None:
    """A whole training by its real tables: a rate of 1e-5 leaves the weights where they were."""
    config = compose([*TINY, "optimizer.lr=1e-5", "probes=verdict", "norm=bn"])
    events, ended = events_of(config)
    layers = DataFrame([row for e in events if isinstance(e, Measurement) for row in e.rows()])
    layers = layers.groupby(["step", "layer"], as_index=False).first()
    ending = TrainingEnd(ended.status, ended.step, 10, 4, 10_000)
    found = diagnose(config, DataFrame(evaluations(events)), layers, ending)
    assert (found.diagnosis, found.cause) == ("undertrained", "rate_too_small")
    step, path = found.evidence
    ratios = list(measured(events, "update_ratio").values())
    assert min(map(max, ratios)) <= step["value"] <= max(map(max, ratios))
    assert path["value"] == pytest.approx(8 * step["value"])
    assert found.advice == ["optimizer.lr=0.1", "optimizer.lr=0.03"]
    assert found.reason.endswith("The learning rate is too small.")


def test_what_noisy_labels_leave_to_learn_is_no_failure_of_the_network() -> None:
    config = compose(["model=mlp", "norm=none", "data.label_noise=0.5"])
    metrics = DataFrame([{"train_acc": 0.53, "train_loss": 1.4, "test_acc": 0.9, "test_loss": 0.8}])
    found = in_summary(config, metrics, snapshot(10, EVEN), "finished", 10)
    assert (found["verdict"], found["cause"]) == ("undertrained", "label_noise")
    assert "on the test set's true labels its accuracy is 90.0%" in found["reason"]


def test_a_trained_network_that_guesses_on_the_test_set() -> None:
    metrics = DataFrame([{"train_acc": 1.0, "train_loss": 0.1, "test_acc": 0.1, "test_loss": 9.0}])
    found = in_summary(DEFAULT, metrics, snapshot(10, EVEN), "finished", 10)
    assert (found["verdict"], found["cause"]) == ("trains", "memorizes")
    assert "Test accuracy is 10.0% (chance is 10.0%)" in found["reason"]


FIXUP = (
    *("model=mlp", "model.depth=5", "model.residual=true", "model.block=pre", "norm=none"),
    "model.branch_scale=fixup",
)


def test_an_output_layer_that_begins_as_0_is_no_vanishing_gradient() -> None:
    """By Fixup's design no hidden layer gets a gradient at init, which is no fault."""
    silent, sound = [0.0, 0.0, 0.0, 0.0, 0.3], [0.1, 0.1, 0.1, 0.1, 0.3]
    fixup, plain = (
        verdict(sound, 0.5, at_init=silent, config=compose(words)) for words in (FIXUP, FIXUP[:-1])
    )
    assert (fixup["verdict_init"], plain["verdict_init"]) == (None, "vanishing")
    none = verdict(silent, 0.1, at_init=silent, step=0, config=compose(FIXUP))
    assert none["reason"].endswith("at init no other layer gets a gradient.")
    unmeasured = state(step=0, diagnosis=None, ratio=math.nan)
    found = find_cause(figures(*FIXUP[2:], init=unmeasured))
    assert (found.missing, found.cause) == ((), "unknown")
    assert "delta_rms" in find_cause(figures(*FIXUP[2:-1], init=unmeasured)).missing


def test_a_weight_that_begins_as_0_has_not_moved_far() -> None:
    """‖ΔW‖/‖W‖ is infinite there, or 0/0 as long as no gradient comes, and then about 1/t."""
    ratios = {1: [0.01, 0.02, 0.01], 2: [math.inf, 0.9, 0.5], 3: [math.nan, math.inf, 0.9]}
    rows = [(step, layer, x) for layer, found in ratios.items() for step, x in enumerate(found)]
    layers = DataFrame(rows, columns=["step", "layer", "update_ratio"])
    assert mean_update(layers, 4) == pytest.approx((0.015 + 0.015 + 0.01 + 0.01) / 4)
