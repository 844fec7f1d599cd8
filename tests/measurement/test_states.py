import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame, concat

from normlab.measurement import (
    COLLAPSED_COSINE,
    EXPLODING_RATIO,
    VANISHING_RATIO,
    by_block,
)
from normlab.measurement.sentences import described
from normlab.measurement.states import gradient_factor, gradient_ratio, snapshot_steps, state_at
from tests.measurement.layer_tables import blocks, snapshot


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
    for scale in (1.0, 0.007):  # δ's own size decides nothing
        state = state_at(snapshot(3, [scale * delta for delta in deltas], cosine), 3)
        assert (state.diagnosis, state.worst, state.hidden) == (expected, worst, len(deltas))
        assert (state.step, state.cosine) == (3, cosine)


@pytest.mark.parametrize(
    ("deltas", "ratio", "last", "expected"),
    [
        # The last branch's ReLU is shut: the gradient goes around it.
        ([0.03, 0.5, 1.0, 1.0, 1.0, 0.0], 0.03, 5, "healthy"),
        ([0.03, 0.5, 1.0, 1.0, 1.0, 1e-4], 0.03, 5, "healthy"),
        ([300.0, 5.0, 1.0, 1.0, 1.0, 0.0], 300.0, 5, "exploding"),
        # Open branches count as they are, small ones too.
        ([0.03, 0.5, 1.0, 1.0, 1.0, 0.5], 0.06, 6, "healthy"),
        # It vanishes along the stream itself.
        ([1e-9, 1e-6, 1e-4, 1e-3, 1e-1, 1.0], 1e-9, 6, "vanishing"),
        ([0.0] * 6, math.nan, 6, "vanishing"),
        # All of the last quarter are shut (the output layer's δ is 123).
        ([3.0, 0.5, 0.1, 1e-9, 1e-22, 1e-24], 30.0, 3, "healthy"),
        ([300.0, 5.0, 0.1, 1e-9, 1e-22, 1e-24], 3000.0, 3, "exploding"),
        ([1e-9, 0.0, 0.0, 0.0, 0.0, 0.0], math.inf, 6, "vanishing"),
    ],
)
def test_a_residual_network_is_judged_along_its_stream(
    deltas: list[float], ratio: float, last: int, expected: str
) -> None:
    state = state_at(snapshot(3, deltas), 3, residual=True)
    assert (state.diagnosis, state.last) == (expected, last)
    assert state.ratio == pytest.approx(ratio, nan_ok=True)
    plain = state_at(snapshot(3, [*deltas[:-1], 0.0]), 3)
    assert plain.diagnosis == "vanishing"


def test_an_offset_that_all_units_share_is_no_collapse() -> None:
    """Of a sigmoid's ½: the mean cosine of activations ½ + s·u is ¼/(¼ + s²) and more."""
    rng = np.random.default_rng(0)
    activations = 0.5 + 0.02 * rng.standard_normal((64, 4096))
    unit = activations / np.linalg.norm(activations, axis=1, keepdims=True)
    cosine = (np.sum(unit.sum(axis=0) ** 2) - 64) / (64 * 63)
    layers = snapshot(3, [1.0, 1.0], cosine)
    layers["act_mean"], layers["act_std"] = activations.mean(), activations.std()
    state = state_at(layers, 3)
    assert state.cosine > 0.99
    centred = activations - activations.mean()
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    expected = (np.sum(unit.sum(axis=0) ** 2) - 64) / (64 * 63)
    assert state.centred_cosine == pytest.approx(expected, abs=2e-3)
    assert state.diagnosis == "healthy"
    layers["act_std"] = 5.0
    assert state_at(layers, 3).diagnosis == "collapsed"


def test_collapse_names_the_first_collapsed_layer() -> None:
    layers = snapshot(0, [1.0] * 4)
    layers["sample_cosine"] = [0.999, 0.9, 0.999, 0.9999, 0.2]
    state = state_at(layers, 0)
    assert (state.diagnosis, state.worst) == ("collapsed", 3)


def test_steps_without_what_a_state_is_judged_by_are_no_snapshots() -> None:
    """`grad_norm` comes at many more steps than the snapshots do."""
    layers = concat([snapshot(10, [1.0]), snapshot(0, [1.0]), DataFrame({"step": [3], "layer": 1})])
    assert snapshot_steps(layers) == [0, 10]
    assert snapshot_steps(layers.drop(columns="delta_rms")) == [0, 10]
    assert snapshot_steps(layers[["step", "layer"]]) == []


@pytest.mark.parametrize(
    ("first", "cosine", "expected"),
    [
        (0.0101, 0.5, "healthy"),
        (0.0099, 0.5, "vanishing"),
        (99, 0.5, "healthy"),
        (101, 0.5, "exploding"),
        (1, 0.989, "healthy"),
        (1, 0.991, "collapsed"),
    ],
)
def test_the_thresholds_are_a_hundredth_a_hundred_and_99_percent(
    first: float, cosine: float, expected: str
) -> None:
    assert state_at(snapshot(0, [first, 1.0], cosine), 0).diagnosis == expected


# --------------------------------------------------------------------------------- blocks


def test_an_encoder_is_judged_by_its_blocks() -> None:
    """The embedding, the output layer and queries that get nothing have no part."""
    layers = blocks(0, [1e-3, 0.1, 1.0, 1.0], [0.5, 0.4, 0.3, 0.2], share=1e-9)
    state = state_at(layers, 0, residual=True)
    assert (state.unit, state.hidden, state.last) == ("block", 4, 4)
    assert (state.diagnosis, state.worst) == ("vanishing", 1)
    assert state.ratio == pytest.approx(1e-3)
    assert state.distance == 0.2
    assert state.cosine == 0.5


@pytest.mark.parametrize(
    ("distances", "diagnosis", "worst"),
    [
        ([0.5, 0.1, 1e-2, 1.1e-4], "healthy", 0),
        ([0.5, 0.1, 1e-2, 0.9e-4], "collapsed", 4),
        ([0.5, 1e-7, 1e-7, 1e-7], "collapsed", 2),
        ([1e-7, 1e-7, 1e-7, 0.1], "healthy", 0),
        ([math.nan] * 4, "healthy", 0),  # of samples of a single token
    ],
)
def test_tokens_that_became_one_are_collapsed(
    distances: list[float], diagnosis: str, worst: int
) -> None:
    state = state_at(blocks(0, [1.0, 2.0, 1.0, 1.0], distances), 0)
    assert (state.diagnosis, state.worst) == (diagnosis, worst)


def test_where_samples_are_alike_too_collapse_is_counted_by_tokens() -> None:
    """Of which the sentence speaks: tokens become one in a sample before samples become alike."""
    layers = blocks(0, [1.0, 2.0, 1.0, 1.0], [1e-5, 1e-6, 2e-7, 2e-7])
    layers.loc[layers["role"] == "feed-forward 2", "sample_cosine"] = [0.3, 0.5, 0.9, 0.995]
    state = state_at(layers, 0)
    assert (state.diagnosis, state.cosine, state.worst) == ("collapsed", 0.995, 1)
    assert "from block 1 on, all tokens" in described(state)
    layers["rank_one_distance"] = math.nan
    assert state_at(layers, 0).worst == 4


def test_a_gradient_that_is_lost_comes_before_tokens() -> None:
    state = state_at(blocks(0, [1e-3, 1.0, 1.0], [1e-7] * 3), 0)
    assert state.diagnosis == "vanishing"


def test_the_block_whose_queries_are_starved_most() -> None:
    layers = blocks(0, [1.0, 1.0, 1.0], [0.5] * 3, share=0.1)
    layers.loc[(layers["block"] == 2) & (layers["role"] == "query"), "grad_norm"] = 1e-4
    state = state_at(layers, 0)
    assert (state.query_share, state.query_block) == (pytest.approx(1e-4), 2)
    for other in (layers.drop(columns="grad_norm"), snapshot(0, [1.0, 1.0])):
        assert math.isnan(state_at(other, 0).query_share)


def test_what_attention_shows_is_in_a_blocks_row() -> None:
    layers = blocks(0, [1.0, 2.0], [0.5, 0.25])
    asks = layers["role"] == "query"
    layers["attention_entropy"] = layers["block"].where(asks) / 10
    path = by_block(layers)
    assert path["attention_entropy"].tolist()[:2] == [0.1, 0.2]
    assert path["rank_one_distance"].tolist()[:2] == [0.5, 0.25]
    assert path["delta_rms"].tolist() == pytest.approx([1.0, 2.0, 123.0])
