"""What is shown without training, against figures that must come out.

Several figures are of rounding alone. What they would be if it were otherwise is asked with another
softmax, or with something else in a norm's place.
"""

import numpy as np
import pytest
import torch
from scipy import special
from torch import nn

from normlab.claims import demonstrations
from normlab.claims.demonstrations import identity, invariance, padding, softmax, statistics
from normlab.training import random_stream

SEED = 4
EPS = 1e-5


def stream(purpose):
    return random_stream(SEED, f"demonstration of {purpose}")


class Instead:
    """Builds this module where a norm is asked for."""

    eps = EPS

    def __init__(self, module):
        self.module = module

    def build(self, _width, *, spatial):
        assert not spatial
        return self.module

    def model_copy(self, update):  # noqa: ARG002
        return self


def test_a_softmax_off_by_a_hundredth_would_show(monkeypatch):
    logits = 5 * torch.randn(64, 100, generator=stream("softmax")).double().numpy()
    exact = special.softmax(logits, axis=1)
    figures = softmax(SEED)
    assert figures.pop("least") == pytest.approx(exact.min(), rel=1e-5)
    assert max(figures.values()) < 1e-6
    kept = torch.softmax
    monkeypatch.setattr(torch, "softmax", lambda x, dim: 1.01 * kept(x, dim))
    assert softmax(SEED) == pytest.approx(
        {
            "least": 1.01 * exact.min(),
            "sum": 0.01,
            "gradient": 0.01 * exact.max(),
            "logistic": 0.01 * special.expit(logits[:, 0]).max(),
        },
        rel=1e-4,
    )


def padded():
    """Logits and where padding is not: half of them on average, and the whole last row."""
    logits = 5 * torch.randn(64, 20, generator=stream("padding"), dtype=torch.float64)
    mask = torch.rand(64, 20, generator=stream("mask")) < 0.5
    mask[:, 0], mask[-1] = True, False
    return logits, mask


def test_the_fill_breaks_where_science_says_and_the_mask_does_not():
    assert padding(SEED) == {
        **dict.fromkeys(("fill_float32", "fill_float64", "own", "own_broken"), 0),
        **{"uniform_float32": 0, "uniform_float64": 0, "fill_nan_float16": 1},
    }


def test_a_fill_that_forgets_its_mask_would_show(monkeypatch):
    logits, mask = padded()
    weights = special.softmax(logits.numpy(), axis=1)

    def forgetful(x, given, dim):
        assert torch.equal(given, mask)
        return torch.softmax(x, dim)

    monkeypatch.setattr(demonstrations, "fill_softmax", forgetful)
    figures = padding(SEED)
    for name in ("float32", "float64"):
        leak = weights[:-1][~mask[:-1].numpy()].max()
        assert figures[f"fill_{name}"] == pytest.approx(leak, rel=1e-5)
        off = np.abs(weights[-1] - 1 / 20).max()
        assert figures[f"uniform_{name}"] == pytest.approx(off, rel=1e-5)
    assert figures["fill_nan_float16"] == 0


def test_a_masked_softmax_that_leaks_or_breaks_would_show(monkeypatch):
    def leaking(x, mask, dim):
        return torch.softmax(x, dim) * torch.where(mask, 1.0, -0.5).to(x)

    logits, mask = padded()
    leak = special.softmax(logits.numpy(), axis=1)[~mask.numpy()].max() / 2
    monkeypatch.setattr(demonstrations, "masked_softmax", leaking)
    figures = padding(SEED)
    assert figures["own"] == pytest.approx(leak, rel=0.01)  # of bfloat16
    assert figures["own_broken"] == 0

    def breaking(x, mask, dim):
        return torch.softmax(x + mask.to(x).log(), dim)

    monkeypatch.setattr(demonstrations, "masked_softmax", breaking)
    # The last row's 20 values and 20 gradients in each of four data types.
    assert padding(SEED)["own_broken"] == 4 * (20 + 20)


def test_batch_and_layer_norm_work_on_columns_and_rows(monkeypatch):
    x = 3 + 2 * torch.randn(128, 64, generator=stream("statistics"), dtype=torch.float64).numpy()
    x *= np.logspace(-2, 1, 64)
    v = x.var(axis=0)
    figures = statistics(SEED)
    assert figures.pop("least_variance") == pytest.approx((v / (v + EPS)).min(), rel=1e-9)
    assert max(figures.values()) < 1e-10

    # With a greater ε in LayerNorm alone.
    with monkeypatch.context() as patch:
        other = demonstrations._LAYER_NORM.model_copy(update={"eps": 1e-3})
        patch.setattr(demonstrations, "_LAYER_NORM", other)
        factor = 1 / np.sqrt(v + EPS) - 1 / np.sqrt(v + 1e-3)
        expected = np.abs((x - x.mean(axis=0)) * factor).max()
        assert statistics(SEED)["transpose"] == pytest.approx(expected, rel=1e-9)

    # Without any norm.
    for name in ("_BATCH_NORM", "_LAYER_NORM"):
        monkeypatch.setattr(demonstrations, name, Instead(nn.Identity()))
    assert statistics(SEED) == pytest.approx(
        {
            "mean": np.abs(x.mean(axis=0)).max(),
            "row_mean": np.abs(x.mean(axis=1)).max(),
            "transpose": 0,
            "variance": np.abs(v - v / (v + EPS)).max(),
            "least_variance": v.min(),
        },
        rel=1e-9,
    )


def test_the_papers_gamma_is_off_by_what_epsilon_adds():
    """(x − E)(√v/√(v+ε) − 1): at a deviation of .01 a relative 1 − 1/√1.1."""
    x = 3 + torch.randn(256, 64, generator=stream("identity")).double().numpy()
    x *= np.logspace(-2, 0, 64)
    v = x.var(axis=0)
    error = np.abs((x - x.mean(axis=0)) * (1 - np.sqrt(v / (v + EPS)))).max()
    figures = identity(SEED)
    assert error > 1e-4
    assert figures["naive"] == pytest.approx(error, rel=2e-3)
    assert figures["exact"] < 1e-5


def test_behind_larger_weights_batch_norm_gives_the_same_and_smaller_gradients(monkeypatch):
    figures = invariance(SEED)
    assert figures["output"] < 1e-10
    assert figures["gradient"] == pytest.approx(0.1, rel=1e-10)

    # With tanh in its place, which is not invariant.
    drawing = stream("invariance")
    x, weight, direction = (
        torch.randn(shape, generator=drawing, dtype=torch.float64).numpy()
        for shape in ((128, 32), (16, 32), (128, 16))
    )
    monkeypatch.setattr(demonstrations, "_BATCH_NORM", Instead(nn.Tanh()))
    small, large = (np.tanh(scale * x @ weight.T) for scale in (1, 10))
    norms = [np.linalg.norm((direction * (1 - y**2)).T @ x) for y in (small, large)]
    figures = invariance(SEED)
    assert figures["output"] == pytest.approx(np.abs(large - small).max(), rel=1e-9)
    assert figures["gradient"] == pytest.approx(norms[1] / norms[0], rel=1e-9)
