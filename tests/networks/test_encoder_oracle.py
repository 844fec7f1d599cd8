"""The oracle itself, against layers of PyTorch and against what must hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.networks.encoder_oracle import (
    ACTIVATIONS,
    Block,
    Design,
    Network,
    attention,
    deepnorm_alpha,
    deepnorm_beta,
    encode,
    normalize,
    patches_of,
    real_tokens,
    rows_of,
    statistics,
)

MASK = [[True] * 5, [True, True, False, False, False], [True, True, True, False, True]]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def taken_apart(layer: nn.TransformerEncoderLayer) -> Block:
    """The parameters of PyTorch's own block."""
    own = layer.self_attn
    layers = dict(zip(("query", "key", "value"), own.in_proj_weight.chunk(3), strict=True))
    biases = own.in_proj_bias.chunk(3)
    layers |= dict(zip(("query bias", "key bias", "value bias"), biases, strict=True))
    parts = {
        "output": own.out_proj,
        "feed_forward1": layer.linear1,
        "feed_forward2": layer.linear2,
    }
    for name, part in parts.items():
        layers |= {name: part.weight, f"{name} bias": part.bias}
    norms = [{"gamma": n.weight, "beta": n.bias} for n in (layer.norm1, layer.norm2)]
    return Block(layers, norms)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_are_pytorchs(first, activation, masked):
    """Post- and pre-LN of `nn.TransformerEncoderLayer`, its gradient by the input too."""
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(
        *(8, 2, 16, 0.0), activation=activation, norm_first=first, batch_first=True
    ).double()
    for parameter in layer.parameters():  # biases begin at 0 and gains at 1
        nn.init.normal_(parameter, std=0.5)
    x = drawn(3, 5, 8).requires_grad_()
    mask = MASK if masked else None
    theirs = layer(x, src_key_padding_mask=~torch.tensor(MASK) if masked else None)
    design = Design("pre" if first else "post", "ln", heads=2, activation=activation)
    network = Network({"embedding": torch.eye(8).double()}, [taken_apart(layer)])
    ours = encode(network, design, x, mask)
    assert (ours - theirs).abs().max() < 1e-12
    direction = drawn(3, 5, 8, seed=1)
    gradients = [torch.autograd.grad((y * direction).sum(), x)[0] for y in (ours, theirs)]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-12


def test_tokens_that_attend_to_nothing_get_nothing():
    layers = {name: drawn(4, 4, seed=s) for s, name in enumerate(("query", "key", "value"))}
    layers["output"] = torch.eye(4).double()
    x = drawn(2, 3, 4).requires_grad_()
    y = attention(layers, Design("none", "none", 2), x, [[], [0, 2]])
    assert (y[0] == 0).all()
    assert (y[1] != 0).all()
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert (gradient[0] == 0).all()
    assert (gradient[1, 0] != 0).all()


@pytest.mark.parametrize("masked", [True, False])
def test_statistics_over_the_batch_are_batch_norms_of_the_rows(masked):
    x, real = drawn(3, 5, 4), real_tokens(drawn(3, 5, 4), MASK)
    gamma, beta = drawn(4, seed=1), drawn(4, seed=2)
    design = Design("post", "bn", heads=1, masked_norm=masked)
    y = normalize(x, {"gamma": gamma, "beta": beta}, design, real)
    chosen = torch.tensor(MASK) if masked else torch.ones(3, 5, dtype=torch.bool)
    mean, variance = torch.zeros(4).double(), torch.ones(4).double()
    expected = F.batch_norm(x[chosen], mean, variance, gamma, beta, training=True, momentum=1.0)
    assert (y[chosen] - expected).abs().max() < 1e-12
    own_mean, own_variance = statistics(x, real if masked else None)
    count = int(chosen.sum())
    assert (own_mean - mean).abs().max() < 1e-12
    assert (own_variance * count / (count - 1) - variance).abs().max() < 1e-12


def test_norms_of_a_token_are_pytorchs():
    x = drawn(2, 3, 8)
    real = real_tokens(x, None)
    own = {"gamma": drawn(8, seed=1), "beta": drawn(8, seed=2), "alpha": torch.tensor(0.5)}
    flat = x.view(6, 8)
    expected = {
        "ln": F.layer_norm(flat, (8,), own["gamma"], own["beta"]),
        "gn": F.group_norm(flat, 4, own["gamma"], own["beta"]),
        "rms": F.rms_norm(flat, (8,), own["gamma"], 1e-5) + own["beta"],
        "in": F.instance_norm(flat[:, None])[:, 0] * own["gamma"] + own["beta"],
        "dyt": torch.tanh(0.5 * flat) * own["gamma"] + own["beta"],
        "none": flat,
    }
    for norm, values in expected.items():
        design = Design("post", norm, heads=1, groups=4)
        found = normalize(x, own, design, real).view(6, 8)
        assert (found - values).abs().max() < 1e-12, norm
    for name, function in (("sigmoid", torch.sigmoid), ("tanh", torch.tanh), ("gelu", F.gelu)):
        assert (ACTIVATIONS[name](x) - function(x)).abs().max() < 1e-14, name


def test_tokens_of_images():
    images = torch.arange(2 * 3 * 4 * 6, dtype=torch.float64).view(2, 3, 4, 6)
    assert (rows_of(images) == images.transpose(1, 2).flatten(2)).all()
    assert (patches_of(images, 2) == F.unfold(images, 2, stride=2).transpose(1, 2)).all()


def test_deepnorms_constants_are_the_papers():
    """Wang et al. 2022, table of an encoder of N layers: α = (2N)^¼, β = (8N)^−¼."""
    assert deepnorm_alpha(8) == 2
    assert deepnorm_beta(2) == 0.5
    assert deepnorm_alpha(100) == pytest.approx(math.exp(math.log(200) / 4))
