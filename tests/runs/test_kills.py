"""Processes that are killed at any moment, and many that want the same runs at once."""

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from normlab.config import Config, run_id
from normlab.runs import execution, locks, remove_leftovers, run_folder
from normlab.runs.locks import RunLock
from normlab.training import Ended, Event, train
from tests.runs.support import assert_same, config_in, killed_at, make, write_run
from tests.tools.kill import Harness


def test_a_kill_at_a_random_moment_loses_nothing(tmp_path: Path) -> None:
    harness = Harness(tmp_path, seed=0, runs=1)
    while not harness.kills:
        harness.kill_runs(1)
    assert harness.finish() == []


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """The short form of `python -m tests.tools.kill`."""
    harness = Harness(tmp_path, seed=0)
    while harness.kills < 6 or not any(step > 0 for step in harness.resumed):
        harness.kill_runs(1)
    harness.kill_sweeps(1)
    assert harness.finish() == []


FILE_CALLS = ("open", "pwrite", "truncate", "close", "unlink", "replace")
LOCKS = {
    "no": None,
    "a dead process's": {"token": "dead", "machine": locks.machine(), "pid": 2**22 + 1},
    "an unreadable": {},
}


@pytest.mark.parametrize("kind", sorted(LOCKS))
def test_what_a_kill_leaves_as_a_lock_is_taken_goes_within_a_minute(
    tmp_path: Path, kind: str
) -> None:
    """At every step of taking one over, and of its release, beside a run that is finished: what
    decides among several takers stays while it is young, and then nothing does."""
    folder = write_run(config_in(tmp_path))
    whole, lock = set(folder.iterdir()), folder / locks.LOCK_FILE

    def age_all() -> None:
        then = time.time() - locks.EXPIRES_SECONDS - 5
        for left in set(folder.iterdir()) - whole:
            os.utime(left, (then, then))

    for call in itertools.count(1):
        if LOCKS[kind] is not None:
            lock.write_text(json.dumps(LOCKS[kind]) if LOCKS[kind] else "{half")
            age_all()
        if not killed_at(call, FILE_CALLS, lambda: RunLock(folder).release()):
            break
        age_all()
        remove_leftovers(folder)
        assert set(folder.iterdir()) == whole, call
    assert call > 4
    assert set(folder.iterdir()) == whole


@contextlib.contextmanager
def forked(count: int, work: Callable[[int], None]) -> Iterator[None]:
    """Do work in so many processes, each with its number, and wait for them; none outlives it."""
    children: list[int] = []
    try:
        for number in range(count):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    signal.alarm(600)  # a child that waits for ever must not make the suite wait
                    work(number)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        yield
        while children:
            assert os.waitpid(children[0], 0)[1] == 0
            del children[0]
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("processes", "runs"), [(6, 3), pytest.param(64, 8, marks=pytest.mark.slow)]
)
def test_of_many_processes_at_once_each_run_is_made_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, runs: int
) -> None:
    """All want all runs of one folder, each in an order of its own."""
    configs = [config_in(tmp_path / "many", f"seed={seed}") for seed in range(runs)]
    made = tmp_path / "made"

    def noting(config: Config, **options: Any) -> Iterator[Event]:
        for event in train(config, **options):
            if isinstance(event, Ended):
                with made.open("a") as file:
                    file.write(f"{run_id(config)}\n")
            yield event

    monkeypatch.setattr(execution, "train", noting)
    gate = multiprocessing.get_context("fork").Barrier(processes)

    def work(number: int) -> None:
        order = random.Random(number).sample(configs, len(configs))
        gate.wait()
        while order:
            outcomes = [
                execution.execute_in_worker(config, force=False, stop=lambda: False)
                for config in order
            ]
            assert {outcome.status for outcome in outcomes} <= {"finished", "busy"}
            order = [c for c, o in zip(order, outcomes, strict=True) if o.status == "busy"]
            time.sleep(0.05 * bool(order))

    with forked(processes, work):
        pass
    assert sorted(made.read_text().split()) == sorted(run_id(config) for config in configs)
    monkeypatch.undo()
    for config in configs:
        alone = config_in(tmp_path / "alone", f"seed={config.seed}")
        make(alone)
        assert_same(run_folder(alone), run_folder(config))
        assert {p.name for p in run_folder(alone).iterdir()} == {
            p.name for p in run_folder(config).iterdir()
        }
