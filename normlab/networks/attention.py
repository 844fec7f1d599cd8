"""Multi-head self-attention over the tokens that are real."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.networks.models import Encoder
from normlab.networks.softmax import masked_softmax

QK_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017): W_o [softmax(Q_h K_hᵀ·s) V_h over heads h].

    Q = W_q x, K = W_k x and V = W_v x are split into `heads` of d = C/heads numbers; s is 1/√d, or
    1 with model.attention_scale=none. With model.qk_norm each head's queries and keys are divided
    by their root mean square and multiplied by a gain of d numbers that all heads share (Henry et
    al. 2020 and Dehghani et al. 2023 normalize there, with ℓ2 and LayerNorm). A token attends to
    what `mask` [B, T] says is real; where none is, the output is W_o 0. What lies in padding must
    be finite: 0·NaN is NaN.
    """

    def __init__(self, model: Encoder):
        super().__init__()
        width = model.width
        self.heads = model.heads
        self.query = nn.Linear(width, width, bias=model.bias)
        self.key = nn.Linear(width, width, bias=model.bias)
        self.value = nn.Linear(width, width, bias=model.bias)
        self.output = nn.Linear(width, width, bias=model.bias)
        size = width // model.heads
        self.scale = 1 / math.sqrt(size) if model.attention_scale == "sqrt" else 1.0
        self.query_norm = nn.RMSNorm(size, QK_NORM_EPS) if model.qk_norm else nn.Identity()
        self.key_norm = nn.RMSNorm(size, QK_NORM_EPS) if model.qk_norm else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [B, T, C]; mask: [B, T], true at real tokens, or None where all are."""
        q, k = self._normalized(self.query(x), self.key(x))
        v = self._split(self.value(x))
        if mask is None:
            attended = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            # A sample without a real token attends to all of them, and then its output is dropped:
            # not every kernel has a softmax of nothing.
            empty = ~mask.any(dim=1)[:, None, None, None]
            keys = mask[:, None, None, :] | empty
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, scale=self.scale)
            attended = attended.masked_fill(empty, 0)
        found: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return found

    def logits(self, query: Tensor, key: Tensor) -> Tensor:
        """s·Q_h K_hᵀ [B, heads, T, T] of what the layers `query` and `key` gave, [B, T, C]: row i
        is token i's query."""
        q, k = self._normalized(query, key)
        return (q @ k.transpose(-2, -1)) * self.scale

    def weights(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        """The softmax [B, heads, T, T] of `logits` over real tokens, exactly 0 at others."""
        logits = self.logits(query, key)
        if mask is None:
            return torch.softmax(logits, dim=-1)
        return masked_softmax(logits, mask[:, None, None, :], dim=-1)

    def _normalized(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        return self.query_norm(self._split(query)), self.key_norm(self._split(key))

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, C] as heads, [B, heads, T, C/heads]."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
