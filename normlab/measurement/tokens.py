"""What a block does with the tokens of a probe batch."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The tokens behind a block, and the logits of its attention, of B samples."""

    stream: Tensor  # [B, T, C]
    logits: Tensor  # [B, heads, T, T], as softmax receives them where nothing is masked
    mask: Tensor  # [B, T]: true at a real token, false in padding
