"""Every measurement against plain autograd in float64, written without hooks; and no trace left."""

import pytest
import torch
import torch.nn.functional as F

from normlab.config import PROBES as REGISTERED
from normlab.config import Probe
from normlab.measurement import gradient_norms, observation, watched_weights
from normlab.networks import build_model, weight_layers
from tests.measurement.reference import (
    ACTIVATIONS,
    CLASSES,
    CNNS,
    MLPS,
    NORMS,
    PROBES,
    SHAPE,
    ByHand,
    assert_same,
    label,
    probe_batch,
    snapshot,
    stirred,
    stream,
    table,
)


def pools_a_constant(config):
    """Whether instance norm comes right before the average over positions, which is then β.

    The logits do not depend on the image, and every gradient below them is rounding noise.
    """
    linear_behind = config.model.activation == "identity"
    return (
        config.model.name == "cnn"
        and config.norm.name == "in"
        and (config.norm.position == "after" or linear_behind)
    )


def assert_measures_as_by_hand(config):
    model = stirred(config)
    layers = weight_layers(model)
    images, labels = probe_batch()
    expected = ByHand(config, model).measure(images, labels)

    # Under BatchNorm mean_delta is 0 but for rounding.
    atol = 1e-10 if pools_a_constant(config) else 1e-12 if config.norm.name == "bn" else 1e-14
    # Softmax less 1 where it is nearly 1 is known to 1e-16 only: a gradient of little direction.
    rounded = pools_a_constant(config) or min(expected["least_gradient"]) < 1e-6
    names = [n for n in PROBES if n != "gradient_cosine" or not rounded]
    assert_same(snapshot(model, layers, images, labels, names), table(expected, names), atol)
    with watched_weights(layers) as weights:
        F.cross_entropy(model(images), labels).backward()
    assert_same(gradient_norms(weights)[:, None], table(expected, ["grad_norm"]), atol)


def every_combination():
    """Of network, norm and nonlinearity; every two of them meet in one that is not slow."""
    for i, network in enumerate(MLPS + CNNS):
        for j, norm in enumerate(NORMS):
            for k, activation in enumerate(ACTIVATIONS):
                quick = k == (i + j) % len(ACTIVATIONS)
                yield pytest.param(
                    network,
                    norm,
                    activation,
                    id=f"{label(network)}-{label(norm)}-{activation}",
                    marks=[] if quick else [pytest.mark.slow],
                )


@pytest.mark.parametrize(("network", "norm", "activation"), list(every_combination()))
def test_measurements_are_those_of_plain_autograd(configure, network, norm, activation):
    config = configure(network[0], norm[0], activation=activation, **network[1], **norm[1])
    assert_measures_as_by_hand(config)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("mlp", {"depth": 1}),
        ("mlp", {"depth": 2, "residual": True}),
        ("cnn", {"depth": 14, "width": 2, "residual": True, "shortcut": "B"}),  # 2 blocks a stage
        ("cnn", {"depth": 14, "width": 2, "residual": True, "block": "pre"}),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_measurements_at_other_depths_without_biases_or_affine(configure, model, changes, affine):
    assert_measures_as_by_hand(configure(model, "bn", bias=False, affine=affine, **changes))


@pytest.mark.parametrize("activation", sorted({*ACTIVATIONS} - {"identity", "leaky_relu"}))
def test_reference_networks_have_dead_and_living_units(configure, activation):
    """Else a dead_fraction that is constant would pass the comparison above."""
    config = configure("cnn", "none", depth=8, width=4, activation=activation)
    dead = ByHand(config, stirred(config)).measure(*probe_batch())["dead_fraction"][:-1]
    assert any(0 < value < 1 for value in dead)


@pytest.mark.parametrize("network", CNNS, ids=label)
def test_instance_norm_right_before_pooling_shuts_the_image_out(configure, network):
    """The mean over positions of a channel that has just been centred is β, whatever the image."""
    config = configure("cnn", "in", position="after", **network[1])
    model = stirred(config)
    images, labels = probe_batch()
    logits = model(images)
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))
    names = ["delta_rms", "sample_cosine"]
    delta, cosine = snapshot(model, weight_layers(model), images, labels, names).T
    assert delta[:-1].max() < 1e-10 < 0.1 < delta[-1]
    assert cosine[-1] == pytest.approx(1)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize(
    ("network", "norm", "activation"),
    [
        (MLPS[1], ("none", {}), "relu"),  # with activations that are zero vectors
        (CNNS[1], ("ln", {"position": "before"}), "tanh"),
        (CNNS[4], ("wn", {}), "sigmoid"),
        (CNNS[5], ("gn", {"groups": 2, "position": "after"}), "gelu"),
    ],
)
def test_in_parts_the_figures_are_those_of_the_whole_batch(
    configure, network, norm, activation, size
):
    """Up to the order in which float64 numbers are added; 6 samples in parts of 1, 2 and 5 + 1."""
    config = configure(network[0], norm[0], activation=activation, **network[1], **norm[1])
    model = stirred(config)
    layers, (images, labels) = weight_layers(model), probe_batch()
    images[1:3] = 0 if network[0] == "mlp" else images[1:3]
    batch = observation.ProbeBatch(images, labels, "softmax")
    expected = observation.snapshot(model, layers, batch, PROBES)
    measured = observation.snapshot(model, layers, batch, PROBES, size)
    torch.testing.assert_close(measured, expected, rtol=1e-12, atol=1e-13, equal_nan=True)
    assert not torch.equal(measured[:-1], expected[:-1])  # it was in parts


def test_a_probe_that_needs_the_whole_batch_gets_it(configure):
    sizes = []

    def noted(seen):
        sizes.append(len(seen.delta))
        return seen.delta.sum()

    REGISTERED.add("noted", Probe("noted", "noted", noted))
    try:
        model = stirred(configure("mlp", "none", depth=3, width=4))
        batch = observation.ProbeBatch(*probe_batch(), "softmax")
        observation.snapshot(model, weight_layers(model), batch, ["noted", "delta_rms"], 2)
    finally:
        REGISTERED.remove("noted")
    assert sizes == [6, 6, 6]


@pytest.mark.parametrize("names", [["act_std", "delta_rms"], ["weight_norm"]])
def test_columns_follow_the_names_and_rows_the_layers(configure, names):
    model = stirred(configure("mlp", "ln", depth=4, width=6))
    layers, batch = weight_layers(model), probe_batch()
    everything = snapshot(model, layers, *batch, PROBES)
    measured = snapshot(model, layers, *batch, names)
    assert torch.equal(measured, everything[:, [PROBES.index(n) for n in names]])
    assert measured.shape == (4, len(names))


def test_float32_measurements_are_close_to_float64(configure):
    model = build_model(configure("cnn", "bn", depth=8, width=4), SHAPE, CLASSES, stream())
    layers = weight_layers(model)
    names = [n for n in PROBES if n != "act_mean"]  # cancels
    single = snapshot(model, layers, *probe_batch(torch.float32), names)
    double = snapshot(model.double(), layers, *probe_batch(torch.float64), names)
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-5, equal_nan=True)


# ------------------------------------------------------------------------------------- no trace


def state(model):
    return {
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "gradients": {
            k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()
        },
        "modes": [m.training for m in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        "random": torch.get_rng_state(),
        "grad_enabled": torch.is_grad_enabled(),
    }


def assert_untouched(before, after):
    for part in ("tensors", "gradients"):
        assert before[part].keys() == after[part].keys()
        for name, value in before[part].items():
            other = after[part][name]
            assert (value is None) == (other is None), name
            assert value is None or torch.equal(value, other), name
    assert torch.equal(before.pop("random"), after.pop("random"))
    for part in ("modes", "requires_grad", "hooks", "grad_enabled"):
        assert before[part] == after[part]


TRACE_CASES = [
    *(("cnn", norm, {"depth": 8, "width": 4, "residual": True}) for norm in ("bn", "gn", "wn")),
    ("mlp", "bn", {"depth": 3, "width": 4}),
    ("mlp", "wn", {"depth": 3, "width": 4}),
    ("mlp", "bn", {"depth": 3, "width": 4, "noise": 0.5}),
]


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize(("model", "norm", "changes"), TRACE_CASES)
def test_a_snapshot_leaves_no_trace(configure, model, norm, changes, with_gradients):
    network = build_model(configure(model, norm, **changes), SHAPE, CLASSES, stream())
    images, labels = probe_batch(torch.float32)
    if with_gradients:
        F.cross_entropy(network(images), labels).backward()  # moves the running statistics too
    before = state(network)
    snapshot(network, weight_layers(network), images, labels, PROBES)
    assert_untouched(before, state(network))
    assert images.grad_fn is None
    assert not images.requires_grad


@pytest.mark.parametrize("fault", ["images", "labels", "layer"])
def test_a_snapshot_that_fails_leaves_no_trace(configure, fault):
    network = build_model(configure("cnn", "bn", depth=8, width=4), SHAPE, CLASSES, stream())
    images, labels = probe_batch(torch.float32)
    if fault == "images":
        images = images[:, :1]
    elif fault == "labels":
        labels = labels[:2]
    else:  # fails when half of the network has run, and its running statistics have moved
        network.output = torch.nn.Linear(3, CLASSES)
    before = state(network)
    with pytest.raises((RuntimeError, ValueError)):
        snapshot(network, weight_layers(network), images, labels, PROBES)
    assert_untouched(before, state(network))


def test_a_snapshot_is_of_the_probe_batch_in_train_mode_whatever_ran_before(configure):
    """Batch statistics, not the running ones; and measuring twice is measuring once."""
    network = stirred(configure("mlp", "bn", depth=4, width=6))
    layers, batch = weight_layers(network), probe_batch()
    first = snapshot(network, layers, *batch, PROBES)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.fill_(1e3)
            module.running_var.fill_(1e6)
    again = snapshot(network, layers, *batch, PROBES)
    torch.testing.assert_close(first, again, rtol=0, atol=0, equal_nan=True)


def test_a_snapshot_can_be_taken_where_gradients_are_off(configure):
    network = stirred(configure("mlp", "ln", depth=3, width=6))
    layers, batch = weight_layers(network), probe_batch()
    expected = snapshot(network, layers, *batch, PROBES)
    with torch.no_grad():
        measured = snapshot(network, layers, *batch, PROBES)
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(measured, expected, rtol=0, atol=0, equal_nan=True)
    assert not measured.requires_grad


def test_the_loss_in_eval_mode_is_by_running_statistics_and_leaves_no_trace(configure):
    model = stirred(configure("mlp", "bn"))
    images, labels = probe_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = observation.ProbeBatch(images, labels, "softmax")
    in_train_mode = observation.train_mode_loss(model, batch)
    in_eval_mode = observation.eval_mode_loss(model, batch)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert in_train_mode.item() == pytest.approx(F.cross_entropy(model(images), labels).item())
    model.load_state_dict(before)
    model.eval()
    assert in_eval_mode.item() == pytest.approx(F.cross_entropy(model(images), labels).item())
    assert abs(in_eval_mode.item() - in_train_mode.item()) > 1e-3
