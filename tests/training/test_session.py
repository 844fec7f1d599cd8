import math
from typing import Any

import pytest

from normlab.config import compose
from normlab.training import Checkpoint, Measurement, Progress, Started, graphs, train
from normlab.training import session as sessions
from normlab.training.step import training_step
from tests.conftest import TINY
from tests.training.small_trainings import evaluations, events_of, measured


@pytest.mark.parametrize("read_every", [3, 50])
def test_when_losses_are_read_back_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, read_every: int
) -> None:
    """A GPU's losses are read every 50 steps: the same step diverges and the same rows are kept."""
    # The loss overflows after some steps, between two snapshots and within an epoch.
    overrides = [*TINY, "norm=none", "training.epochs=5", "optimizer.lr=1e5", "seed=3"]
    config = compose([*overrides, "model.activation=identity", "probes.snapshots=2"])
    events, ended = events_of(config)
    assert ended.status == "diverged"
    assert ended.step % read_every
    monkeypatch.setitem(sessions.READ_EVERY, "cpu", read_every)
    late, late_end = events_of(config)
    assert (late_end.status, late_end.step) == (ended.status, ended.step)
    assert str(measured(late, "grad_norm")) == str(measured(events, "grad_norm"))
    steps, late_steps = ([row["step"] for row in evaluations(e)] for e in (events, late))
    assert late_steps[:-1] == steps[:-1]
    assert ended.step < steps[-1] <= late_steps[-1] <= ended.step + read_every  # as they stand
    assert steps == sorted(set(steps))
    assert late_steps == sorted(set(late_steps))


class Clock:
    """Stands still but for a second in every training step, and where a test moves it."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()

    def taking_a_second(*args: Any, **options: Any) -> Any:
        made.now += 1
        return training_step(*args, **options)

    monkeypatch.setattr(sessions, "time", made)
    monkeypatch.setattr(graphs, "training_step", taking_a_second)
    return made


def test_what_is_prepared_at_the_start_is_no_time_of_training(clock: Clock) -> None:
    """A recorder makes a folder and asks git for the commit when training has `Started`."""
    events = []
    for event in train(compose([*TINY, "probes=none"])):
        events.append(event)
        if isinstance(event, Started):
            clock.now += 100
    assert [(row["step"], row["seconds"]) for row in evaluations(events)] == [
        (0, 0),
        (4, 4),
        (8, 8),
    ]


def test_time_goes_on_from_a_checkpoint(clock: Clock) -> None:
    config = compose([*TINY, "probes=none"])
    *_, checkpoint = train(config, stop=lambda: clock.now >= 1003, progress_seconds=-1)
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.state["step"], checkpoint.state["seconds"]) == (3, 3)
    clock.now += 100
    rest = list(train(config, resume=checkpoint.state))
    assert [(row["step"], row["seconds"]) for row in evaluations(rest)] == [(4, 4), (8, 8)]


def test_signs_of_life_and_checkpoints_come_by_the_clock(clock: Clock) -> None:
    config = compose([*TINY, "probes=none", "runtime.checkpoint_seconds=3"])
    events = list(train(config, progress_seconds=1.5))
    assert clock.now == 1008
    assert [event.step for event in events if isinstance(event, Progress)] == [2, 4, 6, 8]
    kept = [event.state["step"] for event in events if isinstance(event, Checkpoint)]
    assert kept == [4, 8]


def test_a_checkpoint_at_0_seconds_is_never_due(clock: Clock) -> None:
    config = compose([*TINY, "probes=none", "runtime.checkpoint_seconds=0"])
    events = list(train(config, stop=lambda: clock.now >= 1003, progress_seconds=-1))
    assert isinstance(events[-1], Progress)
    assert not any(isinstance(event, Checkpoint) for event in events)


def test_an_evaluations_learning_rate_is_that_of_its_step() -> None:
    """Half a cosine over 8 steps: of the step that starts from there, at the end of the last."""
    config = compose([*TINY, "probes=none", "schedule=cosine", "optimizer.lr=0.5"])
    events, _ = events_of(config)
    rates = {row["step"]: row["lr"] for row in evaluations(events)}
    steps = {0: 0, 4: 4, 8: 7}
    expected = {row: 0.25 * (1 + math.cos(math.pi * step / 8)) for row, step in steps.items()}
    assert rates == pytest.approx(expected)


def test_measurements_of_several_steps_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU a step that logs its norms does not wait for it."""
    overrides = [
        *TINY,
        "training.epochs=5",
        "probes.grad_norm_steps=1000",
        "optimizer.nesterov=true",
    ]
    config = compose([*overrides, "training.clip_norm=0.5", "probes.snapshots=3"])
    each, _ = events_of(config)
    copies = 0

    def counted(parts: Any) -> Any:
        nonlocal copies
        copies += 1
        return brought(parts)

    brought = sessions._brought
    monkeypatch.setattr(sessions, "_brought", counted)
    monkeypatch.setitem(sessions.READ_EVERY, "cpu", 50)
    late, _ = events_of(config)
    rows = [[m for m in events if isinstance(m, Measurement)] for events in (each, late)]
    assert str(rows[0]) == str(rows[1])
    assert [m.step for m in rows[1]] == list(range(21))
    evaluated = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in evaluations(events)]
        for events in (each, late)
    ]
    assert str(evaluated[0]) == str(evaluated[1])
    assert copies < 12  # where something is evaluated or a snapshot taken, not at 21 steps
