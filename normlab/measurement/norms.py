"""Norms of tensors, accumulated so that squares neither overflow nor die out."""

import torch
from torch import Tensor


def norm(x: Tensor) -> Tensor:
    """‖x‖, Frobenius, as a scalar on the device."""
    found: Tensor = torch.linalg.vector_norm(x.detach(), dtype=accumulator(x))
    return found


def accumulator(x: Tensor) -> torch.dtype:
    """float64, the type in which a tensor's sums are made; float32 on MPS, which has no float64."""
    return torch.float32 if x.device.type == "mps" else torch.float64
