"""Claims of softmax and attention that are shown on numbers or at initialization.

Each function takes a seed for what it draws and returns named figures.
"""

import math

import torch
from torch import Tensor

from normlab.claims.claim import DEMONSTRATIONS
from normlab.training import random_stream

Figures = dict[str, float]

# Tokens for measurements at initialization: samples, tokens a sample, width, heads.
SAMPLES, TOKENS, WIDTH, HEADS = 8, 16, 64, 4


@DEMONSTRATIONS.register("attention_scale")
def attention_scale(seed: int) -> Figures:
    """C26: what √d does to the logits q·k of N(0, 1) queries and keys, and to their softmax.

    Of 1024 queries and keys: the variance of q·k over d, the entropy of softmax(s·q·k/√d) over
    that of the random energy model, 1 − s²/(2 ln n), and how often a key takes it all.
    """
    stream = _stream(seed, "attention's scale")
    count = 1024
    logits: dict[int, Tensor] = {}
    for size in (16, 64, 512):
        queries, keys = (_gaussian(stream, count, size) for _ in range(2))
        logits[size] = queries @ keys.T
    figures = {
        f"variance_{size}": values.var(correction=0).item() / size
        for size, values in logits.items()
    }
    unscaled, scaled = logits[512], logits[512] / math.sqrt(512)
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


@DEMONSTRATIONS.register("rank_collapse")
def rank_collapse(seed: int) -> Figures:
    """C22: how the tokens' distance from rank 1 falls from layer to layer of attention alone.

    The exponent is the slope of log distance behind a layer by log distance before it, over tokens
    x + ρ·N(0, 1) that are alike up to a ρ that falls; distances are of float64, which knows them
    down to 1e-14.
    """
    stream = _stream(seed, "rank collapse")
    layers = [_attention_weights(stream) for _ in range(3)]
    gaussian = _gaussian(stream, SAMPLES, TOKENS, WIDTH)
    alike = _gaussian(stream, SAMPLES, 1, WIDTH)

    def exponent(layer: int, starts: Tensor) -> float:
        before, after = [], []
        for start in starts:
            tokens = alike + start * gaussian
            for weights in layers[: layer - 1]:
                tokens = _attend(tokens, weights)
            before.append(_distance_from_rank_one(tokens).log())
            after.append(_distance_from_rank_one(_attend(tokens, layers[layer - 1])).log())
        return _slope(torch.stack(before), torch.stack(after)).mean().item()

    figures = {
        "first_layer": exponent(1, torch.logspace(-1, -3, 9)),
        "second_layer": exponent(2, torch.logspace(-0.4, -1.1, 8)),  # .02 to 1e-4 behind the first
    }
    plain, skipping = gaussian, gaussian
    for weights in layers:
        plain, skipping = _attend(plain, weights), skipping + _attend(skipping, weights)
    figures["after_three_plain"] = _distance_from_rank_one(plain).mean().item()
    figures["after_three_skipping"] = _distance_from_rank_one(skipping).mean().item()
    return figures


def _attention_weights(stream: torch.Generator) -> list[Tensor]:
    """Of queries, keys, values and output, with Xavier's variance."""
    return [_gaussian(stream, WIDTH, WIDTH) / math.sqrt(WIDTH) for _ in range(4)]


def _attend(tokens: Tensor, weights: list[Tensor]) -> Tensor:
    """softmax(QKᵀ/√d)·V·Woᵀ by head of tokens [B, T, width]."""
    heads = (SAMPLES, TOKENS, HEADS, WIDTH // HEADS)
    query, key, value = ((tokens @ w.T).view(heads).transpose(1, 2) for w in weights[:3])
    logits = query @ key.transpose(2, 3) / math.sqrt(WIDTH / HEADS)
    return (torch.softmax(logits, dim=3) @ value).transpose(1, 2).flatten(2) @ weights[3].T


def _distance_from_rank_one(tokens: Tensor) -> Tensor:
    """√(Σ_{i≥2} σᵢ² / Σ σᵢ²) of each sample's tokens [B, T, width], by singular values."""
    squares: Tensor = torch.linalg.svdvals(tokens).square()
    return (squares[:, 1:].sum(dim=1) / squares.sum(dim=1)).sqrt()


def _slope(x: Tensor, y: Tensor) -> Tensor:
    """Of the least squares line through each column of points."""
    centred = x - x.mean(dim=0)
    return (centred * y).sum(dim=0) / centred.square().sum(dim=0)


def _gaussian(stream: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=stream, dtype=torch.float64)


def _stream(seed: int, purpose: str) -> torch.Generator:
    return random_stream(seed, f"demonstration of {purpose}")
