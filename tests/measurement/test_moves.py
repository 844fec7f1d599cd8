"""How gradients change along the loss's gradient, against plain autograd on a moved copy."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from normlab.config import PROBES, compose
from normlab.measurement import Moves, moves_along_gradient, observation
from normlab.networks import build_model, weight_layers
from normlab.training import Ended, Measurement, train
from normlab.training.session import Session
from tests.measurement.reference import CLASSES, SHAPE, probe_batch, stirred, stream
from tests.measurement.test_observation import TRACE_CASES, assert_untouched, state

T = (0.5, 1, 2, 4)
NAMES = ("gradient_predictiveness", "smoothness")


def batch_of(dtype=torch.float64):
    images, labels = probe_batch(torch.float32)  # the same numbers in both dtypes
    return observation.ProbeBatch(images.to(dtype), labels, "softmax")


def measured(model, rate, part_size=None):
    batch = batch_of(next(model.parameters()).dtype)
    moves = moves_along_gradient(model, weight_layers(model), batch, rate, part_size)
    found = [[PROBES[name].measure(seen).item() for name in NAMES] for seen in moves]
    return torch.tensor(found, dtype=torch.float64)


def gradients(model, wanted, batch):
    """∂L/∂x of parameters and, under weight normalization, of the weights that they make."""
    found = {}
    with torch.nn.utils.parametrize.cached():
        weights = [layer.module.weight for layer in weight_layers(model)]
        loss = F.cross_entropy(model(batch.images), batch.labels)
        parameters = list(model.parameters())
        found["all"] = torch.autograd.grad(loss, parameters, retain_graph=True)
        found["weights"] = torch.autograd.grad(loss, weights)
    return found[wanted]


def by_hand(model, rate, batch=None):
    """Both measurements of each layer, on copies of the network whose parameters are changed."""
    batch = batch or batch_of()
    steps = gradients(copy.deepcopy(model), "all", batch)
    here = gradients(copy.deepcopy(model), "weights", batch)
    length = math.sqrt(sum(float((g**2).sum()) for g in steps))
    rows = []
    for layer, at_first in enumerate(here):
        changes = []
        for t in T:
            moved = copy.deepcopy(model)
            with torch.no_grad():
                for parameter, g in zip(moved.parameters(), steps, strict=True):
                    parameter -= t * rate * g
            changes.append(float((gradients(moved, "weights", batch)[layer] - at_first).norm()))
        smooth = max(c / (t * rate * length) for c, t in zip(changes, T, strict=True))
        rows.append([max(changes) / float(at_first.norm()), smooth])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("model", "norm", "changes"),
    [
        ("mlp", "none", {"depth": 4, "width": 6, "activation": "tanh"}),
        ("mlp", "wn", {"depth": 3, "width": 6, "residual": True}),
        ("mlp", "bn", {"depth": 3, "width": 6}),
        ("cnn", "bn", {"depth": 8, "width": 2, "residual": True, "shortcut": "B"}),
        ("cnn", "ln", {"depth": 8, "width": 2, "activation": "gelu"}),
    ],
)
@pytest.mark.parametrize("rate", [1e-3, 0.3])
def test_measurements_are_those_of_moved_copies(configure, model, norm, changes, rate):
    network = stirred(configure(model, norm, **changes))
    torch.testing.assert_close(
        measured(network, rate), by_hand(network, rate), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize(
    ("model", "norm", "changes"),
    [
        ("mlp", "bn", {"depth": 5, "width": 8}),
        ("mlp", "bn", {"depth": 3, "width": 6, "noise": 0.5}),
        ("mlp", "wn", {"depth": 3, "width": 6, "residual": True}),
        ("mlp", "dyt", {"depth": 3, "width": 6}),
        ("mlp", "in", {"depth": 3, "width": 6}),
        ("cnn", "bn", {"depth": 8, "width": 2, "residual": True, "shortcut": "B"}),
        ("cnn", "none", {"depth": 8, "width": 2, "weight_standardization": "scaled"}),
        ("cnn", "rms", {"depth": 8, "width": 2}),
        ("encoder", "bn", {"depth": 2, "width": 4, "heads": 2, "masked": True}),
        ("encoder", "ln", {"depth": 2, "width": 4, "heads": 2, "qk_norm": True}),
    ],
)
def test_of_a_float32_network_and_a_small_rate_they_are_no_rounding(
    configure, model, norm, changes
):
    """In float32 the step is within the weights' rounding, the change within the gradients'."""
    network = stirred(configure(model, norm, **changes)).float()
    expected = by_hand(copy.deepcopy(network).double(), 1e-6)
    torch.testing.assert_close(measured(network, 1e-6), expected, rtol=1e-5, atol=1e-12)


def test_of_a_small_rate_smoothness_is_the_hessians(configure):
    """‖H∇L‖/‖∇L‖ of the whole network is the root of the sum of squares over its parameters."""
    model = stirred(configure("mlp", "none", depth=3, width=5, activation="tanh", bias=False))
    parameters = list(model.parameters())
    images, labels, _ = batch_of()
    first = torch.autograd.grad(
        F.cross_entropy(model(images), labels), parameters, create_graph=True
    )
    slope = sum((g * g.detach()).sum() for g in first)
    curved = torch.autograd.grad(slope, parameters)
    length = torch.stack([g.detach().norm() for g in first]).norm()
    expected = [float(c.norm() / length) for c in curved]
    weights = [layer.module.weight for layer in weight_layers(model)]
    places = [next(i for i, p in enumerate(parameters) if p is w) for w in weights]
    found = measured(model, 1e-6)[:, 1].tolist()
    assert found == pytest.approx([expected[place] for place in places], rel=1e-4)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("norm", ["none", "ln", "wn"])
def test_in_parts_the_figures_are_those_of_the_whole_batch(configure, norm, size):
    model = stirred(configure("mlp", norm, depth=3, width=5))
    torch.testing.assert_close(measured(model, 0.1, size), measured(model, 0.1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize(("model", "norm", "changes"), TRACE_CASES)
def test_moving_leaves_no_trace(configure, model, norm, changes, with_gradients):
    network = build_model(configure(model, norm, **changes), SHAPE, CLASSES, stream())
    images, labels = probe_batch(torch.float32)
    if with_gradients:
        F.cross_entropy(network(images), labels).backward()
    before = state(network)
    places = [(p.data_ptr(), p._version) for p in network.parameters()]
    moves_along_gradient(network, weight_layers(network), batch_of(torch.float32), 0.1)
    assert_untouched(before, state(network))
    assert places == [(p.data_ptr(), p._version) for p in network.parameters()]


def test_a_pass_that_fails_midway_leaves_the_weights(configure):
    network = stirred(configure("mlp", "bn", depth=3, width=4))
    before = state(network)
    passes = itertools.count()

    def fail(*_):
        if next(passes) == 2:
            raise RuntimeError("midway")

    handle = network.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="midway"):
        moves_along_gradient(network, weight_layers(network), batch_of(), 0.1)
    handle.remove()
    assert_untouched(before, state(network))


def test_without_a_rate_nothing_changes_and_nothing_moves(configure):
    found = measured(stirred(configure("mlp", "ln", depth=3, width=4)), 0.0)
    assert found[:, 0].tolist() == [0, 0, 0]
    assert found[:, 1].isnan().all()


def test_the_largest_over_all_reaches_counts():
    numbers = torch.tensor([1.0, 3.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 4.0, 8.0])
    predictiveness, smooth = (
        PROBES[name].measure(Moves(torch.tensor(2.0), *numbers)) for name in NAMES
    )
    assert (predictiveness, smooth) == (2, 1.5)
    nothing = Moves(torch.tensor(0.0), torch.zeros(4), torch.ones(4))
    assert PROBES["gradient_predictiveness"].measure(nothing).isnan()


# ----------------------------------------------------------------------------- in a training

ASKED = (
    *("grad_norm", "centred_cosine", "gradient_cosine", "effective_rank"),
    *("norm_gain", "norm_shift", "gradient_predictiveness", "smoothness"),
)
CNN = ["model=cnn", "model.depth=8", "model.width=2"]
PADDED = ["model=encoder", "model.depth=2", "model.width=8", "model.heads=2", "data.padding=0.5"]
SMALL = [
    *("norm=bn", "data=gaussian"),
    *("data.train_size=64", "data.test_size=16", "training.batch_size=16", "training.epochs=2"),
    *("probes.batch_size=24", "optimizer.lr=0.2", "schedule=cosine"),
]
TINY = [*CNN, *SMALL]


def test_a_training_that_measures_all_of_it_ends_with_the_same_bits():
    ends = {}
    for names in (ASKED, ("grad_norm",)):
        config = compose([*TINY, f"probes.measure=[{','.join(names)}]"])
        (ended,) = [event for event in train(config) if isinstance(event, Ended)]
        ends[names] = ended.model.state_dict()
    one, other = ends.values()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def test_it_stands_beside_other_measurements_or_alone():
    config = compose([*TINY, "probes.measure=[delta_rms,smoothness]"])
    rows = [event for event in train(config) if isinstance(event, Measurement)]
    steps = {event.step: event.probes for event in rows}
    assert steps.keys() >= {0, 8}
    assert all(set(values) >= {"delta_rms", "smoothness"} for values in steps.values())
    alone = compose([*TINY, "probes.measure=[smoothness]"])
    again = {e.step: e.probes for e in train(alone) if isinstance(e, Measurement)}
    assert {s: v["smoothness"] for s, v in steps.items()} == {
        s: v["smoothness"] for s, v in again.items()
    }


@pytest.mark.parametrize(
    ("model", "first"),
    [(CNN, 0.2), (CNN, 1e-5), (PADDED, 1e-5)],  # by the last step a rate of 8e-3 or 4e-7
)
def test_a_snapshots_rate_is_that_of_its_step(model, first):
    settings = f"optimizer.lr={first}", "probes.measure=[smoothness]"
    config = compose([*model, *SMALL, *settings])
    *_, found = [e.probes["smoothness"] for e in train(config) if isinstance(e, Measurement)]
    session = Session(config, None, lambda: False, 1)
    (ended,) = [e for e in train(config) if isinstance(e, Ended)]
    rate = session.rate(8)
    assert rate == session.rate(7) < session.rate(0) / 10
    batch = session.probe_batch._replace(images=session.probe_batch.images.double())
    expected = by_hand(ended.model.train().double(), rate, batch)[:, 1].tolist()
    assert found == pytest.approx(expected, rel=1e-6)
