"""What a training step measures of itself."""

import math

import pytest
import torch
import torch.nn.functional as F

from normlab.measurement import gradient_norms, update_ratios, watched_weights
from normlab.networks import weight_layers
from tests.measurement.devices import every_device
from tests.measurement.reference import ByHand, assert_same, probe_batch, stirred


@every_device
@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-38])
def test_float32_gradients_do_not_underflow(scale, device):
    """Their squares are 0 in float32, yet a vanished gradient must not read as exactly 0."""
    weight = torch.zeros(5, 20, device=device, requires_grad=True)
    weight.grad = torch.full_like(weight, scale)
    assert gradient_norms([weight]).item() == pytest.approx(10 * scale, rel=1e-6)


def test_a_weight_that_no_gradient_reached_has_one_of_0() -> None:
    reached, other = (torch.ones(4, requires_grad=True) for _ in range(2))
    reached.sum().backward()
    assert gradient_norms([reached, other]).tolist() == [2.0, 0.0]


@every_device
def test_small_updates_of_small_weights_do_not_underflow(device):
    before = torch.full((4,), 1e-25, device=device)
    after = before.clone()
    after[0] *= 1 + 2**-20
    ratio = update_ratios([before], [after]).item()
    assert ratio == pytest.approx(2**-20 / 2, rel=0.1)  # float32 rounds the step itself


@every_device
@pytest.mark.parametrize("scale", [1e30, 3e38])
def test_float32_explosions_do_not_overflow(scale, device):
    big = torch.tensor([[scale, -scale], [scale, scale]], device=device)
    weight = torch.zeros_like(big, requires_grad=True)
    weight.grad = big
    assert gradient_norms([weight]).item() == pytest.approx(2 * scale, rel=1e-6)


@pytest.mark.parametrize("norm", ["none", "bn", "wn"])
def test_update_ratio_of_an_sgd_step(configure, norm):
    """Plain SGD moves a weight by lr·∇; g and v move under weight normalization, W follows."""
    config = configure("mlp", norm, depth=4, width=6)
    model, lr = stirred(config), 0.3
    layers = weight_layers(model)
    images, labels = probe_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    with watched_weights(layers) as weights:
        F.cross_entropy(model(images), labels).backward()
    before = [w.detach().clone() for w in weights]
    optimizer.step()
    measured = update_ratios(before, [layer.module.weight for layer in layers])

    reference = ByHand(config, stirred(config))
    for value in reference.values.values():
        value.requires_grad_()
    names = [*(f"body.hidden{i}.linear" for i in (1, 2, 3)), "output"]
    start = [reference.weight(name).detach().clone() for name in names]
    logits = differentiable_mlp(reference, images)
    F.cross_entropy(logits, labels).backward()
    with torch.no_grad():
        for value in reference.values.values():
            value -= lr * value.grad
        end = [reference.weight(name) for name in names]
    expected = [
        ((e - s) ** 2).sum().sqrt() / (s**2).sum().sqrt() for s, e in zip(start, end, strict=True)
    ]
    assert_same(measured[:, None], torch.stack(expected)[:, None])
    assert (measured > 0).all()


def differentiable_mlp(reference, images):
    """ByHand.mlp down to the parameters themselves: `layer` makes leaves of the weights."""
    h = images.flatten(1)
    for i in range(1, reference.model.depth):
        name = f"body.hidden{i}"
        z = F.linear(h, reference.weight(f"{name}.linear"), reference.values[f"{name}.linear.bias"])
        h = reference.function(reference.normalize(f"{name}.unit.norm", z))
    return F.linear(h, reference.weight("output"), reference.values["output.bias"])


def test_update_ratio_of_plain_sgd_is_learning_rate_times_gradient_over_weight(configure):
    model, lr = stirred(configure("cnn", "bn", depth=8, width=2)), 0.1
    layers = weight_layers(model)
    images, labels = probe_batch()
    with watched_weights(layers) as weights:
        F.cross_entropy(model(images), labels).backward()
    before = [w.detach().clone() for w in weights]
    torch.optim.SGD(model.parameters(), lr).step()
    weight_norms = torch.stack([b.norm() for b in before])
    # W − (W − lr·∇) rounds at 1e-16 of W, a relative 1e-10 of a step this small or smaller.
    torch.testing.assert_close(
        update_ratios(before, [layer.module.weight for layer in layers]),
        lr * gradient_norms(weights) / weight_norms,
        rtol=1e-9,
        atol=1e-15,
    )


def test_no_update_is_a_ratio_of_0_and_a_move_from_0_is_infinite():
    ones, zeros = torch.ones(3), torch.zeros(3)
    still, left_zero = update_ratios([ones, zeros], [ones, ones])
    assert still == 0
    assert left_zero == math.inf


def test_watching_ends_with_its_context(configure):
    """Under weight normalization W is cached only while it is watched: a later W is a new one."""
    model = stirred(configure("mlp", "wn", depth=3, width=5))
    layers = weight_layers(model)
    with watched_weights(layers) as weights:
        assert layers[0].module.weight is weights[0]
    with torch.no_grad():
        layers[0].module.parametrizations.weight.original0.mul_(2)
    torch.testing.assert_close(layers[0].module.weight, 2 * weights[0])


@pytest.mark.parametrize("norm", ["none", "wn"])
def test_watching_weights_changes_no_gradient(configure, norm):
    images, labels = probe_batch()
    gradients = []
    for watched in (True, False):
        network = stirred(configure("mlp", norm, depth=3, width=6))
        if watched:
            with watched_weights(weight_layers(network)):
                F.cross_entropy(network(images), labels).backward()
        else:
            F.cross_entropy(network(images), labels).backward()
        gradients.append([p.grad for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
