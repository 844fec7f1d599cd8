"""What is shown of attention, and that it would show if it were otherwise."""

import pytest
import torch
import torch.nn.functional as F

from normlab.claims import attention
from normlab.claims.attention import attention_scale, last_gradient, padding_leak, starved_queries
from normlab.networks.encoder import EncoderNetwork, Unchanged


def test_distances_and_cosines():
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[1.0, 2.0], [2.0, 4.0]]]).double()
    assert attention._beyond_rank_one(tokens).tolist() == pytest.approx([0.6, 0], abs=1e-12)
    assert attention._token_cosine(tokens).item() == pytest.approx(0.5)  # of 0 and 1
    x = torch.tensor([1.0, 2.0, 4.0])[:, None]
    assert attention._slope(x, 5 - 3 * x).item() == pytest.approx(-3)


def test_attention_that_forgets_its_mask_would_show(monkeypatch):
    kept = F.scaled_dot_product_attention

    def forgetful(*values, attn_mask=None, **settings):  # noqa: ARG001
        return kept(*values, **settings)

    assert padding_leak(5)["ln"] == 0
    monkeypatch.setattr(F, "scaled_dot_product_attention", forgetful)
    figures = padding_leak(5)
    assert figures["ln"] == pytest.approx(figures["no_mask"], rel=0.5)
    assert figures["ln"] > 0.1


def test_logits_that_are_not_scaled_are_deviant():
    """At a deviation of 1, H/ln n = 1 − 1/(2 ln n); of the frozen one there is hardly any."""
    figures = attention_scale(5)
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


def test_the_last_gradient_of_pre_norm_falls_by_its_final_norm(monkeypatch):
    """Xiong et al. 2020: it is the last norm that divides by √L."""
    assert last_gradient(5)["pre"] < -0.2
    built = attention._network

    def without(*settings) -> EncoderNetwork:
        network = built(*settings)
        network.final_norm = Unchanged()
        return network

    monkeypatch.setattr(attention, "_network", without)
    assert last_gradient(5)["pre"] > -0.2


def test_keys_starve_as_queries_do():
    figures = starved_queries(5)
    assert figures["key"] == pytest.approx(figures["query"], abs=0.03)
    assert figures["post"] < 1e-4 < figures["pre"] < figures["deepnorm"]
