"""What is shown of skips at initialization, and that it would show if it were otherwise."""

import math

import numpy as np
import pytest
import torch

from normlab.claims import residual_branches
from normlab.claims.residual_branches import (
    branch_scale,
    normalizer_free,
    residual_stream,
    shattering,
)
from normlab.config import compose
from normlab.networks import build_model
from normlab.training import random_stream


def stream(seed, purpose):
    return random_stream(seed, f"demonstration of {purpose}")


def test_the_stream_doubles_without_norm(monkeypatch):
    widths, he = set(), residual_branches.he
    monkeypatch.setattr(residual_branches, "he", lambda *w: widths.add(w) or he(*w))
    figures = residual_stream(7)
    assert widths == {(1024, 1024)}
    assert figures["factor"] == pytest.approx(2, rel=0.05)
    assert figures["increment"] == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("norm", ["none", "bn"])
def test_a_streams_variances_are_those_of_blocks_written_out(norm):
    drawing = stream(4, f"residual stream {norm}")
    h = torch.randn(128, 32, generator=drawing).double().numpy()
    expected = []
    for _ in range(10):
        y = h
        for _ in range(2):
            if norm == "bn":
                y = (y - y.mean(axis=0)) / np.sqrt(y.var(axis=0) + 1e-5)
            weight = torch.randn(32, 32, generator=drawing).double().numpy() / 4  # √(2/32)
            y = np.maximum(y, 0) @ weight.T
        h = h + y
        expected.append(h.var())
    found = residual_branches._stream_variances(norm, 4, width=32)
    assert found.tolist() == pytest.approx(expected, rel=1e-4)


def test_a_streams_growth_is_read_from_its_variances(monkeypatch):
    variances = {"none": [3 * 2.1**k for k in range(10)], "bn": [*range(3, 12), 20]}
    monkeypatch.setattr(
        residual_branches,
        "_stream_variances",
        lambda norm, seed: torch.tensor(variances[norm]).double() * (seed == 7),
    )
    assert residual_stream(7) == pytest.approx(
        {
            "factor": 2.1,
            "straightness": np.corrcoef(range(10), variances["bn"])[0, 1] ** 2,
            "increment": 17 / 9,
        }
    )


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
    settings = "norm=bn", "norm.momentum=1", "model.depth=4", "model.residual=true"
    config = compose(["model=mlp", "model.width=200", *settings])
    fresh = build_model(config, (1, 1, 1), 10, stream(3, "shattering")).double()
    torch.testing.assert_close(list(network.parameters()), list(fresh.parameters()))
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


def test_each_network_has_its_own_autocorrelation(monkeypatch):
    def built(seed, *settings):
        assert seed == 7
        return compose(["model=mlp", *settings]).model

    def code(model):
        return model.depth + 100 * model.residual + 1000 * (model.branch_scale == "sqrt_depth")

    monkeypatch.setattr(residual_branches, "_input_gradients", built)
    monkeypatch.setattr(residual_branches, "_autocorrelation", code)
    assert shattering(7) == {
        **{"plain_2": 2, "plain_8": 8, "plain_24": 24, "residual_8": 108, "residual_24": 124},
        **{"scaled_24": 1124, "scaled_above_residual_24": 1000},
    }


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
        settings = f"model.branch_scale={scale}", "model.residual=true", "model.block=pre"
        config = compose(["model=mlp", "model.width=16", "model.depth=6", "norm=none", *settings])
        drawing = stream(4, "residual streams")
        fresh = build_model(config, (1, 1, 16), 10, drawing)
        inputs = torch.randn(128, 16, generator=drawing)
        entering = next(fresh.parameters())
        torch.testing.assert_close(streams[0].float(), inputs @ entering.T)
        for weight, before, behind in zip(weights, streams, streams[1:], strict=False):
            expected = before + a * before.clamp(min=0) @ weight.T
            torch.testing.assert_close(behind, expected, rtol=1e-6, atol=1e-9)


def test_growth_and_gradient_are_read_from_the_streams(monkeypatch):
    """Of h ↦ c·h², whose gradient 2c·h is another for every number."""
    first = torch.arange(1.0, 13).view(3, 4).double()
    factors = {"one": 3, "sqrt_depth": 5, "depth": 7, "skipinit": 11}
    direction = torch.randn(3, 4, generator=stream(7, "direction")).double().numpy()

    def streams(seed, *settings):
        assert seed == 7
        model = compose(["model=mlp", "model.residual=true", *settings]).model
        assert not model.bias
        before = first.clone().requires_grad_()
        return [before, -before, factors[model.branch_scale] * before**2]

    monkeypatch.setattr(residual_branches, "_streams", streams)
    expected = {}
    h = first.numpy()
    for scale, c in factors.items():
        gain = np.mean((c * h**2) ** 2) / np.mean(h**2)
        expected[f"gain_{scale}"] = gain
        expected[f"gain_per_block_{scale}"] = gain ** (1 / 50)
        gradient = np.linalg.norm(2 * c * h * direction)
        expected[f"gradient_{scale}"] = gradient / np.linalg.norm(direction)
    assert branch_scale(7) == pytest.approx(expected)


def test_variances_are_read_from_the_streams(monkeypatch):
    """Of each unit over samples, whatever the units' means are."""
    numbers = np.random.default_rng(1)
    drawn = {
        kind: [numbers.normal(size=(9, 4)) * (2 + k) + [0, 5, -9, k] for k in range(51)]
        for kind in ("scaled", "none")
    }

    def streams(seed, *settings):
        assert seed == 7
        residual = ("model=mlp", "model.residual=true", "model.block=pre", "norm=none")
        model = compose([*residual, *settings]).model
        assert model.branch_scale == "normalizer_free"
        return [torch.tensor(h) for h in drawn[model.weight_standardization]]

    monkeypatch.setattr(residual_branches, "_streams", streams)
    expected = {}
    for prefix, kind in (("", "scaled"), ("unstandardized_", "none")):
        before, *behind = (h.var(axis=0).mean() for h in drawn[kind])
        for blocks in (10, 25, 50):
            expected[f"{prefix}{blocks}"] = behind[blocks - 1] / before
    assert normalizer_free(7) == pytest.approx(expected)


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
