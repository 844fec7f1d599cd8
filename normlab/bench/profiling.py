"""Where a step's time goes."""

from typing import NamedTuple

from normlab.bench.nets import Case
from normlab.bench.variants import GRADIENTS, own_loop

MOST_OPERATIONS = 12


class OperationTime(NamedTuple):
    """An operation's part of a step's time."""

    operation: str
    share: float  # of the time in which no other operation ran within it
    calls: float  # a step


def profile(case: Case, steps: int = 20) -> list[OperationTime]:
    """The operations with most time of their own, `grad_norm` of every layer included."""
    from torch.profiler import profile as profiler

    with own_loop(*GRADIENTS)(case) as block:
        block(3)
        with profiler() as found:
            block(steps)
    events = [(event.key, event.self_cpu_time_total, event.count) for event in found.key_averages()]
    total = sum(own for _, own, _ in events)
    events.sort(key=lambda event: -event[1])
    return [
        OperationTime(key, own / total, count / steps)
        for key, own, count in events[:MOST_OPERATIONS]
    ]
