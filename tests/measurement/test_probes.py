"""One measurement at a time, on numbers whose answer is known."""

import math

import pytest
import torch

from normlab.config import compose
from normlab.measurement import Observation
from normlab.measurement.observation import ProbeBatch
from normlab.measurement.observation import snapshot as snapshot_of
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


# ------------------------------------------------------------------------------- padding


LEFT_OUT = ["delta_rms", "mean_delta", "act_mean", "act_std", "sample_cosine", "dead_fraction"]


def of_tokens(real=None, fill=0.0):
    """Three samples of four tokens of five units, with other numbers where `real` says padding."""
    drawn = torch.Generator().manual_seed(0)
    x, delta, slope = torch.randn(3, 3, 4, 5, generator=drawn, dtype=torch.float64) + 0.5
    slope[:, :, 2] = 0  # a unit that is dead in every sample and token
    padding = torch.zeros(3, 4, 1, dtype=bool) if real is None else ~real[:, :, None]
    x, delta, slope = (t.masked_fill(padding, fill) for t in (x, delta, slope))
    return Observation(torch.ones(2, 1), delta, x, slope, real)


REAL = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_lies_in_padding_is_not_measured(name):
    probe = SNAPSHOT_PROBES[name]
    assert probe(of_tokens(REAL, 7.0)) == probe(of_tokens(REAL, 0.0))
    if name == "sample_cosine":
        return  # of padded samples it is token by token
    everything = probe(of_tokens(torch.ones(3, 4, dtype=bool)))
    assert everything.item() == pytest.approx(probe(of_tokens()).item(), rel=1e-14)


def test_measurements_of_padded_samples_are_those_of_their_real_tokens():
    seen = of_tokens(REAL, 7.0)
    x, delta = ([t[i, : REAL[i].sum()] for i in range(3)] for t in (seen.activation, seen.delta))
    entries, sent = torch.cat(x).flatten(), torch.cat(delta).flatten()
    measured = {name: probe(seen).item() for name, probe in SNAPSHOT_PROBES.items()}
    assert measured["delta_rms"] == pytest.approx((9 * sent.square().sum() / 30).sqrt().item())
    assert measured["act_mean"] == pytest.approx(entries.mean().item())
    assert measured["act_std"] == pytest.approx(entries.std(correction=0).item())
    total = torch.where(REAL[:, :, None], seen.delta, 0).sum(dim=0)
    assert measured["mean_delta"] == pytest.approx(total.norm().item())
    cosines = [
        torch.cosine_similarity(a, b, dim=0)
        for i, j in ((0, 1), (0, 2), (1, 2))
        for a, b in zip(x[i], x[j], strict=False)  # positions that are real in both
    ]
    assert len(cosines) == 4
    assert measured["sample_cosine"] == pytest.approx(sum(cosines).item() / 4)
    assert measured["dead_fraction"] == pytest.approx(3 / 15)  # the fourth token is never real


def test_parts_of_a_padded_batch_join_to_the_whole():
    from normlab.config import PROBES

    whole = of_tokens(REAL, 7.0)
    tensors = whole.delta, whole.activation, whole.slope, REAL
    parts = [
        Observation(whole.weight, *(tensor[rows] for tensor in tensors))
        for rows in (slice(0, 1), slice(1, 3))
    ]
    for name in LEFT_OUT:
        how = PROBES[name].parts
        joined = how.finish(how.join(*(how.gather(part) for part in parts)))
        assert joined.item() == pytest.approx(SNAPSHOT_PROBES[name](whole).item(), rel=1e-12), name


@every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alike", ["at a position", "in a sample"])
def test_samples_of_equal_tokens_are_alike_whatever_their_lengths(alike, dtype, device):
    drawn = torch.Generator().manual_seed(3)
    token = torch.randn(1, 8 if alike == "at a position" else 1, 5, generator=drawn, dtype=dtype)
    scale = torch.tensor([1.0, 0.5, 3.0, 2.0, 7.0], dtype=dtype)[:, None, None]
    real = torch.arange(8) < torch.tensor([4, 8, 5, 6, 7])[:, None]
    x = (scale * token).expand(5, 8, 5).to(device)
    seen = Observation(x, x, x, None, real.to(device))
    assert SNAPSHOT_PROBES["sample_cosine"](seen).item() == pytest.approx(1, abs=1e-6)


def test_zero_tokens_are_alike_and_padding_is_none_of_them():
    x = torch.zeros(3, 4, 5, dtype=torch.float64)
    cosine = SNAPSHOT_PROBES["sample_cosine"]
    assert cosine(Observation(x, x, x, None, REAL)) == 1
    x[0] = 1
    # Of the pairs at the first position one of three, at the second that of a zero and another.
    assert cosine(Observation(x, x, x, None, REAL)).item() == pytest.approx(1 / 4)
    assert cosine(Observation(x, x, x, None, torch.eye(3, 4, dtype=bool))).isnan()  # no pair


def test_under_unmasked_batch_norm_only_the_gradient_of_real_tokens_is_measured():
    """There ∂L/∂z is not 0 in padding."""
    config = compose(
        [
            *("model=encoder", "norm=bn", "norm.masked=false", "data=gaussian", "model.depth=2"),
            *("data.train_size=12", "data.test_size=4", "data.padding=0.6", "model.width=8"),
            *("model.heads=2", "data.padding_content=noise", "training.batch_size=12"),
        ]
    )
    images = config.data.load(torch.device("cpu")).train_images.double()
    network = build_model(config, (2, 8, 8), 10, stream()).double()
    layers, labels = weight_layers(network), torch.arange(12) % 10
    _, real = network.tokens(images)
    names = ["delta_rms", "mean_delta"]
    measured = snapshot_of(network, layers, ProbeBatch(images, labels, "softmax"), names)
    outputs = {}
    for layer in layers:
        layer.module.register_forward_hook(lambda module, _, z: outputs.update({module: z}))
    loss = torch.nn.functional.cross_entropy(network(images), labels)
    deltas = torch.autograd.grad(loss, [outputs[layer.module] for layer in layers])
    leaking = 0
    for delta, (rms, mean) in zip(deltas, measured.tolist(), strict=True):
        if delta.ndim == 3:
            leaking += bool(delta[~real].any())
            assert rms == pytest.approx((12 * delta[real]).square().mean().sqrt().item(), rel=1e-9)
            delta = torch.where(real[:, :, None], delta, 0)
        assert mean == pytest.approx(delta.sum(dim=0).norm().item(), rel=1e-9)
    assert leaking > 5
