"""The encoder: its size, its layers' places, attention, placements, and what is refused."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from normlab.config import compose
from normlab.errors import ConfigError
from normlab.measurement.observation import ProbeBatch, observe
from normlab.networks import Attention, EncoderNetwork, build_model, weight_layers
from tests.conftest import TINY_DATA, replacing

SHAPE, CLASSES = (3, 8, 8), 5
PLACEMENTS = ("post", "pre", "peri", "deepnorm", "none")
BLOCK_ROLES = (
    *("query", "key", "value", "attention output"),
    *("feed-forward 1", "feed-forward 2"),
)


def built(config, shape=SHAPE, classes=CLASSES, seed=0) -> EncoderNetwork:
    return build_model(config, shape, classes, torch.Generator().manual_seed(seed))


def pictures(count=4, shape=SHAPE, seed=1):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed)).double()


def small(configure, norm="ln", **changes):
    return configure("encoder", norm, **{"depth": 2, "width": 8, "heads": 2, **changes})


def stirred(network, seed=2):
    """In float64, with gains and positions that show where they stand."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name or "positions" in name:
                noise = torch.randn(parameter.shape, generator=generator).double()
                parameter.add_(0.3 * noise)
    return network


# --------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("placement", "norms"), [("post", 4), ("pre", 5), ("peri", 9), ("deepnorm", 4), ("none", 0)]
)
def test_parameters(configure, placement, norms, bias):
    """Counted by hand: two blocks of width 8 on 8 tokens of 24 numbers."""
    config = small(configure, placement=placement, bias=bias, qk_norm=True)
    weights = 24 * 8 + 2 * (4 * 8 * 8 + 2 * 8 * 32)
    biases = 8 + 2 * (4 * 8 + 32 + 8) if bias else 0
    gains = 2 * 2 * 4 + norms * 2 * 8
    expected = weights + biases + gains + 8 * 8 + 8 * CLASSES + CLASSES
    assert sum(p.numel() for p in built(config).parameters()) == expected


@pytest.mark.parametrize("norm", ["none", "bn", "ln", "gn", "in", "rms", "wn", "dyt"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_parameter_has_a_gradient(configure, placement, norm):
    network = built(small(configure, norm, placement=placement, patch=4))
    logits = network(pictures(3).float())
    assert logits.shape == (3, CLASSES)
    F.cross_entropy(logits, torch.arange(3)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.eval()(pictures(1).float()).shape == (1, CLASSES)


# ------------------------------------------------------------------------------------- layers


def test_layers_have_blocks_and_roles(configure):
    layers = weight_layers(built(small(configure)))
    assert [layer.index for layer in layers] == list(range(1, 15))
    assert [(layer.block, layer.role) for layer in layers] == [
        (None, ""),
        *product((1, 2), BLOCK_ROLES),
        (None, ""),
    ]
    assert [layer.name for layer in layers][:8] == [
        *("embedding", "block1.attention.query", "block1.attention.key", "block1.attention.value"),
        *("block1.attention.output", "block1.feed_forward1", "block1.feed_forward2"),
        "block2.attention.query",
    ]
    assert layers[-1].name == "output"
    # Embedding → query; query, key, value → output; output → first, first → second → next block.
    assert [layer.receiver for layer in layers] == [
        2,
        5,
        5,
        5,
        6,
        7,
        8,
        11,
        11,
        11,
        12,
        13,
        14,
        None,
    ]
    assert [layer.role for layer in layers if layer.activation] == ["feed-forward 1"] * 2


def test_layers_of_other_networks_are_received_by_the_next(configure):
    layers = weight_layers(build_model(configure("mlp", depth=4), SHAPE, 3, torch.Generator()))
    assert [layer.receiver for layer in layers] == [2, 3, 4, None]
    assert {(layer.block, layer.role) for layer in layers} == {(None, "")}


@pytest.mark.parametrize("norm", ["ln", "bn", "none"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_observed_deltas_and_inputs_make_every_weights_gradient(configure, placement, norm):
    """∂L/∂W = Σ δ xᵀ over samples and tokens, x being the activation of a layer's sender."""
    network = stirred(built(small(configure, norm, placement=placement, bias=True)))
    layers, labels = weight_layers(network), torch.tensor([0, 1, 2, 4])
    batch = ProbeBatch(pictures(), labels, "softmax")
    seen = dict(zip(layers, observe(network, layers, batch), strict=True))
    F.cross_entropy(network(pictures()), labels).backward()
    checked = 0
    for layer, other in product(layers, layers):
        weight = layer.module.weight
        if other.receiver != layer.index:
            continue
        delta, x = seen[layer].delta, seen[other].activation
        expected = delta.flatten(0, -2).T @ x.flatten(0, -2)
        torch.testing.assert_close(expected, weight.grad, rtol=1e-10, atol=1e-14)
        checked += 1
    # The output layer; of a block the query, both feed-forward layers, and thrice the output.
    assert checked == 1 + 2 * 6
    assert torch.equal(seen[layers[-1]].activation, network(pictures()).detach())
    assert [s.slope is not None for s in seen.values()] == [bool(la.activation) for la in layers]


# ---------------------------------------------------------------------------------- attention


def attention(configure, seed=0, **changes):
    block = stirred(built(small(configure, **changes), seed=seed)).body["block1"]
    return block.attention


def tokens(count=3, length=5, width=8, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, length, width, generator=generator, dtype=torch.float64)


def real(*lengths, length=5):
    return torch.arange(length) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_pytorchs_module(configure, bias):
    ours = attention(configure, bias=bias, bias_std=0.5 if bias else 0.0)
    theirs = nn.MultiheadAttention(8, 2, bias=bias, batch_first=True, dtype=torch.float64)
    parts = (ours.query, ours.key, ours.value)
    state = {
        "in_proj_weight": torch.cat([p.weight for p in parts]),
        "out_proj.weight": ours.output.weight,
    }
    if bias:
        state |= {
            "in_proj_bias": torch.cat([p.bias for p in parts]),
            "out_proj.bias": ours.output.bias,
        }
    theirs.load_state_dict(state)
    x, mask = tokens(), real(5, 2, 1)
    for padded in (None, mask):
        expected, weights = theirs(
            *(x, x, x),
            key_padding_mask=None if padded is None else ~padded,
            average_attn_weights=False,
        )
        torch.testing.assert_close(ours(x, padded), expected, rtol=1e-12, atol=1e-12)
        found = ours.weights(ours.query(x), ours.key(x), padded)
        torch.testing.assert_close(found, weights, rtol=1e-12, atol=1e-12)


def plain(module: Attention, x, mask):
    """Written out: the weights of our own softmax times the values."""
    weights = module.weights(module.query(x), module.key(x), mask)
    values = module.value(x).view(*x.shape[:2], module.heads, -1).transpose(1, 2)
    return module.output((weights @ values).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("scale", ["sqrt", "none"])
@pytest.mark.parametrize("lengths", [None, (5, 2, 1), (0, 5, 3), (0, 0, 0)])
def test_the_kernel_is_the_plain_product_and_so_are_its_gradients(
    configure, lengths, scale, qk_norm
):
    module = attention(configure, attention_scale=scale, qk_norm=qk_norm)
    mask = None if lengths is None else real(*lengths)
    found = []
    for function in (Attention.forward, plain):
        x = tokens().requires_grad_()
        y = function(module, x, mask)
        upstream = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
        found.append([y, *torch.autograd.grad((y * upstream).sum(), [x, *module.parameters()])])
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    if lengths and not lengths[0]:
        assert not found[0][0][0].any()  # no bias: what attends to nothing is exactly 0


def test_what_stands_at_masked_positions_does_not_reach_the_others(configure):
    module, mask, x = attention(configure), real(5, 2, 0), tokens()
    other = torch.where(mask[:, :, None], x, 100 * tokens(seed=9))
    assert torch.equal(module(x, mask)[mask], module(other, mask)[mask])
    assert not torch.allclose(module(x, None)[mask], module(other, None)[mask])


def test_logits_are_scaled_products_and_qk_norm_sees_no_length(configure):
    module = attention(configure)
    q, k = tokens(seed=4), tokens(seed=5)
    expected = torch.einsum("bihd,bjhd->bhij", q.view(3, 5, 2, 4), k.view(3, 5, 2, 4)) / 2
    torch.testing.assert_close(module.logits(q, k), expected, rtol=1e-12, atol=1e-12)
    unscaled = attention(configure, attention_scale="none")
    torch.testing.assert_close(unscaled.logits(q, k), 2 * expected, rtol=1e-12, atol=1e-12)

    normed = attention(configure, qk_norm=True)
    torch.testing.assert_close(
        normed.logits(100 * q, 0.5 * k), normed.logits(q, k), rtol=1e-4, atol=1e-4
    )
    with torch.no_grad():
        normed.query_norm.weight.mul_(3)
    assert not torch.allclose(normed.logits(q, k), attention(configure, qk_norm=True).logits(q, k))


def norms_behind(placement):
    """Of each layer that has some, the norms between it and the next, in two blocks."""
    one, two = "body.block1", "body.block2"
    found = {
        f"{block}.attention.{part}": [f"{block}.attention.{part}_norm"]
        for block in (one, two)
        for part in ("query", "key")
    }
    if placement in ("pre", "peri"):
        found["embedding"] = [f"{one}.attention_norm"]
        found[f"{one}.attention.output"] = [f"{one}.feed_forward_norm"]
        found[f"{one}.feed_forward2"] = [f"{two}.attention_norm"]
        found[f"{two}.attention.output"] = [f"{two}.feed_forward_norm"]
        found[f"{two}.feed_forward2"] = ["final_norm"]
    for block in (one, two) if placement in ("post", "deepnorm") else ():
        found[f"{block}.attention.output"] = [f"{block}.attention_norm"]
        found[f"{block}.feed_forward2"] = [f"{block}.feed_forward_norm"]
    for block in (one, two) if placement == "peri" else ():
        found[f"{block}.attention.output"].append(f"{block}.attention_output_norm")
        found[f"{block}.feed_forward2"].append(f"{block}.feed_forward_output_norm")
    return found


@pytest.mark.parametrize("norm", ["ln", "in", "bn", "dyt"])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_gains_and_shifts_are_those_of_the_norms_behind_a_layer(configure, placement, norm):
    network = stirred(built(small(configure, norm, placement=placement, qk_norm=True)))
    behind = norms_behind(placement)
    values = dict(network.named_parameters())
    batch = ProbeBatch(pictures(), torch.arange(4), "softmax")
    names = {module: name for name, module in network.named_modules()}
    layers = weight_layers(network)
    for layer, seen in zip(layers, observe(network, layers, batch), strict=True):
        norms = behind.get(names[layer.module], [])
        for part, found in (("weight", seen.gain), ("bias", seen.shift)):
            expected = [
                value
                for name, value in values.items()
                if name.endswith(part) and any(name.startswith(f"{each}.") for each in norms)
            ]
            if not expected:
                assert found is None
                continue
            torch.testing.assert_close(found.sort()[0], torch.cat(expected).sort()[0])
    counted = sum(value.numel() for name, value in values.items() if "norm" in name)
    alphas = sum(name.endswith("alpha") for name in values)
    everything = [
        x.numel()
        for seen in observe(network, layers, batch)
        for x in (seen.gain, seen.shift)
        if x is not None
    ]
    assert sum(everything) == counted - alphas  # each once


# --------------------------------------------------------------------------------- placements


def silence(network):
    with torch.no_grad():
        for block in network.body.values():
            block.attention.output.weight.zero_()
            block.feed_forward2.weight.zero_()


def normalized(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-5)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_of_silent_branches_only_skips_and_norms_are_left(configure, placement):
    network = built(small(configure, placement=placement, positions="none")).double()
    silence(network)
    stream, mask = network.tokens(pictures())
    x = network.embedding(stream)
    expected = {
        "post": normalized(normalized(normalized(normalized(x)))),
        "pre": normalized(x),
        "peri": normalized(x),
        "deepnorm": normalized(x),  # but for ε, of what is α² times as large
        "none": x,
    }[placement]
    tolerance = {"rtol": 0, "atol": 1e-3 if placement in ("deepnorm", "post") else 1e-12}
    torch.testing.assert_close(network.encode(stream, mask), expected, **tolerance)


@pytest.mark.parametrize("placement", ["post", "pre", "peri", "none"])
def test_without_skips_a_silent_branch_forgets(configure, placement):
    plain, residual = (
        built(small(configure, placement=placement, residual=r)).double() for r in (False, True)
    )
    for name, value in plain.state_dict().items():  # twins but for the skips
        assert torch.equal(value, residual.state_dict()[name])
    silence(plain)
    assert not plain.encode(*plain.tokens(pictures())).any()


def test_deepnorm_scales_by_alpha_and_beta_of_its_depth(configure):
    """Wang et al. 2022, table 1, encoder-only: α = (2N)^¼, β = (8N)^−¼."""
    deep, post = (
        built(small(configure, placement=p, depth=32, init="normal", init_std=0.1))
        for p in ("deepnorm", "post")
    )
    assert deep.body["block1"].skip_scale == pytest.approx(64**0.25)
    for one, other in zip(weight_layers(deep), weight_layers(post), strict=True):
        scaled = one.role in BLOCK_ROLES[2:]
        expected = other.module.weight * (0.25 if scaled else 1.0)
        torch.testing.assert_close(one.module.weight, expected, rtol=1e-6, atol=0)


def test_a_shut_norm_leaves_the_residual_stream(configure):
    """With γ = 0 behind each branch a peri placement is the identity, and a post one is 0."""
    for placement, name in (("peri", "output_norm"), ("post", "_norm")):
        network = built(small(configure, placement=placement)).double()
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                if name in key and "body" in key:
                    parameter.zero_()
        stream, mask = network.tokens(pictures())
        found = network.encode(stream, mask)
        if placement == "peri":
            x = network.positions(network.embedding(stream))
            torch.testing.assert_close(found, normalized(x), rtol=0, atol=1e-12)
        else:
            assert not found.any()


# ------------------------------------------------------------------------ tokens and positions


def test_rows_are_tokens_and_patches_are_cut_row_by_row(configure):
    images = pictures(2)
    rows, mask = built(small(configure)).tokens(images)
    assert mask is None
    assert torch.equal(rows, torch.stack([images[:, :, i].flatten(1) for i in range(8)], dim=1))
    patches, _ = built(small(configure, patch=4)).tokens(images)
    cut = [images[:, :, i : i + 4, j : j + 4].flatten(1) for i in (0, 4) for j in (0, 4)]
    assert torch.equal(patches, torch.stack(cut, dim=1))


@pytest.mark.parametrize("positions", ["learned", "none"])
def test_only_positions_tell_in_which_order_rows_stand(configure, positions):
    network = built(small(configure, positions=positions)).double()
    images = pictures()
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    same = torch.allclose(network(images), network(images[:, :, order]), rtol=0, atol=1e-10)
    assert same == (positions == "none")


def test_positions_begin_small(configure):
    network = built(configure("encoder", "ln", width=64), (1, 64, 8))
    assert network.positions.weight.std().item() == pytest.approx(0.02, rel=0.05)


# ------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"heads": 3}, r"model.heads=3: must divide model.width=8; use 2 or 4 "),
        ({"heads": 9}, r"model.heads=9: must divide model.width=8; use 8 "),
        (
            {"placement": "deepnorm", "residual": False},
            r"model.residual=false: model.placement=deep",
        ),
        ({"patch": 3}, r"model.patch=3: must divide .* 8×8; use 1, 2, 4, 8, or null"),
        ({"position": "after"}, r"norm.position=after: an encoder's norms stand where"),
        ({"batch_size": 1, "patch": 8}, None),
    ],
)
def test_what_cannot_be_is_one_line(configure, changes, told):
    if told is None:
        config = small(configure, "bn", **changes)
        with pytest.raises(ConfigError, match=r"^training.batch_size=1: BatchNorm .* one token"):
            built(config)
        return
    with pytest.raises(ValidationError, match=told):
        small(configure, **changes)


def test_a_patch_is_checked_against_data_of_unknown_shape_as_well(configure):
    config = small(configure, patch=4)
    with pytest.raises(ConfigError, match=r"^model.patch=4: must divide .* 6×8; use 1, 2, or null"):
        built(config, (1, 6, 8))


@pytest.mark.parametrize("key", ["model.block=pre", "model.shortcut=B"])
def test_a_cnns_keys_are_refused_in_one_line(key):
    with pytest.raises(ConfigError) as caught:
        compose(["model=encoder", "norm=ln", key])
    assert "\n" not in str(caught.value)
    assert key.partition("=")[0] in str(caught.value)


# ------------------------------------------------------------------------------------ training


def test_training_writes_blocks_and_roles(tmp_path):
    from normlab.runs import execute, read_run

    overrides = replacing(
        TINY_DATA, "data.size=4", "model=encoder", "model.depth=2", "model.width=8", "norm=ln"
    )
    config = compose([*overrides, f"output.root={tmp_path}", "optimizer=adam"])
    *_, finished = execute(config)
    layers = read_run(finished.run.folder).layers
    assert list(layers)[:6] == ["step", "layer", "name", "kind", "block", "role"]
    first = layers[layers["step"] == 0].reset_index()
    assert first["block"].isna().tolist() == [True, *[False] * 12, True]
    assert first["role"].tolist() == ["", *BLOCK_ROLES * 2, ""]
    assert first["delta_rms"].notna().all()
    assert (first["dead_fraction"].notna() == (first["role"] == "feed-forward 1")).all()
    assert finished.run.summary.status == "finished"
    assert finished.run.summary.verdict is not None
