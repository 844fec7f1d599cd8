"""What is shown of attention, and that it would show if it were otherwise."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special

from normlab.claims import attention
from normlab.claims.attention import (
    attention_scale,
    last_gradient,
    padding_leak,
    rank_collapse,
    starved_queries,
)
from normlab.config import compose
from normlab.networks import build_model
from normlab.networks.encoder import EncoderNetwork, Unchanged
from normlab.training import random_stream

SEED = 5


def stream(purpose):
    return random_stream(SEED, f"demonstration of {purpose}")


def encoder(drawing, *settings):
    size = ("model=encoder", "model.width=64", "model.heads=4", "model.positions=none", "norm=ln")
    return build_model(compose([*size, *settings]), (1, 16, 64), 10, drawing)


def attend(x, query, key, value, output):
    """Attention of four heads of 16 numbers, written out."""
    q, k, v = ((x @ weight.T).view(8, 16, 4, 16) for weight in (query, key, value))
    weights = torch.einsum("bqhd,bkhd->bhqk", q, k).div(4).softmax(dim=-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2) @ output.T


def gradient_ratios(output, direction, *weights):
    """Of queries and keys by that of values."""
    query, key, value = torch.autograd.grad((output * direction).sum(), weights)
    return [(query.norm() / value.norm()).item(), (key.norm() / value.norm()).item()]


def test_distances_and_cosines():
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 2.0], [2.0, 4.0]]]).double()
    assert attention._beyond_rank_one(tokens).tolist() == pytest.approx([0.6, 0], abs=1e-12)
    assert attention._token_cosine(tokens).item() == pytest.approx(0.5)  # of 0 and 1
    x = torch.tensor([[1.0, 3.0], [2.0, 0.0], [4.0, 30.0]])
    assert attention._slope(x, 5 - 3 * x).tolist() == pytest.approx([-3, -3])


def test_attention_that_forgets_its_mask_would_show(monkeypatch):
    kept = F.scaled_dot_product_attention

    def forgetful(*values, attn_mask=None, **settings):  # noqa: ARG001
        return kept(*values, **settings)

    assert padding_leak(5)["ln"] == 0
    monkeypatch.setattr(F, "scaled_dot_product_attention", forgetful)
    figures = padding_leak(5)
    assert figures["ln"] == pytest.approx(figures["no_mask"], rel=0.5)
    assert figures["ln"] > 0.1


class Leaking:
    """An encoder that adds the mean of all tokens, padding's too, and half of it in eval mode."""

    def __init__(self):
        self.gain = 1.0

    def eval(self):
        self.gain = 0.5

    def encode(self, x, mask):
        masked = 1 if mask is None else 2 + mask.double().mean()
        return x + self.gain * masked * x.mean(dim=(0, 1))


def test_what_leaks_is_measured_at_real_tokens(monkeypatch):
    drawing = stream("what padding leaks")
    tokens, noise, other, further = (
        torch.randn(8, count, 64, generator=drawing) for count in (16, 16, 16, 32)
    )
    lengths = torch.randint(8, 17, (8, 1), generator=drawing)
    real = torch.arange(16) < lengths
    empty, filled, refilled = (
        torch.stack(
            [torch.cat([t[:n], pad[n:]]) for t, pad, n in zip(tokens, pads, lengths, strict=True)]
        )
        for pads in (torch.zeros(8, 16, 64), noise, other)
    )
    # Half of 8 to 16 tokens: a quarter of all are padding, and with 12 more four times as many.
    longer = torch.cat([filled, further[:, :12]], dim=1)
    longer_real = torch.cat([real, torch.zeros(8, 12) > 0], dim=1)

    def change(one, two, masks=(real, real), gain=1.0):
        net = Leaking()
        net.gain = gain
        given = zip((one, two), masks, strict=True)
        one, two = (net.encode(x, mask)[:, :16][real] for x, mask in given)
        return ((two - one).norm() / one.norm()).item()

    built = []
    monkeypatch.setattr(attention, "_network", lambda _, *given: built.append(given) or Leaking())
    masked = change(empty, filled)
    more = change(filled, longer, (real, longer_real))
    assert padding_leak(SEED) == pytest.approx(
        {
            **dict.fromkeys(("ln", "rms", "bn_masked", "bn"), masked),
            "no_mask": change(empty, filled, (None, None)),
            **dict.fromkeys(("ln_longer", "bn_longer"), more),
            "bn_refilled": change(filled, refilled),
            "bn_eval": change(empty, filled, gain=0.5),
        },
        rel=1e-4,
    )
    norms = ["norm=ln", "norm=rms", "norm=ln", "norm=bn", "norm=bn norm.masked=false"]
    assert [" ".join(given) for given in built] == norms


def test_logits_that_are_not_scaled_are_deviant():
    """At a deviation of 1, H/ln n = 1 − 1/(2 ln n); of the frozen one there is hardly any."""
    figures = attention_scale(SEED)
    drawing = stream("attention's scale")
    expected = {}
    for size in (16, 64, 512):
        queries, keys = (
            torch.randn(1024, size, generator=drawing, dtype=torch.float64).numpy()
            for _ in range(2)
        )
        logits = queries @ keys.T
        expected[f"variance_{size}"] = logits.var() / size
    scaled = logits / math.sqrt(512)
    for name, share in (("quarter", 1 / 4), ("half", 1 / 2), ("whole", 1)):
        weights = special.softmax(share * math.sqrt(2 * math.log(1024)) * scaled, axis=1)
        expected[f"entropy_{name}"] = special.entr(weights).sum(axis=1).mean() / math.log(1024)
    expected["over_model_quarter"] = expected["entropy_quarter"] / (15 / 16)
    expected["over_model_half"] = expected["entropy_half"] / (3 / 4)
    for name, values in (("unscaled", logits), ("scaled", scaled)):
        expected[f"taken_{name}"] = (special.softmax(values, axis=1).max(axis=1) > 0.99).mean()
    assert figures == pytest.approx(expected, rel=1e-9)
    assert figures["over_model_half"] == pytest.approx(1, abs=0.02)
    assert figures["entropy_whole"] < 0.5 < figures["entropy_half"]
    assert figures["taken_scaled"] == 0 < 0.4 < figures["taken_unscaled"]


@pytest.mark.parametrize("power", [0, -1, -0.5])
def test_attention_that_divides_by_another_power_of_d_would_show(monkeypatch, power):
    class Otherwise(attention.Attention):
        def __init__(self, model):
            super().__init__(model)
            if model.attention_scale == "sqrt":
                self.scale = (model.width / model.heads) ** power

    monkeypatch.setattr(attention, "Attention", Otherwise)
    found = attention_scale(5)["over_model_half"]
    assert (0.98 < found < 1.02) == (power == -0.5)  # the gate


def test_powers_of_rank_collapse_are_those_of_attention_written_out():
    drawing = stream("rank collapse")

    def gaussian(*shape):
        return torch.randn(shape, generator=drawing, dtype=torch.float64)

    layers = [[gaussian(64, 64) / 8 for _ in range(4)] for _ in range(3)]
    apart, alike = gaussian(8, 16, 64), gaussian(8, 1, 64)

    def beyond(x):
        squares = np.linalg.svd(x.numpy(), compute_uv=False) ** 2
        return np.sqrt(squares[:, 1:].sum(axis=1) / squares.sum(axis=1))

    def exponent(number, starts):
        points = []
        for start in starts:
            x = alike + start * apart
            for weights in layers[: number - 1]:
                x = attend(x, *weights)
            points.append((beyond(x), beyond(attend(x, *layers[number - 1]))))
        before, behind = np.log(points).transpose(1, 0, 2)
        return np.mean([np.polyfit(before[:, i], behind[:, i], 1)[0] for i in range(8)])

    plain = skipping = apart
    for weights in layers:
        plain, skipping = attend(plain, *weights), skipping + attend(skipping, *weights)
    assert rank_collapse(SEED) == pytest.approx(
        {
            "first_layer": exponent(1, np.logspace(-1, -3, 9)),
            "second_layer": exponent(2, np.logspace(-0.4, -1.1, 8)),
            "after_three_plain": beyond(plain).mean(),
            "after_three_skipping": beyond(skipping).mean(),
        },
        rel=1e-6,
    )


def test_the_last_gradient_of_pre_norm_falls_by_its_final_norm(monkeypatch):
    """Xiong et al. 2020: it is the last norm that divides by √L."""
    figures = last_gradient(SEED)
    assert figures["pre"] < -0.2
    drawing = stream("the last gradient")
    images = torch.randn(8, 1, 16, 64, generator=drawing)
    labels = torch.randint(10, (8,), generator=drawing)
    for placement in ("post", "pre"):
        norms = []
        for depth in (6, 12, 24, 48):
            settings = f"model.depth={depth}", f"model.placement={placement}"
            network = encoder(drawing, *settings)
            F.cross_entropy(network(images), labels).backward()
            weights = dict(network.named_parameters())
            norms.append(weights[f"body.block{depth}.feed_forward2.weight"].grad.norm().item())
        slope = np.polyfit(np.log((6, 12, 24, 48)), np.log(norms), 1)[0]
        assert figures[placement] == pytest.approx(slope, abs=1e-4)
    built = attention._network

    def without(*settings) -> EncoderNetwork:
        network = built(*settings)
        network.final_norm = Unchanged()
        return network

    monkeypatch.setattr(attention, "_network", without)
    assert last_gradient(SEED)["pre"] > -0.2


def test_keys_starve_as_queries_do():
    figures = starved_queries(SEED)
    drawing = stream("starved queries")

    def gaussian(*shape):
        return torch.randn(shape, generator=drawing, dtype=torch.float64)

    weights = [(gaussian(64, 64) / 8).requires_grad_() for _ in range(4)]
    alike, apart, direction = (gaussian(8, count, 64) for count in (1, 16, 16))
    distances, ratios = [], []
    for halvings in range(1, 14):
        share = 2.0**-halvings
        x = math.sqrt(1 - share) * alike + math.sqrt(share) * apart
        cosines = F.cosine_similarity(x[:, :, None], x[:, None], dim=3)
        # All but the 16 of a token with itself.
        distances.append(1 - (cosines.sum() / 8 - 16).item() / (16 * 15))
        ratios.append(gradient_ratios(attend(x, *weights), direction, *weights[:3]))
    slopes = np.polyfit(np.log(distances), np.log(ratios), 1)[0]
    assert [figures["query"], figures["key"]] == pytest.approx(slopes, rel=1e-6)
    for placement in ("post", "pre", "peri", "deepnorm"):
        settings = "model.depth=24", f"model.placement={placement}"
        network = encoder(drawing, *settings).double()
        named = dict(network.named_parameters())
        last = [
            named[f"body.block24.attention.{name}.weight"] for name in ("query", "key", "value")
        ]
        ratio, _ = gradient_ratios(network.encode(apart, None), direction, *last)
        assert figures[placement] == pytest.approx(ratio, rel=1e-3)
    assert figures["key"] == pytest.approx(figures["query"], abs=0.03)
    assert figures["post"] < 1e-4 < figures["pre"] < figures["deepnorm"]
