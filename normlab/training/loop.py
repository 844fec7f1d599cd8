"""The training loop: one generator, read from top to bottom."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from normlab.config import Config
from normlab.training.events import Ended, Event
from normlab.training.session import Session

PROGRESS_SECONDS = 0.1


def train(
    config: Config,
    *,
    resume: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress_seconds: float = PROGRESS_SECONDS,
) -> Iterator[Event]:
    """Train the network that a config names and yield what happens.

    An event of step s is about the weights after s optimizer steps: its evaluation, its snapshot,
    and the gradient and update of the training step taken from there. `resume` is a checkpoint's
    state, from which a CPU yields what a training without a stop would; `stop`, asked every
    `progress_seconds` between two steps and within an evaluation, ends it without an Ended; it can
    end before its last step by training.max_seconds or training.stop_value, too. See `Session` for
    what is raised.
    """
    session = Session(config, resume, stop, progress_seconds)
    yield session.started()
    session.start_clock()
    steps = session.cadence.steps
    if session.first_step and session.is_late(session.first_step):
        yield from session.end_late(session.first_step)
        return
    for step in range(session.first_step, steps + 1):
        evaluating = session.cadence.evaluates(step)
        if evaluating or step in session.cadence.snapshots:
            yield from session.read()
            if session.has_diverged(step):
                yield from session.end_diverged(step)
                return
        if evaluating:
            evaluation = session.evaluate(step)
            if evaluation is None:
                yield from session.end_stopped(step)
                return
            yield evaluation
            if session.has_come_to_value(step, evaluation):
                yield from session.end_early(step)
                return
        measured, stepped, ending = session.snapshot(step), None, None
        if step < steps:
            stepped = session.train(step)
            ending = session.ending(step + 1)
        session.keep(step, measured, stepped)
        if not (ending or session.must_read(step)):
            continue
        yield from session.read()
        if session.broken_step is not None:
            yield from session.end_diverged(step + 1)
            return
        if ending:
            yield from ending(step + 1)
            return
        if step < steps and session.progress_due():
            yield session.progress(step + 1)
            if session.checkpoint_due():
                yield session.checkpoint(step + 1)
    yield Ended("finished", steps, session.network.model, session.state(steps))
