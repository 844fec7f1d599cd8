"""Batch normalization of real rows alone, DyT, and what of padding reaches real tokens."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from normlab.config import compose
from normlab.networks import build_model, weight_layers
from normlab.networks.norm_modules import DynamicTanh, MaskedBatchNorm
from tests.networks.test_models import built as built_as_shaped

CHANNELS, EPS, MOMENTUM = 6, 0.25, 0.3


def rows(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, CHANNELS, generator=generator, dtype=torch.float64)
    return 3 * x + torch.arange(CHANNELS)


def masks(count=40, seed=1):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed)) < 0.6


def masked_norm(affine=True, noise=0.0):
    norm = MaskedBatchNorm(CHANNELS, EPS, MOMENTUM, affine, noise).double()
    if affine:
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-2, 3, CHANNELS))
            norm.bias.copy_(torch.linspace(5, -1, CHANNELS))
    return norm


# ------------------------------------------------------------------------------- masked bn


@pytest.mark.parametrize("affine", [True, False])
def test_it_is_pytorchs_of_the_real_rows_alone_gradients_and_running_statistics_too(affine):
    """F.batch_norm(x[mask]), whose shape depends on the mask, gives the same."""
    norm, mask = masked_norm(affine), masks()
    mean, variance = torch.zeros(CHANNELS).double(), torch.ones(CHANNELS).double()
    for step in range(3):
        x, y = rows(seed=step).requires_grad_(), rows(seed=step).requires_grad_()
        found = norm(x, mask)
        expected = F.batch_norm(
            y[mask], mean, variance, norm.weight, norm.bias, True, MOMENTUM, EPS
        )
        torch.testing.assert_close(found[mask], expected, rtol=1e-12, atol=1e-12)
        upstream = torch.linspace(-1, 2, expected.numel()).view_as(expected).double()
        parameters = list(norm.parameters())
        one = torch.autograd.grad((found[mask] * upstream).sum(), [x, *parameters])
        other = torch.autograd.grad((expected * upstream).sum(), [y, *parameters])
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        assert not one[0][~mask].any()
        torch.testing.assert_close(norm.running_mean, mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(norm.running_var, variance, rtol=1e-12, atol=1e-12)
    assert int(norm.num_batches_tracked) == 3
    norm.eval()
    x = rows(seed=9)
    expected = F.batch_norm(x, mean, variance, norm.weight, norm.bias, False, MOMENTUM, EPS)
    torch.testing.assert_close(norm(x, mask), expected, rtol=1e-12, atol=1e-12)


def test_padding_is_normalized_as_the_real_rows_are():
    norm, mask, x = masked_norm(), masks(), rows()
    filled = torch.where(mask[:, None], x, x[mask][0])
    found = norm(filled, mask)
    torch.testing.assert_close(found[~mask], found[mask][:1].expand_as(found[~mask]))


def test_without_a_mask_it_is_batch_norm():
    norm, theirs = masked_norm(False), nn.BatchNorm1d(CHANNELS, EPS, MOMENTUM, affine=False)
    assert torch.equal(norm(rows()), theirs.double()(rows()))
    assert torch.equal(norm.running_var, theirs.running_var)


@pytest.mark.parametrize("count", [0, 1])
def test_of_one_row_or_none_everything_stays_finite(count):
    norm, x = masked_norm(), rows().requires_grad_()
    before = norm.running_mean.clone(), norm.running_var.clone()
    found = norm(x, torch.arange(40) < count)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    assert norm.running_mean.isfinite().all()
    assert norm.running_var.isfinite().all()
    if count:
        assert torch.equal(found[:1], norm.bias.expand(1, -1))  # of variance 0
    else:
        assert torch.equal(norm.running_mean, before[0])
        assert torch.equal(norm.running_var, before[1])


def test_half_precision_is_summed_in_single():
    norm, mask, x = MaskedBatchNorm(CHANNELS, EPS, MOMENTUM, True, 0.0), masks(4000), rows(4000)
    found = norm(x.bfloat16(), mask)
    assert found.dtype == torch.bfloat16
    expected = MaskedBatchNorm(CHANNELS, EPS, MOMENTUM, True, 0.0).double()(x, mask)
    torch.testing.assert_close(found.double(), expected, rtol=0.02, atol=0.02)
    assert norm.running_mean.dtype == torch.float32


def test_autocast_leaves_its_sums_alone():
    norms = [MaskedBatchNorm(CHANNELS, EPS, MOMENTUM, True, 0.0) for _ in range(2)]
    x, mask = rows(4000).float(), masks(4000)
    with torch.autocast("cpu", torch.bfloat16):
        found = norms[0](x, mask)
    assert torch.equal(found, norms[1](x, mask))
    assert torch.equal(norms[0].running_var, norms[1].running_var)


def test_noise_stands_behind_it():
    quiet, noisy = masked_norm(), masked_norm(noise=0.5)
    noisy.load_state_dict(quiet.state_dict(), strict=False)
    assert not torch.allclose(noisy(rows(), masks()), quiet(rows(), masks()))
    found, expected = noisy.eval()(rows()), quiet.eval()(rows()) * (1 + 0.5 / 4)
    torch.testing.assert_close(found, expected)


# ------------------------------------------------------------------------------------- DyT


@pytest.mark.parametrize("shape", [(5, CHANNELS), (5, CHANNELS, 3, 4)])
def test_dyt_is_its_formula(configure, shape):
    part = configure("mlp", "dyt", alpha=0.7).norm
    norm = part.build(CHANNELS, spatial=len(shape) == 4).double()
    assert isinstance(norm, DynamicTanh)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        norm.alpha.fill_(0.9)
        norm.weight.copy_(torch.linspace(-2, 3, CHANNELS))
        norm.bias.copy_(torch.linspace(5, -1, CHANNELS))
    expected = torch.stack(
        [
            g * torch.tanh(0.9 * x[:, c]) + b
            for c, (g, b) in enumerate(zip(norm.weight, norm.bias, strict=True))
        ],
        dim=1,
    )
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


def test_dyt_begins_with_its_alpha_and_without_affine_has_nothing_else(configure):
    norm = configure("mlp", "dyt", alpha=0.7, affine=False).norm.build(CHANNELS, spatial=False)
    assert [p.item() for p in norm.parameters()] == [pytest.approx(0.7)]
    assert compose(["norm=dyt"]).norm.alpha == 0.5


# -------------------------------------------------------------- what padding does to a network


@functools.cache
def padded(*overrides):
    return compose(
        [
            *("model=encoder", "data=gaussian", "data.train_size=16", "data.test_size=4"),
            *("data.padding=0.6", "model.depth=2", "model.width=8", "model.heads=2"),
            *("data.padding_content=noise", "training.batch_size=16", *overrides),
        ]
    )


def placed(config, placement):
    return config.model_copy(
        update={"model": config.model.model_copy(update={"placement": placement})}
    )


def outputs(config):
    """Real tokens' outputs and logits of images, and of the same with other padding."""
    images = config.data.load(torch.device("cpu")).train_images.double()
    generator = torch.Generator().manual_seed(0)
    network = build_model(config, (2, 8, 8), 10, generator).double()
    found = []
    for content in (images, torch.where(images[:, -1:] > 0, images, 5 + 3 * images.flip(0))):
        content = torch.cat([content[:, :-1], images[:, -1:]], dim=1)
        tokens, mask = network.tokens(content)
        found.append((network.encode(tokens, mask)[mask], network(content)))
    return found


@pytest.mark.parametrize("placement", ["post", "pre", "peri", "deepnorm", "none"])
@pytest.mark.parametrize("norm", ["none", "bn", "ln", "gn", "in", "rms", "wn", "dyt"])
def test_padding_does_not_reach_real_tokens(norm, placement):
    one, other = outputs(placed(padded(f"norm={norm}"), placement))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


@pytest.mark.parametrize("placement", ["post", "pre", "peri", "deepnorm"])
def test_it_does_where_batch_norm_is_not_masked(placement):
    config = placed(padded("norm=bn", "norm.masked=false"), placement)
    (one, _), (other, _) = outputs(config)
    assert (one - other).norm() / one.norm() > 0.05


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_a_snapshot_does_not_see_what_lies_in_padding(norm):
    from normlab.measurement.observation import ProbeBatch, snapshot

    config = padded(f"norm={norm}")
    images = config.data.load(torch.device("cpu")).train_images.double()
    network = build_model(config, (2, 8, 8), 10, torch.Generator().manual_seed(0)).double()
    other = torch.cat([torch.where(images[:, -1:] > 0, images[:, :-1], 9), images[:, -1:]], dim=1)
    names = ["delta_rms", "act_mean", "act_std", "dead_fraction", "sample_cosine"]
    labels = torch.arange(16) % 10
    found = [
        snapshot(network, weight_layers(network), ProbeBatch(x, labels, "softmax"), names)
        for x in (images, other)
    ]
    torch.testing.assert_close(*found, rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("norm", ["bn", "ln"])
def test_of_samples_without_a_real_token_the_logits_are_the_output_layers_bias(norm):
    config = padded(f"norm={norm}")
    images = config.data.load(torch.device("cpu")).train_images
    images[3, -1] = 0
    network = build_model(config, (2, 8, 8), 10, torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.output.bias.copy_(torch.linspace(-1, 1, 10))
    logits = network(images)
    assert torch.equal(logits[3], network.output.bias)
    F.cross_entropy(logits, torch.arange(16) % 10).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_a_patch_is_real_where_all_of_its_pixels_are():
    config = padded("norm=ln", "model.patch=2", "data.padding=0.5")
    network = build_model(config, (2, 8, 8), 10, torch.Generator())
    images = torch.ones(2, 2, 8, 8)
    images[0, 1, 5:] = 0  # two rows of patches and a half
    images[1, 1, 4, 7] = 0
    _, mask = network.tokens(images)
    assert mask.view(2, 4, 4)[0].tolist() == [[True] * 4] * 2 + [[False] * 4] * 2
    assert mask.view(2, 4, 4)[1].tolist() == [[True] * 4] * 2 + [[True] * 3 + [False], [True] * 4]


def test_the_mask_is_no_part_of_a_token():
    config = padded("norm=ln")
    network = build_model(config, (2, 8, 8), 10, torch.Generator())
    assert network.embedding.in_features == 8
    assert (
        built_as_shaped(compose(["model=encoder", "norm=ln"]), (2, 8, 8)).embedding.in_features
        == 16
    )


def test_a_network_without_padding_to_mask_refuses_to_be_told():
    from normlab.errors import ConfigError

    with pytest.raises(ConfigError, match=r"^norm.masked=false: model=mlp has no padding to mask"):
        compose(["model=mlp", "norm=bn", "norm.masked=false"])


# ---------------------------------------------------------------------------- what is said of it


def test_a_run_says_that_padding_reaches_real_tokens(tmp_path):
    from normlab.config import describe
    from normlab.runs import execute

    said = {}
    for masked in ("true", "false"):
        config = padded(
            *("norm=bn", f"norm.masked={masked}", "training.steps=2", "probes.batch_size=8"),
            f"output.root={tmp_path}",
        )
        *_, finished = execute(config)
        said[masked] = finished.run.summary.reason
    assert "padding" not in said["true"]
    assert said["false"].endswith(
        "What lies in padding reaches real tokens, which unmasked bn normalizes with it."
    )
    assert describe(config) == "pre-norm encoder-2 unmasked bn on padded gaussian"
    without = padded("norm=bn", "norm.masked=false", "model.placement=none")
    assert describe(without) == "encoder-2 without norm on padded gaussian"
