import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from normlab.analysis import counts, read_results
from normlab.config import Config, compose, run_id
from normlab.errors import RunError
from normlab.runs import CHECKPOINT_FILE, Outcome, read_lock, read_run, run_folder, sweep
from normlab.runs.launchers import local, worker_process, workers
from normlab.runs.launchers.local import LocalLauncher
from normlab.runs.launchers.worker_process import State, Terms
from normlab.runs.launchers.workers import (
    MOST_STARTS,
    Failed,
    Lost,
    Made,
    OverTime,
    Result,
    Workers,
)
from normlab.show import run_report
from tests.conftest import TINY
from tests.runs.support import ENDLESS, assert_same, make, planned, running
from tests.show.terminal.printing import text_of
from tests.tools import ending_worker
from tests.tools.processes import NEVER_SECONDS, wait_for


def test_a_sweep_gives_the_numbers_of_single_runs(tmp_path: Path) -> None:
    several = planned(tmp_path / "sweep", "norm=none,bn", "seed=1,2", "output.weights=true")
    assert all(o.status == "finished" for o in sweep(several))
    for config in several.configs:
        output = config.output.model_copy(update={"root": str(tmp_path / "alone")})
        alone = config.model_copy(update={"output": output})
        make(alone)
        assert_same(run_folder(config), run_folder(alone))


@pytest.mark.slow
def test_one_failure_costs_no_other_run(tmp_path: Path) -> None:
    overrides = ["zip(seed=1,2,3; model.width=8,10000000,8)", "data.size=1"]
    found = {o.run_id: o for o in sweep(planned(tmp_path, *overrides))}
    configs = planned(tmp_path, *overrides).configs
    assert [found[run_id(c)].status for c in configs] == ["finished", "failed", "finished"]
    assert "out of memory" in found[run_id(configs[1])].reason
    run = read_run(run_folder(configs[1]))  # though it failed before its network stood
    assert run.config == configs[1]
    assert run.summary.status == "failed"
    assert "out of memory" in run.summary.reason
    assert "out of memory" in " ".join(text_of(run_report(run, 80)).split())
    frame, problems = read_results([tmp_path])
    assert counts(frame) == {"finished": 2, "failed": 1}
    assert not problems

    assert planned(tmp_path, *overrides).failed == 1
    assert not planned(tmp_path, *overrides).pending
    assert len(planned(tmp_path, *overrides, retry_failed=True).pending) == 1


def test_a_killed_worker_costs_its_own_run_only(tmp_path: Path) -> None:
    several = planned(tmp_path, "zip(seed=1,2,3;training.epochs=1000000,2,2)", "launcher.workers=2")
    with contextlib.closing(sweep(several)) as outcomes:
        found = [next(outcomes), next(outcomes)]
        assert {o.status for o in found} == {"finished"}
        wait_for(lambda: running(several.configs[:1]))
        os.kill(running(several.configs[:1])[0], signal.SIGKILL)
        last = next(outcomes)
        assert (last.run_id, last.status) == (run_id(several.configs[0]), "failed")
        assert "SIGKILL" in last.reason
        assert next(outcomes, None) is None
    run = read_run(run_folder(several.configs[0]))
    assert (run.summary.status, run.summary.reason) == ("failed", last.reason)
    assert run.summary.steps > 0
    assert not list(run.folder.glob("*lock.json*"))
    again = planned(tmp_path, "zip(seed=1,2,3;training.epochs=1000000,2,2)")
    assert (again.failed, again.pending) == (1, ())


@pytest.mark.slow
def test_a_worker_that_is_asked_to_end_leaves_a_checkpoint(tmp_path: Path) -> None:
    """As a cluster asks every process of a job."""
    several = planned(tmp_path, "zip(seed=1,2;training.epochs=1000000,2)", "launcher.workers=2")
    with contextlib.closing(sweep(several)) as outcomes:
        assert next(outcomes).status == "finished"
        wait_for(lambda: running(several.configs[:1]))
        os.kill(running(several.configs[:1])[0], signal.SIGTERM)
        last = next(outcomes)
        assert (last.run_id, last.status) == (run_id(several.configs[0]), "interrupted")
        assert "goes on from step" in last.reason
        assert next(outcomes, None) is None
    folder = run_folder(several.configs[0])
    assert (folder / CHECKPOINT_FILE).exists()
    assert not list(folder.glob("*lock.json*"))
    assert planned(tmp_path, "seed=1", "training.epochs=1000000").pending == several.configs[:1]


@pytest.mark.slow
def test_a_worker_that_is_asked_to_end_before_its_first_step_costs_nothing(
    tmp_path: Path,
) -> None:
    several = planned(tmp_path, "seed=1,2", "model.depth=300", "launcher.workers=1")

    def holders() -> list[int]:
        return [lock["pid"] for c in several.configs if (lock := read_lock(run_folder(c)))]

    def ask_to_end() -> None:
        wait_for(holders)
        os.kill(holders()[0], signal.SIGTERM)

    asker = threading.Thread(target=ask_to_end, daemon=True)
    asker.start()
    with contextlib.closing(sweep(several)) as outcomes:
        first, second = outcomes
    asker.join()
    assert first.status == "interrupted"
    assert second.status in ("finished", "diverged")
    (left,) = planned(tmp_path, "seed=1,2", "model.depth=300").pending
    assert run_id(left) == first.run_id


@pytest.fixture
def strike_as_they_start(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[signal.Signals, int], list[int]]:
    """A function that sends a signal to so many worker processes the moment they are started, and
    gives the list of the numbers of all that are."""
    start = SpawnProcess.start

    def strike(number: signal.Signals, most: int) -> list[int]:
        started: list[int] = []

        def start_and_strike(process: SpawnProcess) -> None:
            start(process)
            assert process.pid is not None
            started.append(process.pid)
            if len(started) <= most:
                os.kill(process.pid, number)

        monkeypatch.setattr(SpawnProcess, "start", start_and_strike)
        return started

    return strike


@pytest.mark.parametrize(
    ("number", "starts"),
    [
        (signal.SIGTERM, 3),  # the two that were struck, and another
        (signal.SIGINT, 1),  # a Ctrl-C is the parent's to hear: without a word, as with a traceback
    ],
)
def test_a_signal_as_workers_start_costs_no_run(
    tmp_path: Path,
    strike_as_they_start: Callable[[signal.Signals, int], list[int]],
    capfd: pytest.CaptureFixture[str],
    number: signal.Signals,
    starts: int,
) -> None:
    started = strike_as_they_start(number, MOST_STARTS - 1)
    outcomes = list(sweep(planned(tmp_path, "seed=1,2", "launcher.workers=1")))
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    assert len(started) == starts
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("number", "cause"),
    [(signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "SIGKILL, out of memory perhaps")],
)
def test_workers_that_never_start_end_the_sweep_with_the_cause(
    tmp_path: Path,
    strike_as_they_start: Callable[[signal.Signals, int], list[int]],
    number: signal.Signals,
    cause: str,
) -> None:
    started = strike_as_they_start(number, 1000)
    died, _, guess = cause.partition(",")
    with pytest.raises(RunError) as error:
        list(sweep(planned(tmp_path, "seed=1,2", "launcher.workers=2")))
    assert str(error.value) == (
        f"no worker of the sweep could start (it died ({died}){',' * bool(guess)}{guess}); "
        "the same command goes on from here"
    )
    assert len(started) == 2 * MOST_STARTS


def test_what_the_system_refuses_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `ulimit -n 16` and many workers."""

    def refuse(_: SpawnProcess) -> None:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr(SpawnProcess, "start", refuse)
    with pytest.raises(RunError, match=r"could start \(Too many open files\);"):
        list(sweep(planned(tmp_path, "launcher.workers=2")))


def run_script(folder: Path, *lines: str) -> "subprocess.CompletedProcess[str]":
    """A script, in a process of its own, that ends with a sweep of two runs without a guard."""
    words = [*TINY, "seed=1,2", "launcher.workers=1"]
    sweep_line = f"print(len(normlab.sweep(*{words})))"
    (folder / "script.py").write_text("\n".join(["import normlab", *lines, sweep_line]))
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    done = run_script(tmp_path, "print('once')")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["once", "2"]


@pytest.mark.slow
def test_a_script_that_brings_parts_is_told_of_the_guard(tmp_path: Path) -> None:
    part = "from normlab.config import ACTIVATIONS\nACTIVATIONS.add('mine', ACTIVATIONS['relu'])"
    done = run_script(tmp_path, part)
    assert done.stderr.count("Traceback") == 1
    assert "must make its sweep under if __name__ == '__main__':" in done.stderr.splitlines()[-1]


def test_a_run_that_its_worker_did_not_begin_is_given_to_another(tmp_path: Path) -> None:
    (config,) = planned(tmp_path).configs
    with Workers(["cpu"], tmp_path / "stop", force=False, timeout=None) as workers:
        (worker,) = workers.workers
        waiting = deque([config])
        workers.hand_out(waiting)
        while not worker.ready:
            assert workers.wait() == []
        assert worker.process is not None
        worker.process.kill()
        worker.process.join()
        workers.hand_out(waiting)
        assert workers.wait() == [Made(config, None)]
        assert not workers.busy


def test_a_worker_that_ends_by_itself_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than one that dies as it starts would be."""
    monkeypatch.setattr(workers, "work", ending_worker.work)
    configs = planned(tmp_path, "seed=range(5)", "launcher.workers=1").configs
    assert len(configs) > MOST_STARTS
    found = list(configs[0].launcher.launch(configs, force=False))
    assert [outcome.run_id for outcome in found] == [run_id(config) for config in configs]
    assert {outcome.status for outcome in found} == {"finished"}
    assert len({outcome.reason for outcome in found}) == len(configs)  # a process each


@pytest.mark.parametrize("broken", [False, True])
def test_a_worker_ends_where_its_run_has_broken_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    link = Link([pickle.dumps(compose(TINY))] * 2)
    made = Outcome("1", "failed", "CUDA error: device-side assert triggered")
    monkeypatch.setattr(worker_process, "OF_THE_TERMINAL", [])
    monkeypatch.setattr(worker_process, "_make_run", lambda *_: made)
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)

    def synchronize() -> None:
        if broken:
            raise RuntimeError(made.reason)

    monkeypatch.setattr("torch.cuda.synchronize", synchronize)
    terms = Terms(tmp_path / "stop", os.getpid(), force=False, plugins=())
    worker_process.work(link, terms)  # type: ignore[arg-type]  # what it needs of one
    one = [State.BEGUN, State.ENDING, made] if broken else [State.BEGUN, made]
    assert link.sent == [State.READY, *one * (1 if broken else 2)]


class Link:
    """A worker's end of its link to a parent that has sent some runs, and is gone then."""

    def __init__(self, runs: list[bytes]):
        self.runs, self.sent = runs, list[object]()

    def send(self, said: object) -> None:
        self.sent.append(said)

    def recv_bytes(self) -> bytes:
        if not self.runs:
            raise EOFError
        return self.runs.pop()


def test_a_run_that_no_worker_can_be_given_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.pickle, "dumps", lambda _: 1 / 0)
    configs = deque(planned(tmp_path).configs)
    with Workers(["cpu"], tmp_path / "stop", force=False, timeout=None) as several:
        several.hand_out(configs)
        several.wait()
        several.hand_out(configs)
        assert several.busy
        monkeypatch.delattr(workers, "connection")  # by which it would wait
        several.wait_for_end(NEVER_SECONDS)
        assert not several.busy


def test_workers_take_no_module_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("signal", "types", "socket", "random", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of mine')\n")
    monkeypatch.chdir(tmp_path)
    (outcome,) = sweep(planned(tmp_path / "results"))
    assert outcome.status == "finished"
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_workers_are_as_many_as_the_cores_that_may_be_used() -> None:
    before = os.sched_getaffinity(0)
    config = compose(["runtime.device=cpu", "runtime.threads=1"])
    assert isinstance(config.launcher, LocalLauncher)
    try:
        for count in range(1, len(before) + 1):
            os.sched_setaffinity(0, sorted(before)[:count])
            assert len(config.launcher.worker_devices(config)) == count
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.slow
def test_closing_a_sweep_interrupts_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "STOP_SECONDS", NEVER_SECONDS)
    several = planned(tmp_path, "zip(seed=1,2;training.epochs=2,1000000)", "launcher.workers=2")
    with contextlib.closing(sweep(several)) as outcomes:
        assert next(outcomes).status == "finished"
        wait_for(lambda: running(several.configs[1:]))
    run = read_run(run_folder(several.configs[1]))
    assert run.summary.status == "interrupted"
    assert len(run.layers) > 0


@pytest.mark.parametrize(
    ("device", "gpus", "overrides", "expected"),
    [
        ("auto", 2, ["launcher.runs_per_device=2"], ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cuda", 2, ["launcher.workers=3"], ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, ["launcher.runs_per_device=3"], ["cuda:1"] * 3),
        ("cpu", 2, ["launcher.workers=2"], ["cpu", "cpu"]),
        ("auto", 0, ["launcher.workers=1"], ["auto"]),
    ],
)
def test_workers_are_pinned_to_devices(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    gpus: int,
    overrides: list[str],
    expected: list[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    config = compose([f"runtime.device='{device}'", *overrides])
    assert isinstance(config.launcher, LocalLauncher)
    assert sorted(config.launcher.worker_devices(config)) == sorted(expected)


def what_is_made_of(config: Config, result: Result) -> Outcome:
    assert isinstance(config.launcher, LocalLauncher)
    return config.launcher.outcome(config, result, force=False)


@pytest.mark.parametrize(
    ("result", "reason", "seconds"),
    [
        (OverTime(8.0), "took longer than launcher.timeout_seconds=8", 8.0),
        (Lost("SIGKILL"), "its worker process died (SIGKILL), out of memory perhaps", 0.0),
        (Lost("SIGSEGV"), "its worker process died (SIGSEGV)", 0.0),
        (Lost("exit code 7"), "its worker process died (exit code 7)", 0.0),
        (Failed("TimeoutError: timed out"), "TimeoutError: timed out", 0.0),
    ],
)
def test_a_run_without_an_outcome_is_recorded_as_failed(
    tmp_path: Path, result: Result, reason: str, seconds: float
) -> None:
    (config,) = planned(tmp_path).configs
    outcome = what_is_made_of(config, result)
    assert outcome == Outcome(run_id(config), "failed", reason, seconds=seconds)
    run = read_run(run_folder(config))
    assert (run.summary.status, run.summary.reason) == ("failed", reason)


def test_a_run_that_ends_at_the_last_moment_is_within_the_limit(tmp_path: Path) -> None:
    (config,) = planned(tmp_path).configs
    make(config)
    assert what_is_made_of(config, OverTime(8.0)).status == "finished"


@pytest.mark.slow
def test_a_time_limit_ends_a_run(tmp_path: Path) -> None:
    limited = planned(tmp_path, ENDLESS, "launcher.timeout_seconds=20")
    (outcome,) = sweep(limited)
    assert outcome.status == "failed"
    run = read_run(run_folder(limited.configs[0]))
    assert (run.summary.status, run.summary.reason) == ("failed", outcome.reason)
    assert run.summary.steps
