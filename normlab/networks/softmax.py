"""Softmax over what is not masked, and the losses of a classifier."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, labels: Tensor, kind: str, reduction: str = "mean", smoothing: float = 0.0
) -> Tensor:
    """The loss of a classifier over B samples: logits a [B, K], labels [B], one value.

    - softmax: −log softmax(a)_y, whose gradient by a is softmax(a) − onehot(y)
    - sigmoid: Σ_k −log σ(a_k) if k = y, else −log(1 − σ(a_k)): a logistic regression for each
      class, with gradient σ(a) − onehot(y) (Nielsen 2015, ch. 3)

    `reduction` is the mean or the sum over samples. With `smoothing` s the target is not onehot(y)
    but (1 − s)·onehot(y) + s/K (Szegedy et al. 2016).
    """
    if kind == "softmax":
        return F.cross_entropy(logits, labels, reduction=reduction, label_smoothing=smoothing)
    targets = F.one_hot(labels, logits.shape[1]).to(logits)
    if smoothing:
        targets = (1 - smoothing) * targets + smoothing / logits.shape[1]
    total = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return total / len(labels) if reduction == "mean" else total


def masked_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the positions where `mask` is true; exactly 0 elsewhere, in every dtype.

    wᵢ = exp(aᵢ) / Σ_{j: mask} exp(aⱼ). A row without any position is all 0, not uniform and not
    NaN, and its gradient is 0; whatever stands at masked positions, NaN and infinity too, has no
    effect. `mask` is boolean and broadcasts to the logits.
    """
    mask = mask.expand_as(logits)
    empty = ~mask.any(dim, keepdim=True)
    # An empty row gets finite logits, since a row of −∞ has no softmax and its gradient is NaN.
    filled = logits.masked_fill(~mask, -torch.inf).masked_fill(empty, 0)
    return torch.softmax(filled, dim).masked_fill(~mask, 0)


PADDING_FILL = -(2.0**32) + 1


def fill_softmax(logits: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax with masked positions filled with −2³²+1, as widespread attention code has it.

    Exact in float32 and float64 as long as a row keeps a position; a row that is all padding
    becomes uniform. In float16 the fill is −∞, and such a row NaN. Use `masked_softmax`.
    """
    fill = torch.tensor(PADDING_FILL, dtype=torch.float64).to(logits)
    return torch.softmax(torch.where(mask.expand_as(logits), logits, fill), dim)
