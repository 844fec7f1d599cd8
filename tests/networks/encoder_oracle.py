"""An encoder from its formulas alone, in float64: what `Encoder` should compute.

Nothing here is the package's, and no layer is PyTorch's: attention goes through samples, heads and
queries one by one, a norm through tokens one by one, statistics through real tokens alone. Weights
are matrices [outputs, inputs], as PyTorch keeps them; all of it can be differentiated by autograd.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]
Mask = Sequence[Sequence[bool]]  # of each sample's tokens, whether they are real

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda z: torch.where(z > 0, z, 0),
    "gelu": lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2,
    "tanh": lambda z: 1 - 2 / (torch.exp(2 * z) + 1),
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
}


@dataclass(frozen=True)
class Design:
    """What an encoder is made like, as its settings say."""

    placement: str  # post | pre | peri | deepnorm | none
    norm: str  # none | ln | rms | bn | gn | in | dyt
    heads: int
    residual: bool = True
    activation: str = "relu"
    scaled: bool = True  # attention logits are divided by √d of a head
    qk_norm: bool = False
    qk_eps: float = 0.0
    eps: float = 1e-5
    groups: int = 1  # of norm gn
    masked_norm: bool = True  # statistics over a batch are of real tokens alone
    running: bool = False  # statistics are the running ones, as in eval mode


@dataclass(frozen=True)
class Block:
    """A block's parameters by name: weights of the six layers, and biases where they have one.

    `query`, `key`, `value`, `output`, `feed_forward1` and `feed_forward2`, with `… bias`; the gains
    `query gain` and `key gain` [heads, d]; `norms` in the order in which they are applied.
    """

    layers: Parameters
    norms: Sequence[Parameters] = ()  # gamma, beta, alpha (dyt), mean and variance (running)


@dataclass(frozen=True)
class Network:
    """An encoder's parameters: `embedding`, `output`, their biases, `positions` [tokens, width]."""

    layers: Parameters
    blocks: Sequence[Block] = field(default_factory=list)
    final_norm: Parameters | None = None  # of pre and peri


def rows_of(images: Tensor) -> Tensor:
    """Tokens [B, H, C·W] of images [B, C, H, W]: token t is row t, channel after channel."""
    return torch.stack(
        [
            torch.stack([torch.cat(list(image[:, row])) for row in range(image.shape[1])])
            for image in images
        ]
    )


def patches_of(images: Tensor, size: int) -> Tensor:
    """Tokens [B, (H/p)·(W/p), C·p·p], row of patches by row, a patch channel after channel."""
    _, _, height, width = images.shape
    corners = [(y, x) for y in range(0, height, size) for x in range(0, width, size)]
    return torch.stack(
        [
            torch.stack([image[:, y : y + size, x : x + size].reshape(-1) for y, x in corners])
            for image in images
        ]
    )


def logits_of(network: Network, design: Design, tokens: Tensor, mask: Mask | None) -> Tensor:
    """What the output layer makes of the mean over real tokens, [B, classes]."""
    encoded = encode(network, design, tokens, mask)
    real = real_tokens(tokens, mask)
    means = [
        sum((sample[t] for t in places), torch.zeros_like(sample[0])) / max(1, len(places))
        for sample, places in zip(encoded, real, strict=True)
    ]
    return torch.stack([linear(network.layers, "output", mean) for mean in means])


def encode(network: Network, design: Design, tokens: Tensor, mask: Mask | None) -> Tensor:
    """The stream behind the last block, [B, T, width], behind the final norm if there is one."""
    real = real_tokens(tokens, mask)
    x = linear(network.layers, "embedding", tokens)
    if "positions" in network.layers:
        x = x + network.layers["positions"]
    for block in network.blocks:
        x = _block(block, design, len(network.blocks), x, real)
    if network.final_norm is not None:
        x = normalize(x, network.final_norm, design, real)
    return x


def streams(network: Network, design: Design, tokens: Tensor, mask: Mask | None) -> list[Tensor]:
    """What each block leaves, before any final norm."""
    return [
        encode(Network(network.layers, network.blocks[: depth + 1]), design, tokens, mask)
        for depth in range(len(network.blocks))
    ]


def real_tokens(tokens: Tensor, mask: Mask | None) -> list[list[int]]:
    """The places of each sample's real tokens."""
    samples, count, _ = tokens.shape
    if mask is None:
        return [list(range(count)) for _ in range(samples)]
    return [[t for t in range(count) if mask[b][t]] for b in range(samples)]


def _block(block: Block, design: Design, depth: int, x: Tensor, real: list[list[int]]) -> Tensor:
    """x after attention and feed-forward of one of `depth` blocks, each with its norms and skip."""
    norms = iter(block.norms)

    def norm(y: Tensor) -> Tensor:
        return normalize(y, next(norms), design, real)

    def attended(y: Tensor) -> Tensor:
        return attention(block.layers, design, y, real)

    def fed_forward(y: Tensor) -> Tensor:
        hidden = ACTIVATIONS[design.activation](linear(block.layers, "feed_forward1", y))
        return linear(block.layers, "feed_forward2", hidden)

    for branch in (attended, fed_forward):
        skip = x if design.residual else 0.0
        match design.placement:
            case "none":
                x = skip + branch(x)
            case "post":
                x = norm(skip + branch(x))
            case "pre":
                x = skip + branch(norm(x))
            case "peri":
                x = skip + norm(branch(norm(x)))
            case "deepnorm":
                x = norm(deepnorm_alpha(depth) * x + branch(x))
    assert next(norms, None) is None, "a norm was not used"
    return x


def deepnorm_alpha(depth: int) -> float:
    """(2L)^¼: what the stream of an encoder of L blocks is multiplied by (Wang et al. 2022)."""
    return math.sqrt(math.sqrt(2 * depth))


def deepnorm_beta(depth: int) -> float:
    """(8L)^−¼: what value, output and feed-forward weights are multiplied by at the start."""
    return 1 / math.sqrt(math.sqrt(8 * depth))


def linear(layers: Parameters, name: str, x: Tensor) -> Tensor:
    """W x + b."""
    y = torch.einsum("oi,...i->...o", layers[name], x)
    return y + layers[f"{name} bias"] if f"{name} bias" in layers else y


def attention(layers: Parameters, design: Design, x: Tensor, real: list[list[int]]) -> Tensor:
    """Multi-head self-attention of tokens x [B, T, width], to real tokens alone."""
    query, key, value = (linear(layers, name, x) for name in ("query", "key", "value"))
    size = x.shape[2] // design.heads
    samples = []
    for b, places in enumerate(real):
        heads = []
        for h in range(design.heads):
            part = slice(h * size, (h + 1) * size)
            q, k, v = query[b][:, part], key[b][:, part], value[b][:, part]
            if design.qk_norm:
                q = torch.stack([root_mean_square(row, design.qk_eps) for row in q])
                k = torch.stack([root_mean_square(row, design.qk_eps) for row in k])
                q, k = q * layers["query gain"][h], k * layers["key gain"][h]
            scale = 1 / math.sqrt(size) if design.scaled else 1.0
            rows = []
            for t in range(x.shape[1]):
                weights = softmax([scale * (q[t] * k[j]).sum() for j in places])
                zero = torch.zeros_like(v[0])
                rows.append(sum((w * v[j] for w, j in zip(weights, places, strict=True)), zero))
            heads.append(torch.stack(rows))
        samples.append(torch.cat(heads, dim=1))
    return linear(layers, "output", torch.stack(samples))


def softmax(logits: Sequence[Tensor]) -> list[Tensor]:
    """exp(aᵢ) / Σ exp(aⱼ), of none for none."""
    if not logits:
        return []
    most = max(a.detach() for a in logits)
    powers = [torch.exp(a - most) for a in logits]
    total = sum(powers[1:], powers[0])
    return [power / total for power in powers]


def root_mean_square(row: Tensor, eps: float) -> Tensor:
    """x / √(mean x² + ε)."""
    return row / torch.sqrt((row * row).sum() / len(row) + eps)


def standardize(row: Tensor, eps: float) -> Tensor:
    """(x − mean) / √(variance + ε), the variance a mean of squares."""
    centred = row - row.sum() / len(row)
    return centred / torch.sqrt((centred * centred).sum() / len(row) + eps)


def normalize(x: Tensor, own: Parameters, design: Design, real: list[list[int]]) -> Tensor:
    """A norm of tokens x [B, T, width] with its own γ and β, where it has them."""
    match design.norm:
        case "none":
            return x
        case "bn":
            y = _batch_standardize(x, own, design, real)
        case "dyt":
            y = ACTIVATIONS["tanh"](own["alpha"] * x)
        case kind:
            y = torch.stack([torch.stack([_one(row, kind, design) for row in s]) for s in x])
    if "gamma" in own:
        y = y * own["gamma"]
    return y + own["beta"] if "beta" in own else y


def _one(row: Tensor, kind: str, design: Design) -> Tensor:
    """A token alone: over its features, or over each group of them."""
    if kind == "rms":
        return root_mean_square(row, design.eps)
    groups = design.groups if kind == "gn" else 1
    return torch.cat([standardize(part, design.eps) for part in row.chunk(groups)])


def _batch_standardize(x: Tensor, own: Parameters, design: Design, real: list[list[int]]) -> Tensor:
    """Every feature by its mean and variance over the batch's tokens, or the running ones."""
    if design.running:
        return (x - own["mean"]) / torch.sqrt(own["variance"] + design.eps)
    mean, variance = statistics(x, real if design.masked_norm else None)
    return (x - mean) / torch.sqrt(variance + design.eps)


def statistics(x: Tensor, real: list[list[int]] | None) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of every feature over the batch's real tokens, None for all."""
    if real is None:
        real = [list(range(x.shape[1])) for _ in range(len(x))]
    rows = [sample[t] for sample, places in zip(x, real, strict=True) for t in places]
    mean = sum(rows[1:], rows[0]) / len(rows)
    squares = [(row - mean) * (row - mean) for row in rows]
    return mean, sum(squares[1:], squares[0]) / len(rows)
