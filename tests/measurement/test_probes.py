"""One measurement at a time, on numbers whose answer is known."""

import math

import pytest
import torch

from normlab.measurement import Observation
from normlab.measurement.probes import DEAD_SLOPE
from normlab.networks import build_model, weight_layers
from tests.measurement.devices import every_device
from tests.measurement.reference import (
    CLASSES,
    SHAPE,
    SNAPSHOT_PROBES,
    probe_batch,
    snapshot,
    stream,
)


def observation(activation=None, delta=None, slope=None, weight=None):
    one = torch.ones(2, 1)
    return Observation(
        weight=one if weight is None else weight,
        delta=one if delta is None else delta,
        activation=one if activation is None else activation,
        slope=slope,
    )


def test_delta_rms_is_a_samples_own_root_mean_square():
    # Independent samples: the gradient of the mean loss is a sample's own gradient over B.
    own = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [0.0, 0.0]], dtype=torch.float64)
    measured = SNAPSHOT_PROBES["delta_rms"](observation(delta=own / 4))
    assert measured == pytest.approx(math.sqrt((9 + 16 + 36 + 64) / 8), rel=1e-14)


@every_device
@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-38])
def test_float32_gradients_do_not_underflow(scale, device):
    """Their squares are 0 in float32, yet a vanished gradient must not read as exactly 0."""
    delta = torch.full((4, 3, 2, 2), scale, device=device)
    measured = SNAPSHOT_PROBES["delta_rms"](observation(delta=delta))
    assert measured.item() == pytest.approx(4 * scale, rel=1e-6)


@every_device
@pytest.mark.parametrize("scale", [1e30, 3e38])
def test_float32_explosions_do_not_overflow(scale, device):
    big = torch.tensor([[scale, -scale], [scale, scale]], device=device)
    seen = observation(activation=big, delta=big, weight=big)
    expected = {
        "delta_rms": 2 * scale,
        "weight_norm": 2 * scale,
        "act_mean": scale / 2,
        "act_std": scale * math.sqrt(3) / 2,
    }
    for name, value in expected.items():
        assert SNAPSHOT_PROBES[name](seen).item() == pytest.approx(value, rel=1e-6), name
    assert SNAPSHOT_PROBES["sample_cosine"](seen).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 0], [2, 0]], 1),
        ([[1, 0], [-3, 0]], -1),
        ([[1, 0], [0, 5]], 0),
        ([[1, 1], [1, 0]], math.sqrt(0.5)),
        ([[0, 0], [0, 0], [0, 0]], 1),  # all forgotten
        ([[0, 0], [3, 4]], 0),
        ([[0, 0], [0, 0], [3, 4]], 1 / 3),  # one pair of three is alike
        ([[1, 0], [2, 0], [0, 3]], 1 / 3),
        ([[1e-30, 0], [1e-30, 0]], 1),  # small is not zero, even in float32
        ([[1e-30, 0], [0, 0]], 0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sample_cosine_counts_pairs(vectors, expected, dtype):
    seen = observation(activation=torch.tensor(vectors, dtype=dtype))
    tolerance = 1e-7 if dtype == torch.float32 else 1e-14
    assert SNAPSHOT_PROBES["sample_cosine"](seen).item() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["act_mean", "act_std", "sample_cosine"])
@pytest.mark.parametrize("where", ["one", "all"])
def test_activations_that_are_not_finite_have_no_statistics(name, bad, where):
    activation = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    activation[0 if where == "one" else slice(None)] = bad
    assert not math.isfinite(SNAPSHOT_PROBES[name](observation(activation=activation)))


def test_dead_fraction_needs_every_sample_and_a_slope_below_the_threshold():
    below, above = DEAD_SLOPE * (1 - 1e-9), DEAD_SLOPE
    slope = torch.tensor([[0, 0, -below, above], [0, 1, below, 0]], dtype=torch.float64)
    measured = SNAPSHOT_PROBES["dead_fraction"](observation(slope=slope))
    assert measured == pytest.approx(2 / 4)


def test_only_the_output_layer_has_no_dead_fraction(configure):
    model = build_model(configure("cnn", "bn", depth=8, width=2), SHAPE, CLASSES, stream())
    names = ["dead_fraction", "act_std"]
    dead, std = snapshot(model, weight_layers(model), *probe_batch(torch.float32), names).T
    assert dead.isnan().tolist() == [False] * 7 + [True]
    assert std.isfinite().all()


def test_the_slope_of_leaky_relu_is_alive_in_float32(configure):
    """Its slope of 0.01 is the threshold itself."""
    config = configure("mlp", "none", depth=3, width=50, activation="leaky_relu")
    model = build_model(config, SHAPE, CLASSES, stream())
    with torch.no_grad():
        for layer in weight_layers(model):
            layer.module.bias.fill_(-100)
    dead = snapshot(model, weight_layers(model), *probe_batch(torch.float32), ["dead_fraction"])
    assert dead[:-1].tolist() == [[0], [0]]
