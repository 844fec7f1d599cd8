"""`Encoder` against the formulas: outputs and gradients of every placement, norm and mask."""

from itertools import product

import pytest
import torch
from torch import nn

from normlab.config import Config
from normlab.networks import EncoderNetwork, build_model
from normlab.networks.attention import QK_NORM_EPS
from normlab.networks.encoder import TokenNorm, mean_over_tokens
from tests.networks.encoder_oracle import (
    Block,
    Design,
    Network,
    deepnorm_beta,
    encode,
    logits_of,
    patches_of,
    rows_of,
)

SHAPE, CLASSES = (2, 4, 4), 3  # rows are 4 tokens of 8 numbers, and so are patches of 2
EPS = 1e-3  # large enough to be seen
# Of three samples: a gap, one real token, none.
MASK = [[True, True, False, True], [False, True, False, False], [False] * 4]
NORMS = ("none", "ln", "rms", "bn", "gn", "in", "wn", "dyt")
PLACED = [  # placement, residual, norm, masked
    *product(("post", "pre", "peri", "deepnorm", "none"), [True], NORMS, [True]),
    *product(("post", "pre", "peri", "none"), [False], ("ln", "bn"), [True]),
    *product(("post", "pre", "peri", "deepnorm", "none"), [True], ("ln",), [False]),
]


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(configure, norm, seed=0, **changes):
    """A config and its network in float64, each of whose parameters shows where it stands."""
    usual = {"depth": 2, "width": 8, "heads": 2, "feed_forward": 2}
    config = configure("encoder", norm, **{**usual, **changes})
    settings = {"eps": EPS, "groups": 2}
    own = {key: value for key, value in settings.items() if hasattr(config.norm, key)}
    config = config.model_copy(update={"norm": config.norm.model_copy(update=own)})
    network = build_model(config, SHAPE, CLASSES, torch.Generator().manual_seed(seed)).double()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, values in [*network.named_parameters(), *network.named_buffers()]:
            if values.is_floating_point() and (values.ndim < 2 or "positions" in name):
                noise = torch.randn(values.shape, generator=generator, dtype=torch.float64)
                values.add_(noise.abs() if "running_var" in name else 0.3 * noise)
    return config, network


# ---------------------------------------------------------- the same numbers, taken from one


def parameters_of(network: EncoderNetwork) -> Network:
    """What the oracle reckons with, by its own names."""
    layers = named(network, ("embedding", "output"))
    if isinstance(network.positions, nn.Module) and hasattr(network.positions, "weight"):
        layers["positions"] = network.positions.weight
    final = network.final_norm
    blocks = [block_of(block) for block in network.body.values()]
    return Network(layers, blocks, norm_of(final) if isinstance(final, TokenNorm) else None)


def block_of(block: nn.Module) -> Block:
    own = block.attention
    layers = named(own, ("query", "key", "value", "output"))
    layers |= named(block, ("feed_forward1", "feed_forward2"))
    for name, norm in (("query gain", own.query_norm), ("key gain", own.key_norm)):
        if hasattr(norm, "weight"):
            layers[name] = norm.weight.expand(own.heads, -1)
    norms = {
        "post": (block.attention_norm, block.feed_forward_norm),
        "peri": (
            *(block.attention_norm, block.attention_output_norm),
            *(block.feed_forward_norm, block.feed_forward_output_norm),
        ),
        "none": (),
    }
    return Block(layers, [norm_of(n) for n in norms.get(block.placement, norms["post"])])


def named(module, names):
    layers = {name: getattr(module, name).weight for name in names}
    biases = {f"{name} bias": getattr(module, name).bias for name in names}
    return layers | {name: bias for name, bias in biases.items() if bias is not None}


OWN_NAMES = {
    "weight": "gamma",
    "bias": "beta",
    "alpha": "alpha",
    "running_mean": "mean",
    "running_var": "variance",
}


def norm_of(norm: TokenNorm):
    tensors = [*norm.named_parameters(), *norm.named_buffers()]
    last = {name.rpartition(".")[2]: values for name, values in tensors}
    return {OWN_NAMES[name]: values for name, values in last.items() if name in OWN_NAMES}


def design_of(config: Config, **changes) -> Design:
    model, norm = config.model, config.norm
    return Design(
        placement=model.placement,
        norm={"wn": "none"}.get(norm.name, norm.name),
        heads=model.heads,
        residual=model.residual,
        activation=model.activation,
        scaled=model.attention_scale == "sqrt",
        qk_norm=model.qk_norm,
        qk_eps=QK_NORM_EPS,
        eps=EPS,
        groups=getattr(norm, "groups", 1),
        masked_norm=getattr(norm, "masked", True),
        **changes,
    )


def is_silent(config: Config, name: str) -> bool:
    """A constant added to keys changes no softmax, one added to the stream no norm that takes means
    away, as all of them do."""
    if name.endswith("key.bias"):
        return True
    return config.norm.name in ("bn", "in") and "output_norm" in name and name.endswith("bias")


def agree(config, network, mask=None, **changes):
    """Outputs, what leaves the blocks, and gradients by every parameter, within 1e-10."""
    images = drawn(3, *SHAPE, seed=5)
    tokens, _ = network.tokens(images)
    masked = None if mask is None else torch.tensor(mask)
    encoded = network.encode(tokens, masked)
    logits = network.output(mean_over_tokens(encoded, masked))
    own, design = parameters_of(network), design_of(config, **changes)
    cut = rows_of(images) if config.model.patch is None else patches_of(images, config.model.patch)
    expected = encode(own, design, cut, mask), logits_of(own, design, cut, mask)
    real = torch.ones(3, 4, dtype=torch.bool) if mask is None else torch.tensor(mask)
    assert (encoded[real] - expected[0][real]).abs().max() < 1e-10
    assert (logits - expected[1]).abs().max() < 1e-10
    if mask is None:
        assert torch.equal(logits, network(images))
    direction = drawn(3, CLASSES, seed=6)
    parameters = dict(network.named_parameters())
    found, asked = (
        torch.autograd.grad((y * direction).sum(), parameters.values(), retain_graph=True)
        for y in (logits, expected[1])
    )
    for name, gradient, wanted in zip(parameters, found, asked, strict=True):
        assert (wanted.abs().max() < 1e-12) == is_silent(config, name), name
        assert (gradient - wanted).abs().max() < 1e-10, name


@pytest.mark.parametrize(("placement", "residual", "norm", "masked"), PLACED)
def test_every_placement_norm_and_mask(configure, placement, residual, norm, masked):
    config, network = built(configure, norm, placement=placement, residual=residual)
    agree(config, network, MASK if masked else None)


@pytest.mark.parametrize("placement", ["post", "pre", "peri", "deepnorm"])
def test_a_norm_that_takes_padding_in(configure, placement):
    config, network = built(configure, "bn", placement=placement, masked=False)
    agree(config, network, MASK)


@pytest.mark.parametrize(
    "changes",
    [
        {"qk_norm": True},
        {"qk_norm": True, "attention_scale": "none"},
        {"attention_scale": "none"},
        {"bias": True},
        {"patch": 2},
        {"positions": "none"},
        {"heads": 1},
        {"heads": 8, "qk_norm": True},
        {"feed_forward": 1, "depth": 1},
        {"activation": "gelu"},
        {"activation": "tanh"},
        {"activation": "sigmoid"},
    ],
    ids=str,
)
def test_every_other_setting(configure, changes):
    config, network = built(configure, "ln", **changes)
    agree(config, network, MASK)


def test_running_statistics_are_used_in_eval_mode(configure):
    for masked in (False, True):
        config, network = built(configure, "bn", placement="post")
        agree(config, network.eval(), MASK if masked else None, running=True)


@pytest.mark.parametrize("depth", [1, 2, 12])
def test_deepnorm_begins_with_weights_scaled_by_beta(configure, depth):
    scaled = ("value", "attention.output", "feed_forward1", "feed_forward2")
    plain, deepnorm = (
        dict(
            build_model(
                configure("encoder", "ln", depth=depth, width=8, heads=2, placement=placement),
                SHAPE,
                CLASSES,
                torch.Generator().manual_seed(0),
            ).named_parameters()
        )
        for placement in ("post", "deepnorm")
    )
    for name, values in deepnorm.items():
        beta = deepnorm_beta(depth) if any(part in name for part in scaled) else 1.0
        assert values.detach().numpy() == pytest.approx((beta * plain[name]).detach().numpy()), name
