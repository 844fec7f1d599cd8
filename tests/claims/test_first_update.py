"""How large a first step may be, against the change that autograd's own derivative says."""

import math

import pytest
import torch

from normlab.claims import first_update
from normlab.config import compose
from normlab.networks import cross_entropy
from normlab.training import random_stream


def test_the_maximal_rate_is_that_of_the_derivative_along_the_gradient(monkeypatch):
    """Against a hand-written network and its derivative along its loss's gradient."""
    drawn = []
    build = first_update.build_model

    def copied(*given):
        network = build(*given)
        named = random_stream(3, "demonstration of a first update")
        assert given[-1].initial_seed() == named.initial_seed()
        drawn.append([weight.detach().double() for weight in network.parameters()])
        drawn.append(given[-1].get_state())
        return network

    monkeypatch.setattr(first_update, "build_model", copied)
    found = first_update._maximal_rate(3, 4, "model=mlp", "model.width=7", "model.depth=5")
    (*weights, bias), state = drawn  # the output layer alone has a bias
    assert not bias.any()
    stream = torch.Generator()
    stream.set_state(state)
    images = torch.randn(8, 16, generator=stream).double()
    labels = torch.randint(10, (8,), generator=stream)

    layers = [weight.requires_grad_() for weight in weights]
    h = images
    for weight in layers[:4]:
        h = (h @ weight.T).clamp(min=0)
    gradients = torch.autograd.grad(cross_entropy(h @ layers[4].T, labels, "softmax"), layers)
    h, moved = images, torch.zeros_like(images)  # and how it moves along the gradient
    with torch.no_grad():
        for weight, gradient in zip(layers[:4], gradients[:4], strict=True):
            z, change = h @ weight.T, h @ gradient.T + moved @ weight.T
            h, moved = z.clamp(min=0), change * (z > 0)
    assert found == pytest.approx(1 / math.sqrt(change.square().mean()), rel=1e-5)


def test_the_power_is_a_slope_of_logs(monkeypatch):
    nets = []

    def rate(seed, pixels, *settings):
        model = compose(["norm=none", *settings]).model
        nets.append((seed, pixels, model.name, model.width, model.depth))
        return 5 * model.depth**-1.5

    monkeypatch.setattr(first_update, "_maximal_rate", rate)
    assert first_update.first_update(2) == pytest.approx(
        dict.fromkeys(("mlp", "conv_8", "conv_64"), -1.5)
    )
    assert nets == [
        *((2, 8, "mlp", 256, depth) for depth in (5, 10, 20, 40)),
        *((2, pixels, "cnn", 8, depth) for pixels in (8, 64) for depth in (8, 14, 20, 26)),
    ]
