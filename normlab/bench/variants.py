"""A training step in its variants: the bare loop, normlab's own, and other packages'."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from normlab.bench.nets import STEPS, Case
from normlab.bench.textbook import seconds_of, textbook_step
from normlab.networks import weight_layers
from normlab.runs import Finished, Note, execute
from normlab.training import Event, Progress, select_device, train
from normlab.watching import Watch

# Make so many steps and say how many seconds they took.
Block = Callable[[int], float]


@dataclass(frozen=True)
class Variant:
    """A way to train a net step by step.

    What takes several steps' time, and what leaves threads of its own behind, comes in `heavy`
    rounds after the `light` ones; each kind needs its own blocks of what it is compared with.
    """

    make: Callable[[Case], AbstractContextManager[Block]]
    rounds: tuple[str, ...]  # the kinds that it comes in, of light, heavy and quick
    own: bool = False  # normlab's own loop


@contextmanager
def bare(case: Case) -> Iterator[Block]:
    """The textbook loop, nothing measured."""
    step, _ = textbook_step(case.config())
    yield lambda steps: seconds_of(step, steps, select_device(case.device))


@contextmanager
def with_item(case: Case) -> Iterator[Block]:
    """The textbook loop with .grad.norm().item() of every layer."""
    step, model = textbook_step(case.config())
    weights = [layer.module.weight for layer in weight_layers(model)]

    def measured() -> None:
        step()
        for weight in weights:
            assert weight.grad is not None
            weight.grad.norm().item()

    yield lambda steps: seconds_of(measured, steps, select_device(case.device))


@contextmanager
def watched(case: Case) -> Iterator[Block]:
    """The textbook loop under normlab's watch: every layer's gradient at every step, its rows
    written as they come."""
    step, model = textbook_step(case.config())
    with Watch(model) as watch:
        watch.pause()  # it would hear of the other loops' steps

        def block(steps: int) -> float:
            watch.resume()
            seconds = seconds_of(step, steps, select_device(case.device))
            watch.pause()
            return seconds

        yield block


def own_loop(*overrides: str) -> Callable[[Case], AbstractContextManager[Block]]:
    """normlab's own loop: batches, schedule, reading the loss and rows of measurements included."""

    @contextmanager
    def variant(case: Case) -> Iterator[Block]:
        config = case.config(*overrides)
        events: Iterator[Event] = iter(())
        done = 0

        def block(steps: int) -> float:
            nonlocal events, done
            assert config.training.steps is not None
            if done == 0 or done + steps >= config.training.steps:
                events = train(config, progress_seconds=-1)
                done = _train_to(events, 1)  # its start is not timed
            began, before = time.perf_counter(), done
            done = _train_to(events, done + steps)
            return (time.perf_counter() - began) * steps / (done - before)

        yield block

    return variant


@contextmanager
def recorded(case: Case) -> Iterator[Block]:
    """A whole run: normlab's own loop, and its rows written as they come, every layer's gradient at
    every step."""
    with tempfile.TemporaryDirectory() as root:
        config = case.config(*GRADIENTS, f"output.root='{root}'")
        events: Generator[Event | Note | Finished, None, None] | None = None
        done = 0

        def block(steps: int) -> float:
            nonlocal events, done
            assert config.training.steps is not None
            if events is None or done + steps >= config.training.steps:
                if events is not None:
                    events.close()
                events = execute(config, force=True, progress_seconds=-1)
                done = _train_to(events, 1)  # its start is not timed
            began, before = time.perf_counter(), done
            done = _train_to(events, done + steps)
            return (time.perf_counter() - began) * steps / (done - before)

        yield block
        if events is not None:
            events.close()


def _train_to(events: Iterator[Any], target: int) -> int:
    """Train up to a step; on a GPU to the next reading of the loss."""
    return next(e.step for e in events if isinstance(e, Progress) and e.step >= target)


GRADIENTS = ("probes.measure=[grad_norm]", f"probes.grad_norm_steps={STEPS}")
# Log-spaced steps so dense that each of the first hundreds is one.
_EVERY_STEP = ("training.steps=300", "probes.snapshots=6000")

VARIANTS: dict[str, Variant] = {
    "bare": Variant(bare, ("light", "heavy", "quick")),
    "item": Variant(with_item, ("light", "quick")),
    "no probes": Variant(own_loop("probes=none"), ("light",), own=True),
    "grad_norm": Variant(own_loop(*GRADIENTS), ("light", "heavy", "quick"), own=True),
    "recorded": Variant(recorded, ("light",), own=True),
    "watch": Variant(watched, ("light", "quick"), own=True),
    "all, every step": Variant(own_loop(*_EVERY_STEP), ("heavy", "quick"), own=True),
}


def _add_other_packages() -> None:
    """Enter the variants of other packages that are installed."""
    from normlab.bench.peers import with_lightning, with_torchmortem, with_wandb

    for name, package, make in (
        ("lightning grad_norm", "lightning", with_lightning),
        ("wandb.watch", "wandb", with_wandb),
        ("torchmortem", "torchmortem", with_torchmortem),
    ):
        if importlib.util.find_spec(package) is not None:
            VARIANTS[name] = Variant(make, ("heavy",))


_add_other_packages()
