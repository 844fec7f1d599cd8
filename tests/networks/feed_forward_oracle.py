"""MLPs and CNNs from their papers' formulas alone: what `MLP` and `CNN` should compute.

Weights come from a network's `state_dict`, by name; sums and factors are written down as the papers
have them. Convolutions alone are PyTorch's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Parameters = Mapping[str, Tensor]

# Of a rectifier in closed form, of tanh by quadrature to ten digits.
GAMMAS = {"relu": math.sqrt(2 / (1 - 1 / math.pi)), "tanh": 1.5925374197228312}


@dataclass(frozen=True)
class Design:
    """What a network is made like, as its settings say; with norm `ln` γ and β are learned."""

    depth: int
    spatial: bool
    block: str = "post"
    residual: bool = True
    branch_scale: str = "one"
    alpha: float = 0.2
    weight_standardization: str = "none"
    activation: str = "relu"
    norm: str = "none"
    position: str = "before"
    shortcut: str = "A"

    def phi(self, x: Tensor) -> Tensor:
        return torch.tanh(x) if self.activation == "tanh" else torch.where(x > 0, x, 0)


def logits_of(design: Design, own: Parameters, images: Tensor) -> Tensor:
    """[B, classes] of images [B, C, H, W]."""
    return (_conv_logits if design.spatial else _mlp_logits)(design, own, images)


# ------------------------------------------------------------------------------- layers


def weight_of(design: Design, own: Parameters, name: str) -> Tensor:
    """A layer's weight, each unit's by itself where weights are standardized."""
    if f"{name}.weight" in own:
        return own[f"{name}.weight"]
    whole = own[f"{name}.parametrizations.weight.original"]
    units = []
    for unit, row in enumerate(whole):
        mean = row.sum() / row.numel()
        variance = ((row - mean) ** 2).sum() / row.numel()
        if design.weight_standardization == "plain":
            units.append((row - mean) / torch.sqrt(variance + 1e-5))
        else:
            gamma = 1.0 if _reads_linearly(design, name) else GAMMAS[design.activation]
            gain = own[f"{name}.parametrizations.weight.0.gain"][unit]
            units.append(gain * gamma * (row - mean) / torch.sqrt(row.numel() * variance))
    return torch.stack(units)


def _reads_linearly(design: Design, name: str) -> bool:
    """Whether a layer reads the data, or the stream of a pre-activation network."""
    if name in ("stem", "body.hidden1", "body.hidden1.linear"):
        return True
    streams = design.block == "pre" and design.branch_scale != "normalizer_free"
    return streams and name.endswith(".shortcut")


def apply(design: Design, own: Parameters, name: str, x: Tensor, stride: int = 1) -> Tensor:
    """A linear layer, or a convolution that keeps height and width."""
    weight, bias = weight_of(design, own, name), own.get(f"{name}.bias")
    if x.ndim == 2:
        y = torch.einsum("oi,bi->bo", weight, x)
        return y if bias is None else y + bias
    return F.conv2d(x, weight, bias, stride, padding=weight.shape[2] // 2)


def norm(design: Design, own: Parameters, name: str, x: Tensor) -> Tensor:
    """LayerNorm over all units of a sample, γ and β of a channel."""
    if design.norm == "none":
        return x
    axes = tuple(range(1, x.ndim))
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    shape = (1, -1, *[1] * (x.ndim - 2))
    y = (x - mean) / torch.sqrt(variance + 1e-5)
    return y * own[f"{name}.weight"].view(shape) + own[f"{name}.bias"].view(shape)


def unit(design: Design, own: Parameters, name: str, x: Tensor) -> Tensor:
    """φ(N(x)), or N(φ(x)); with Fixup's scalars φ(x + b) + b′."""
    if design.branch_scale == "fixup":
        y = design.phi(x + own[f"{name}.shift_before.scalar"])
        behind = f"{name}.shift_behind.scalar"
        return y + own[behind] if behind in own else y
    if design.position == "before":
        return design.phi(norm(design, own, f"{name}.norm", x))
    return norm(design, own, f"{name}.norm", design.phi(x))


# ------------------------------------------------------------------------------ branches


def scaled(design: Design, blocks: int, own: Parameters, name: str, y: Tensor) -> Tensor:
    """A branch's output as it is added to the skip."""
    match design.branch_scale:
        case "sqrt_depth":
            return y / math.sqrt(blocks)
        case "depth":
            return y / blocks
        case "skipinit" | "fixup":
            return own[f"{name}.scalar"] * y
        case "normalizer_free":
            return design.alpha * y
    return y


def entering(design: Design, variance: float, x: Tensor) -> Tensor:
    """The stream on its way into a branch, before any scalar of Fixup's."""
    return x / math.sqrt(variance) if design.branch_scale == "normalizer_free" else x


def _mlp_logits(design: Design, own: Parameters, images: Tensor) -> Tensor:
    h, blocks, variance = images.flatten(1), design.depth - 2, 1.0
    for i in range(1, design.depth):
        name = f"body.hidden{i}"
        if design.block == "pre":
            if i == 1:
                h = apply(design, own, name, h)
                continue
            inner = unit(design, own, f"{name}.unit", entering(design, variance, h))
            f = apply(design, own, f"{name}.linear", inner)
        else:
            f = unit(design, own, f"{name}.unit", apply(design, own, f"{name}.linear", h))
        f = scaled(design, blocks, own, f"{name}.out_of", f) if design.residual and i > 1 else f
        h = h + f if design.residual and i > 1 else f
        variance += design.alpha**2
    if design.block == "pre" and design.depth > 1:
        h = unit(design, own, "final_unit", h)
    return apply(design, own, "output", h)


def _conv_logits(design: Design, own: Parameters, images: Tensor) -> Tensor:
    blocks = (design.depth - 2) // 2
    h = apply(design, own, "stem", images)
    if design.block == "post":
        h = unit(design, own, "stem_unit", h)
    variance = 1.0
    for stage in range(1, 4):
        for index in range(1, blocks // 3 + 1):
            name = f"body.stage{stage}.block{index}"
            begins = stage > 1 and index == 1
            h = _conv_block(design, own, (name, blocks, begins), h, variance)
            if begins:
                variance = 1.0
            variance += design.alpha**2
    if design.block == "pre":
        h = unit(design, own, "final_unit", h)
    h = h.mean((2, 3))
    if design.block == "post" and design.branch_scale == "fixup":
        h = h + own["shift.scalar"]
    return apply(design, own, "output", h)


def _conv_block(
    design: Design, own: Parameters, place: tuple[str, int, bool], x: Tensor, variance: float
) -> Tensor:
    name, blocks, begins = place
    stride = 2 if begins else 1
    if design.block == "post":
        first = x + own[f"{name}.into.scalar"] if design.branch_scale == "fixup" else x
        h = unit(design, own, f"{name}.unit1", apply(design, own, f"{name}.conv1", first, stride))
        z = apply(design, own, f"{name}.conv2", h)
        if design.position == "before":
            z = norm(design, own, f"{name}.unit2.norm", z)
        y = scaled(design, blocks, own, f"{name}.unit2.out_of", z)
        if design.branch_scale == "fixup":
            y = y + own[f"{name}.unit2.shift_before.scalar"]
        y = y + _skip(design, own, name, x, begins) if design.residual else y
        y = design.phi(y)
        return y if design.position == "before" else norm(design, own, f"{name}.unit2.norm", y)
    activated = unit(design, own, f"{name}.unit1", entering(design, variance, x))
    h = unit(design, own, f"{name}.unit2", apply(design, own, f"{name}.conv1", activated, stride))
    y = scaled(design, blocks, own, f"{name}.out_of", apply(design, own, f"{name}.conv2", h))
    if not design.residual:
        return y
    free = design.branch_scale == "normalizer_free"
    return y + _skip(design, own, name, activated if free and begins else x, begins)


def _skip(design: Design, own: Parameters, name: str, x: Tensor, begins: bool) -> Tensor:
    if not begins:
        return x
    if design.shortcut == "A":
        taken = x[:, :, ::2, ::2]
        return torch.cat([taken, torch.zeros_like(taken)], dim=1)
    named = f"{name}.shortcut" if design.block == "pre" else f"{name}.shortcut.0"
    y = apply(design, own, named, x, 2)
    return y if design.block == "pre" else norm(design, own, f"{name}.shortcut.1", y)
