"""Claims of softmax and attention that are shown on numbers or at initialization.

Each function takes a seed for what it draws and returns named figures.
"""

import functools
import math

import torch
from torch import Tensor

from normlab.claims.claim import DEMONSTRATIONS
from normlab.config import Config, compose
from normlab.networks import (
    Attention,
    Encoder,
    EncoderBlock,
    EncoderNetwork,
    build_model,
    cross_entropy,
)
from normlab.training import random_stream

Figures = dict[str, float]

# Encoders for measurements at initialization: samples, tokens a sample, width, heads.
SAMPLES, TOKENS, WIDTH, HEADS = 8, 16, 64, 4
CLASSES = 10


@DEMONSTRATIONS.register("padding_leak")
@torch.no_grad()
def padding_leak(seed: int) -> Figures:
    """C21: how much the real tokens of an encoder change with what lies in padding.

    ‖Δ‖/‖output‖ over real tokens, in train mode, of 6 pre-norm blocks at initialization; half of a
    sample's tokens at most are padding, of zeros, then of N(0, 1), in the end four times as many.
    """
    stream = _stream(seed, "what padding leaks")
    tokens = torch.randn(SAMPLES, TOKENS, WIDTH, generator=stream)
    noise, other, further = (
        torch.randn(SAMPLES, count * TOKENS, WIDTH, generator=stream) for count in (1, 1, 2)
    )
    lengths = torch.randint(TOKENS // 2, TOKENS + 1, (SAMPLES, 1), generator=stream)
    real = torch.arange(TOKENS) < lengths

    def padded(content: Tensor) -> Tensor:
        return torch.where(real[:, :, None], tokens, content)

    empty, filled, refilled = map(padded, (torch.zeros_like(noise), noise, other))
    # The padding is a quarter of the tokens on average: with so many more it is four times that.
    more = 3 * TOKENS // 4
    longer = torch.cat([filled, further[:, :more]], dim=1)
    longer_real = torch.cat([real, torch.zeros(SAMPLES, more, dtype=torch.bool)], dim=1)
    figures = {}
    for name, norm, mask in (
        *(("ln", "norm=ln", real), ("rms", "norm=rms", real), ("no_mask", "norm=ln", None)),
        *(("bn_masked", "norm=bn", real), ("bn", "norm=bn norm.masked=false", real)),
    ):
        network = _network(stream, *norm.split())

        def change(one: Tensor, two: Tensor) -> float:
            return float((two - one).norm() / one.norm())

        before, after = (network.encode(x, mask)[real] for x in (empty, filled))
        figures[name] = change(before, after)
        if name in ("ln", "bn"):
            far = network.encode(longer, longer_real)[:, :TOKENS]
            figures[f"{name}_longer"] = change(after, far[real])
        if name == "bn":
            figures["bn_refilled"] = change(after, network.encode(refilled, mask)[real])
            network.eval()
            before, after = (network.encode(x, mask)[real] for x in (empty, filled))
            figures["bn_eval"] = change(before, after)
    return figures


@DEMONSTRATIONS.register("attention_scale")
@torch.no_grad()
def attention_scale(seed: int) -> Figures:
    """C26: what √d does to the logits q·k of N(0, 1) queries and keys, and to their softmax.

    Of 1024 queries and keys: the variance of q·k over d, the entropy of softmax(s·q·k/√d) over
    that of the random energy model, 1 − s²/(2 ln n), and how often a key takes it all. The logits
    are those of `Attention` with one head, whose W_q and W_k are the identity.
    """
    stream = _stream(seed, "attention's scale")
    count = 1024
    figures = {}
    for size in (16, 64, 512):
        tokens = [_gaussian(stream, count, size) for _ in range(2)]
        unscaled, scaled = (_logits(size, scale, *tokens) for scale in ("none", "sqrt"))
        figures[f"variance_{size}"] = unscaled.var(correction=0).item() / size
    # From here on of the last size, 512.
    frozen = math.sqrt(2 * math.log(count))  # the deviation at which the model has no entropy left
    for name, share in (("quarter", 0.25), ("half", 0.5), ("whole", 1.0)):
        weights = torch.softmax(share * frozen * scaled, dim=1)
        entropy = torch.special.entr(weights).sum(dim=1).mean().item() / math.log(count)
        figures[f"entropy_{name}"] = entropy
        if share < 1:
            figures[f"over_model_{name}"] = entropy / (1 - share**2)
    for name, values in (("unscaled", unscaled), ("scaled", scaled)):
        largest = torch.softmax(values, dim=1).amax(dim=1)
        figures[f"taken_{name}"] = (largest > 0.99).double().mean().item()
    return figures


def _logits(size: int, scale: str, queries: Tensor, keys: Tensor) -> Tensor:
    """What `Attention` makes of queries and keys [count, size] by `model.attention_scale`."""
    settings = f"model.width={size}", "model.heads=1", f"model.attention_scale={scale}"
    model = compose(["model=encoder", "norm=none", *settings]).model
    assert isinstance(model, Encoder)
    layer = Attention(model).double()
    for linear in (layer.query, layer.key):
        torch.nn.init.eye_(linear.weight)
    return layer.logits(layer.query(queries[None]), layer.key(keys[None]))[0, 0]


@DEMONSTRATIONS.register("rank_collapse")
@torch.no_grad()
def rank_collapse(seed: int) -> Figures:
    """C22: how what tokens have beyond rank 1 falls from layer to layer of attention alone.

    That is √(Σ_{i≥2} σᵢ²/Σ σᵢ²) of their singular values. The exponent is the slope of its log
    behind a layer by that before it, over tokens x + ρ·N(0, 1) that are alike up to a ρ that falls;
    in float64, which knows it down to 1e-14.
    """
    stream = _stream(seed, "rank collapse")
    layers = [_attention(stream) for _ in range(3)]
    gaussian = _gaussian(stream, SAMPLES, TOKENS, WIDTH)
    alike = _gaussian(stream, SAMPLES, 1, WIDTH)

    def exponent(layer: int, starts: Tensor) -> float:
        before, after = [], []
        for start in starts:
            tokens = alike + start * gaussian
            for attend in layers[: layer - 1]:
                tokens = attend(tokens, None)
            before.append(_beyond_rank_one(tokens).log())
            after.append(_beyond_rank_one(layers[layer - 1](tokens, None)).log())
        return _slope(torch.stack(before), torch.stack(after)).mean().item()

    figures = {
        "first_layer": exponent(1, torch.logspace(-1, -3, 9)),
        "second_layer": exponent(2, torch.logspace(-0.4, -1.1, 8)),  # .02 to 1e-4 behind the first
    }
    plain, skipping = gaussian, gaussian
    for attend in layers:
        plain, skipping = attend(plain, None), skipping + attend(skipping, None)
    figures["after_three_plain"] = _beyond_rank_one(plain).mean().item()
    figures["after_three_skipping"] = _beyond_rank_one(skipping).mean().item()
    return figures


@DEMONSTRATIONS.register("starved_queries")
def starved_queries(seed: int) -> Figures:
    """C23: ‖∂W_Q‖/‖∂W_V‖ and ‖∂W_K‖/‖∂W_V‖ of tokens that are more and more alike.

    Of one layer of attention behind tokens √ρ·s + √(1−ρ)·N(0, 1), where 1−ρ is halved again and
    again: the slope of the log ratio by log(1 − mean cosine). And of the last of 24 blocks at
    initialization, by placement. The output's gradient is random.
    """
    stream = _stream(seed, "starved queries")
    layer = _attention(stream)
    alike = _gaussian(stream, SAMPLES, 1, WIDTH)
    gaussian = _gaussian(stream, SAMPLES, TOKENS, WIDTH)
    direction = _gaussian(stream, SAMPLES, TOKENS, WIDTH)
    distances, ratios = [], []
    for halvings in range(1, 14):
        tokens = math.sqrt(1 - 0.5**halvings) * alike + math.sqrt(0.5**halvings) * gaussian
        distances.append(1 - _token_cosine(tokens))
        ratios.append(_gradient_ratios(layer, layer(tokens, None), direction))
    x, y = torch.stack(distances)[:, None].log(), torch.stack(ratios).log()
    figures = dict(zip(("query", "key"), _slope(x, y).tolist(), strict=True))
    for placement in ("post", "pre", "peri", "deepnorm"):
        network = _network(stream, "norm=ln", "model.depth=24", f"model.placement={placement}")
        network.double()
        output = network.encode(gaussian, None)
        last = _last_block(network).attention
        figures[placement] = _gradient_ratios(last, output, direction)[0].item()
    return figures


def _gradient_ratios(layer: Attention, output: Tensor, direction: Tensor) -> Tensor:
    """‖∂W_Q‖/‖∂W_V‖ and ‖∂W_K‖/‖∂W_V‖ where a direction is the output's gradient."""
    weights = [layer.query.weight, layer.key.weight, layer.value.weight]
    gradients = torch.autograd.grad((output * direction).sum(), weights)
    norms = torch.stack([gradient.norm() for gradient in gradients])
    return norms[:2] / norms[2]


@DEMONSTRATIONS.register("last_gradient")
def last_gradient(seed: int) -> Figures:
    """C24: the power of the depth L that the last feed-forward layer's gradient goes with.

    The slope of log ‖∂W₂‖ of the last of L = 6, 12, 24, 48 blocks at initialization by log L, of
    cross-entropy on N(0, 1) tokens with random labels.
    """
    stream = _stream(seed, "the last gradient")
    depths = (6, 12, 24, 48)
    images = torch.randn(SAMPLES, 1, TOKENS, WIDTH, generator=stream)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=stream)
    figures = {}
    for placement in ("post", "pre"):
        norms = []
        for depth in depths:
            settings = f"model.depth={depth}", f"model.placement={placement}"
            network = _network(stream, "norm=ln", *settings)
            loss = cross_entropy(network(images), labels, "softmax")
            weight = _last_block(network).feed_forward2.weight
            norms.append(torch.autograd.grad(loss, weight)[0].norm())
        logs = torch.tensor(depths).log()[:, None], torch.stack(norms).log()[:, None]
        figures[placement] = _slope(*logs).item()
    return figures


def _network(stream: torch.Generator, *overrides: str) -> EncoderNetwork:
    """An encoder of Gaussian tokens, without positions."""
    shape = (1, TOKENS, WIDTH)
    network = build_model(_encoder(*overrides), shape, CLASSES, stream)
    assert isinstance(network, EncoderNetwork)
    return network


def _last_block(network: EncoderNetwork) -> EncoderBlock:
    block = [*network.body.values()][-1]
    assert isinstance(block, EncoderBlock)
    return block


@functools.cache
def _encoder(*overrides: str) -> Config:
    size = f"model.width={WIDTH}", f"model.heads={HEADS}", "model.positions=none"
    return compose(["model=encoder", *size, *overrides])


def _attention(stream: torch.Generator) -> Attention:
    """A layer of attention with Xavier's variance, in float64."""
    model = _encoder("norm=none").model
    assert isinstance(model, Encoder)
    layer = Attention(model).double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(_gaussian(stream, WIDTH, WIDTH) / math.sqrt(WIDTH))
    return layer


def _beyond_rank_one(tokens: Tensor) -> Tensor:
    """√(Σ_{i≥2} σᵢ² / Σ σᵢ²) of each sample's tokens [B, T, width], σ their singular values.

    What the best approximation of rank 1 leaves; that by equal rows, the probe `rank_one_distance`,
    leaves as much or more.
    """
    squares: Tensor = torch.linalg.svdvals(tokens).square()
    return (squares[:, 1:].sum(dim=1) / squares.sum(dim=1)).sqrt()


def _token_cosine(tokens: Tensor) -> Tensor:
    """Mean cosine between the tokens of a sample, over samples [B, T, width]."""
    count = tokens.shape[1]
    total = torch.nn.functional.normalize(tokens, dim=2).sum(dim=1)
    return ((total.square().sum(dim=1) - count) / (count * (count - 1))).mean()


def _slope(x: Tensor, y: Tensor) -> Tensor:
    """Of the least squares line through each column of points."""
    centred = x - x.mean(dim=0)
    return (centred * y).sum(dim=0) / centred.square().sum(dim=0)


def _gaussian(stream: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=stream, dtype=torch.float64)


def _stream(seed: int, purpose: str) -> torch.Generator:
    return random_stream(seed, f"demonstration of {purpose}")
