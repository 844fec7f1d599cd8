"""What is shown of skips at initialization, and that it would show if it were otherwise."""

import math

import pytest
import torch

from normlab.claims import residual_branches
from normlab.claims.residual_branches import (
    branch_scale,
    normalizer_free,
    residual_stream,
    shattering,
)


def test_the_stream_doubles_without_norm():
    figures = residual_stream(7)
    assert figures["factor"] == pytest.approx(2, rel=0.05)
    assert figures["increment"] == pytest.approx(1, rel=0.1)


def test_autocorrelation_of_noise_and_of_waves():
    noise = torch.randn(50, 4000, generator=torch.Generator().manual_seed(1)).double()
    assert residual_branches._autocorrelation(noise) == pytest.approx(0, abs=0.01)
    points = torch.arange(4000).double()
    waves = torch.stack([5 + torch.sin(0.5 * points), 2 * torch.cos(0.5 * points)])
    assert residual_branches._autocorrelation(waves) == pytest.approx(math.cos(0.5), abs=2e-3)


def test_gradients_by_inputs_are_those_of_finite_differences(monkeypatch):
    """With BatchNorm's statistics held, f at one point moves with that point alone."""
    kept = []

    def build(*given):
        kept.append(residual_branches_build(*given))
        return kept[-1]

    residual_branches_build = residual_branches.build_model
    monkeypatch.setattr(residual_branches, "build_model", build)
    found = residual_branches._input_gradients(3, "model.depth=4", "model.residual=true")
    (network,) = kept
    x = torch.linspace(-2, 2, 256).double()[:, None, None, None]
    step = 1e-6
    with torch.no_grad():
        slopes = (network(x + step) - network(x - step)) / (2 * step)
    kinks = (found - slopes.T).abs() > 1e-4  # a ReLU opens between the two
    assert kinks.double().mean() < 0.01
    assert not network.training
    with torch.no_grad():
        held = network(x)
        network.train()
        # Held statistics are of these points; running variances are divided by 255, not 256.
        torch.testing.assert_close(held, network(x), rtol=0.02, atol=0.02)


def test_a_plain_networks_gradient_shatters_with_depth():
    figures = shattering(7)
    assert figures["plain_24"] < 0.2 < figures["plain_8"] < figures["plain_2"]
    difference = figures["scaled_24"] - figures["residual_24"]
    assert figures["scaled_above_residual_24"] == difference
    assert difference > 0


def test_streams_are_those_of_the_formula(monkeypatch):
    """h + a·Wφ(h/b), against a loop over the network's own weights."""
    monkeypatch.setattr(residual_branches, "WIDTH", 16)
    monkeypatch.setattr(residual_branches, "BLOCKS", 4)
    kept = []
    build = residual_branches.build_model
    monkeypatch.setattr(
        residual_branches, "build_model", lambda *a: kept.append(build(*a)) or kept[-1]
    )
    for scale, a in (("one", 1), ("sqrt_depth", 0.5), ("depth", 0.25), ("skipinit", 0)):
        streams = residual_branches._streams(4, f"model.branch_scale={scale}")
        _, *weights, _ = (
            p.detach() for name, p in kept[-1].named_parameters() if name.endswith(".weight")
        )
        assert len(weights) == len(streams) - 1 == 4
        for weight, before, behind in zip(weights, streams, streams[1:], strict=False):
            expected = before + a * before.clamp(min=0) @ weight.T
            torch.testing.assert_close(behind, expected, rtol=1e-6, atol=1e-9)


def test_a_branch_that_begins_closed_leaves_the_stream_as_it_is(monkeypatch):
    monkeypatch.setattr(residual_branches, "BLOCKS", 8)
    figures = branch_scale(5)
    assert figures["gain_skipinit"] == figures["gradient_skipinit"] == 1
    assert figures["gain_one"] == pytest.approx(2**8, rel=0.4)
    assert figures["gain_sqrt_depth"] == pytest.approx((1 + 1 / 8) ** 8, rel=0.1)
    for scale in ("one", "sqrt_depth", "depth"):
        gradient = figures[f"gradient_{scale}"]
        assert gradient > 1
        assert gradient == pytest.approx(math.sqrt(figures[f"gain_{scale}"]), rel=0.1)


def test_weights_that_keep_a_mean_leave_the_prediction():
    figures = normalizer_free(5)
    for blocks in (10, 25, 50):
        assert figures[str(blocks)] == pytest.approx(1 + 0.04 * blocks, rel=0.06)
        assert figures[f"unstandardized_{blocks}"] < 0.94 * (1 + 0.04 * blocks)
