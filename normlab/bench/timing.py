"""A training step's variants beside the bare loop, timed in rounds of alternating blocks."""

import random
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from normlab.bench.floor import product_rate, step_flops
from normlab.bench.nets import Case
from normlab.bench.variants import VARIANTS, Variant
from normlab.training import matrix_products

# A training of so many steps is what the default cadence of the snapshots is spread over.
CADENCE_STEPS = 2000
BLOCK_SECONDS = 0.08
LEAST_ROUNDS = 4
# Kinds of rounds, and their part of the time.
ROUNDS = {"full": {"light": 0.6, "heavy": 0.4}, "quick": {"quick": 1.0}}

SPREAD = f"all, {CADENCE_STEPS} steps"
# What each row is.
LEGEND = {
    "bare": "the textbook loop on batches that lie ready, torch.optim.SGD, nothing measured",
    "item": "the textbook loop with .grad.norm().item() of every layer",
    "no probes": "normlab's loop, batches, schedule and rows included, nothing measured",
    "grad_norm": "normlab's loop, batches, schedule and rows included, and every layer's gradient "
    "at every step",
    "recorded": "grad_norm as a whole run, its files written",
    "watch": "the textbook loop under normlab.watch, every layer's gradient at every step, written",
    "all, every step": "a whole snapshot of the probe batch at every step",
    SPREAD: "grad_norm and the default snapshots, their cost spread over a training of so many "
    "steps",
    "floor": "the products' and convolutions' operations at the rate of a 1024×1024 product",
}


@dataclass(frozen=True)
class Timing:
    """A variant's step: its time over that of the bare loop's, and its own."""

    net: str
    threads: int
    variant: str
    ratio: float  # median over rounds of blocks
    low: float  # its quartiles
    high: float
    milliseconds: float
    rounds: int  # of blocks, of which the median and the quartiles are
    own: bool  # of normlab's own loop

    def to_plain(self) -> dict[str, Any]:
        """What `--format json` prints of it."""
        return {name: value for name, value in vars(self).items() if name != "own"}


def measure(case: Case, seconds: float, *, quick: bool = False) -> Iterator[Timing]:
    """The timings of a net's variants as they come, `seconds` of blocks in all, but four rounds at
    least; raises ConfigError.

    Every round makes one block of each variant, in an order drawn anew, and compares it with the
    same round's block of the bare loop. `quick` has one kind of rounds, of fewer variants.
    """
    made: list[dict[str, list[float]]] = []
    for kind, share in ROUNDS["quick" if quick else "full"].items():
        variants = {name: v for name, v in VARIANTS.items() if kind in v.rounds}
        times = _rounds(variants, case, share * seconds)
        for name, steps in times.items():
            if not any(name in before for before in made):
                yield _timing(case, name, steps, times["bare"], own=VARIANTS[name].own)
        made.append(times)
    light, heavy = made[0], made[-1]
    # The snapshots of a default training, spread over its steps; from the two measured above.
    config = case.config()
    # Besides the log-spaced ones: steps 0 and last and the end of the first epoch.
    share = (config.probes.snapshots + 3) / CADENCE_STEPS
    every, usual = (statistics.median(heavy[name]) for name in ("all, every step", "grad_norm"))
    spread = [step + share * (every - usual) for step in light["grad_norm"]]
    yield _timing(case, SPREAD, spread, light["bare"], own=True)
    floor = step_flops(config) / product_rate(config)
    share, rounds = floor / statistics.median(light["bare"]), len(light["bare"])
    yield Timing(
        case.net,
        case.threads,
        "floor",
        ratio=share,
        low=share,
        high=share,
        milliseconds=1e3 * floor,
        rounds=rounds,
        own=False,
    )


def _rounds(variants: Mapping[str, Variant], case: Case, seconds: float) -> dict[str, list[float]]:
    """Seconds of a step, by variant, in rounds of a block each."""
    draw = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in variants}
    with ExitStack() as stack:
        # Equal arithmetic on a GPU too, where PyTorch's own convolutions are in TF32.
        stack.enter_context(matrix_products(case.config().training.precision))
        blocks = {
            name: stack.enter_context(variant.make(case)) for name, variant in variants.items()
        }
        for block in blocks.values():
            block(2)
        steps = max(1, round(BLOCK_SECONDS / blocks["bare"](1)))
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends or len(times["bare"]) < LEAST_ROUNDS:
            for name in draw.sample(list(blocks), len(blocks)):
                times[name].append(blocks[name](steps) / steps)
    return times


def _timing(case: Case, name: str, times: list[float], bare: list[float], *, own: bool) -> Timing:
    """The median ratio of a variant's blocks to the same rounds' blocks of the bare loop."""
    ratios = [a / b for a, b in zip(times, bare, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    milliseconds = 1e3 * statistics.median(times)
    rounds = len(ratios)
    return Timing(case.net, case.threads, name, median, low, high, milliseconds, rounds, own)
