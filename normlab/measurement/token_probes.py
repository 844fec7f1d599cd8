"""Measurements of a block's tokens: how alike they have become, and what its attention sees.

Each stands in the row of the layer whose `role` it names. All but the last are means over samples,
in which padding has no part, nor have samples of fewer than two real tokens; where there are no
others they are NaN.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from normlab.config import PROBES, InParts, Probe
from normlab.measurement.probes import added

if TYPE_CHECKING:
    from torch import Tensor

    from normlab.measurement.tokens import Tokens

    Gathered = tuple[Tensor, ...]

QUERY, STREAM = "query", "feed-forward 2"


def mean(gathered: "Gathered") -> "Tensor":
    """A sum over how many it is of; NaN of none."""
    total, count = gathered
    return total / count


def root_mean(gathered: "Gathered") -> "Tensor":
    """The root of `mean`."""
    return mean(gathered).sqrt()


def _enter(
    name: str,
    label: str,
    role: str,
    gather: "Callable[[Tokens], Gathered]",
    finish: "Callable[[Gathered], Tensor]" = mean,
    **facts: Any,
) -> None:
    def measure(seen: "Tokens") -> "Tensor":
        return finish(gather(seen))

    measure.__doc__ = gather.__doc__
    parts = InParts(gather, added, finish)
    PROBES.add(name, Probe(name, label, measure, parts=parts, role=role, **facts))


def _counted(values: "Tensor", counts: "Tensor") -> "Gathered":
    """The sum of those values whose samples or rows count, and how many they are."""
    import torch

    return torch.where(counts, values, 0).sum(), counts.sum().to(values)


# ---------------------------------------------------------------------- the tokens themselves


def _stream(seen: "Tokens") -> "tuple[Tensor, Tensor]":
    """The tokens [B, T, C] behind a block, 0 in padding, and how many are real [B]."""
    import torch

    from normlab.measurement.norms import accumulator

    x = torch.where(seen.mask[..., None], seen.stream, 0).to(accumulator(seen.stream))
    return x, seen.mask.sum(dim=1)


def token_cosine(seen: "Tokens") -> "Gathered":
    """Mean cosine between the tokens x of a sample: mean over i ≠ j of xᵢ·xⱼ/(‖xᵢ‖‖xⱼ‖).

    At 1 they have all become one, ρ of Noci et al. (2022). Two zero vectors, being alike, count 1;
    a zero and another vector count 0.
    """
    import torch

    x, real = _stream(seen)
    norms = torch.linalg.vector_norm(x, dim=2)
    total = (x / torch.where(norms == 0, 1, norms)[..., None]).sum(dim=1)
    zeros = (seen.mask & (norms == 0)).sum(dim=1)
    pairs = total.square().sum(dim=1) - (real - zeros) + zeros * (zeros - 1)
    return _counted(pairs / (real * (real - 1)), real > 1)


def rank_one_distance(seen: "Tokens") -> "Gathered":
    """‖X − 1mᵀ‖/‖X‖, Frobenius, m the mean of a sample's n tokens X [n, C].

    What the best approximation by equal rows leaves, itself of rank 1: the residual of Dong et al.
    (2021), which without skips falls with the cube at each layer of attention. 0 where all is 0.
    """
    import torch

    x, real = _stream(seen)
    centre = x.sum(dim=1, keepdim=True) / real.clamp(min=1)[:, None, None]
    left = torch.where(seen.mask[..., None], x - centre, 0)
    norms = torch.linalg.vector_norm(x, dim=(1, 2))
    distance = torch.linalg.vector_norm(left, dim=(1, 2)) / torch.where(norms == 0, 1, norms)
    return _counted(distance, real > 1)


_enter("token_cosine", "cosine between tokens", STREAM, token_cosine)
_enter(
    "rank_one_distance", "tokens' distance from rank 1", STREAM, rank_one_distance, logarithmic=True
)


# ------------------------------------------------------------------------------- attention


def _rows(seen: "Tokens") -> "tuple[Tensor, Tensor, Tensor, Tensor]":
    """Logits [B, heads, T, T]; which keys are real [B, 1, 1, T], and how many [B, 1, 1]; which
    rows, each of a query and a head, count [B, heads, T]."""
    from normlab.measurement.norms import accumulator

    logits = seen.logits.to(accumulator(seen.logits))
    real = seen.mask.sum(dim=1)[:, None, None]
    counts = (seen.mask[:, None] & (real > 1)).expand(logits.shape[:3])
    return logits, seen.mask[:, None, None], real, counts


def logit_std(seen: "Tokens") -> "Gathered":
    """Root mean over queries and heads of the variance of the n real keys' logits, divisor n.

    What softmax depends on: it does not see what all logits of a query have in common.
    """
    import torch

    logits, keys, real, counts = _rows(seen)
    divisor = real.clamp(min=1)
    a = torch.where(keys, logits, 0)
    centred = torch.where(keys, a - (a.sum(dim=3) / divisor)[..., None], 0)
    return _counted(centred.square().sum(dim=3) / divisor, counts)


def attention_entropy(seen: "Tokens") -> "Gathered":
    """Mean over queries and heads of H/ln n, H = −Σⱼ wⱼ ln wⱼ of the weights w on n real keys.

    1 where attention is spread evenly, 0 where it is all on one key; 1 − s²/(2 ln n) of logits with
    a small standard deviation s.
    """
    import torch

    logits, keys, real, counts = _rows(seen)
    a = torch.where(keys, logits, -torch.inf)
    largest = torch.where(counts, a.amax(dim=3), 0)[..., None]
    shifted = torch.where(keys, a - largest, 0)
    weights = torch.where(keys, shifted.exp(), 0)
    total = weights.sum(dim=3)
    entropy = total.log() - (weights * shifted).sum(dim=3) / total
    return _counted(entropy / real.clamp(min=2).to(a).log(), counts)


_enter(
    "logit_std",
    "deviation of attention's logits",
    QUERY,
    logit_std,
    root_mean,
    logarithmic=True,
)
_enter("attention_entropy", "attention's entropy H/ln n", QUERY, attention_entropy)

# --------------------------------------------------------------------------------- padding


def padding_leak(seen: "Tokens") -> "Gathered":
    """‖X′ − X‖/‖X‖ over all real tokens X behind a block, X′ where other content lies in padding.

    0 where attention and norms are masked; NaN of data without padding.
    """
    import torch

    x, _ = _stream(seen)
    if seen.replaced is None:
        return x.new_tensor(torch.nan), x.new_tensor(torch.nan)
    change = torch.where(seen.mask[..., None], seen.replaced.to(x) - x, 0)
    return change.square().sum(), x.square().sum()


_enter(
    "padding_leak",
    "leak from padding",
    STREAM,
    padding_leak,
    root_mean,
    replaces_padding=True,
)
