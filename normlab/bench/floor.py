"""The least time that a step could take: its operations at the rate of a large product."""

import torch

from normlab.bench.textbook import seconds_of, textbook_step
from normlab.config import Config
from normlab.training import select_device


def step_flops(config: Config) -> int:
    """Floating-point operations of products and convolutions in a step, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    step, _ = textbook_step(config)
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def product_rate(config: Config, size: int = 1024) -> float:
    """Floating-point operations a second of a product of two float32 matrices, the best of ten."""
    torch.set_num_threads(config.runtime.threads)
    device = select_device(config.runtime.device)
    one = torch.randn(size, size, device=device)
    best = min(seconds_of(lambda: torch.mm(one, one), 1, device) for _ in range(10))
    return float(2 * size**3 / best)
