"""A run that was stopped, or killed, ends as one that never was."""

import contextlib
import io
import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from pandas.testing import assert_frame_equal

from normlab.config import compose, grids, run_id
from normlab.errors import RunError
from normlab.runs import (
    CHECKPOINT_FILE,
    LOCK_FILE,
    plan,
    read_run,
    read_weights,
    remove_leftovers,
    run_folder,
    signals,
    sweep,
)
from normlab.runs import execution as runs
from normlab.runs.checkpoint import read_checkpoint
from normlab.runs.locks import RunLock, machine
from normlab.runs.recorder import Recorder
from normlab.training import Checkpoint, Ended, Evaluation, Measurement, Started, train
from normlab.training import session as sessions
from tests.conftest import TINY
from tests.tools.kill import Harness

CNN = (*TINY, "data.size=8", "model=cnn", "model.depth=8", "model.width=4")
CONFIGS = {
    "mlp": TINY,
    "adam": (*TINY, "optimizer=adam"),
    "adamw, spared": (*TINY, "optimizer=adamw", "optimizer.decay=weights"),
    "weight norm": (*TINY, "norm=wn", "optimizer.momentum=0"),
    "noise": (*TINY, "norm.noise=0.5"),
    "clipped": (*TINY, "training.clip_norm=0.1"),
    "cnn": (*CNN, "model.residual=true", "model.shortcut=B"),
    "augmented": (
        *(*CNN, "data=digits", "data.crop_padding=1", "data.flip=true"),
        *("training.batch_size=512", "training.epochs=3"),
    ),
}
CONFIGS["augmented"] = tuple(
    o for o in CONFIGS["augmented"] if not o.startswith(("data.size", "data.train", "data.test"))
    and o != "data=gaussian"
)  # fmt: skip


def rows_of(events):
    """Every row that is recorded, without the time that it took."""
    found = []
    for event in events:
        if isinstance(event, Evaluation):
            found.append({**event.as_row(), "seconds": 0})
        if isinstance(event, Measurement):
            found += event.rows()
    return found


def through_a_file(state):
    """A state as it comes back from checkpoint.pt."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_training_goes_on_bit_for_bit(name):
    config = compose(CONFIGS[name])
    *whole, ended = train(config, progress_seconds=-1)
    steps = next(e.steps for e in whole if isinstance(e, Started))
    for stop_after in range(1, steps + 1):
        asked = itertools.count(1)
        *before, checkpoint = train(
            config, stop=lambda: next(asked) == stop_after, progress_seconds=-1  # noqa: B023
        )  # fmt: skip
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.state["step"] == stop_after
        *after, ended_later = train(config, resume=through_a_file(checkpoint.state))
        assert isinstance(ended_later, Ended)
        assert next(e.resumed for e in after if isinstance(e, Started)) == stop_after
        assert str(rows_of(before) + rows_of(after)) == str(rows_of(whole))
        one, two = ended.model.state_dict(), ended_later.model.state_dict()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_losses_that_are_read_now_and_then_go_on_bit_for_bit(monkeypatch):
    """As on a GPU, where a stop comes only with a reading."""
    config = compose([*TINY, "training.epochs=5", "probes.snapshots=2", "probes.grad_norm_steps=3"])
    (*whole, _) = train(config, progress_seconds=-1)
    monkeypatch.setitem(sessions.READ_EVERY, "cpu", 3)
    stops = []
    for ask in itertools.count(1):
        asked = itertools.count(1)
        *before, last = train(config, stop=lambda: next(asked) == ask, progress_seconds=-1)  # noqa: B023
        if isinstance(last, Ended):
            break
        stops.append(last.state["step"])
        *after, _ = train(config, resume=through_a_file(last.state))
        assert str(rows_of(before) + rows_of(after)) == str(rows_of(whole))
    assert len(stops) < next(e.steps for e in whole if isinstance(e, Started)) - 1


def test_a_divergence_is_the_same_after_a_stop():
    overrides = [*TINY, "norm=none", "training.epochs=5", "optimizer.lr=1e5", "seed=3"]
    config = compose([*overrides, "model.activation=identity"])
    *whole, ended = train(config, progress_seconds=-1)
    assert (ended.status, ended.step > 1) == ("diverged", True)
    asked = itertools.count(1)
    *before, checkpoint = train(config, stop=lambda: next(asked) == 1, progress_seconds=-1)
    *after, again = train(config, resume=through_a_file(checkpoint.state))
    assert (again.status, again.step) == (ended.status, ended.step)
    assert str(rows_of(before) + rows_of(after)) == str(rows_of(whole))


# ----------------------------------------------------------------------------- its folder


def config_in(root: Path, *overrides: str):
    return compose([*TINY, f"output.root='{root}'", "output.weights=true", *overrides])


def make(config, **options):
    return list(runs.execute(config, **options))


@pytest.fixture
def at_every_step(monkeypatch):
    """Training tells of every step, and so can be stopped at each."""

    def told(config, **options):
        return train(config, progress_seconds=-1, **options)

    monkeypatch.setattr(runs, "train", told)


def stopped_at(step):
    asked = itertools.count(1)
    return lambda: next(asked) == step


def assert_same(one: Path, two: Path):
    first, second = read_run(one), read_run(two)
    assert_frame_equal(
        first.metrics.drop(columns="seconds"), second.metrics.drop(columns="seconds")
    )
    assert_frame_equal(first.layers, second.layers)
    others = {"seconds", "config"}
    assert first.summary.model_dump(exclude=others) == second.summary.model_dump(exclude=others)
    weights, others = read_weights(one), read_weights(two)
    assert all(torch.equal(weights[key], others[key]) for key in weights)


@pytest.mark.usefixtures("at_every_step")
def test_a_stopped_run_goes_on_from_its_checkpoint(tmp_path):
    whole, config = config_in(tmp_path / "whole"), config_in(tmp_path / "cut")
    make(whole)
    *_, last = make(config, stop=stopped_at(3))
    assert last.summary.status == "interrupted"
    assert last.summary.reason.startswith("Stopped at step 3. The same command, without")
    folder = run_folder(config)
    assert (folder / CHECKPOINT_FILE).exists()
    events = make(config)
    assert [e.resumed for e in events if isinstance(e, Started)] == [3]
    assert_same(run_folder(whole), folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.yaml", "environment.json", "layers.parquet", "metrics.parquet", "summary.json",
        "weights.pt",
    ]  # fmt: skip
    seconds = read_run(folder).metrics["seconds"].tolist()
    assert seconds == sorted(seconds)


def struck(config, place, *numbers):
    """The events of a run that gets signals at the event of that place."""
    seen = []
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        signals.stop_on_signals() as stop,
        contextlib.closing(runs.execute(config, stop=stop)) as events,
    ):
        for event in events:
            seen.append(event)
            if len(seen) == place:
                for number in numbers:
                    os.kill(os.getpid(), number)
    return seen


@pytest.fixture
def striking():
    """Every request to end interrupts, as the command line makes it; restored afterwards."""

    def strike(*_):
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, strike) for number in numbers}
    yield strike
    for number, handler in before.items():
        assert signal.getsignal(number) is strike
        signal.signal(number, handler)


# The events of a run that tells of every step: Started, Evaluation, Measurement, two a step …
IN_TRAINING = 6


@pytest.mark.usefixtures("at_every_step", "striking")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_waits_for_the_end_of_a_step(tmp_path, number, times):
    """One that comes twice, as from a terminal and a cluster, is one."""
    whole, config = config_in(tmp_path / "whole"), config_in(tmp_path / "cut")
    make(whole)
    seen = struck(config, IN_TRAINING, *[number] * times)
    kept = [event.state["step"] for event in seen if isinstance(event, Checkpoint)]
    assert len(kept) == 1
    assert (run_folder(config) / CHECKPOINT_FILE).exists()
    resumed = [e.resumed for e in make(config) if isinstance(e, Started)]
    assert resumed == kept
    assert_same(run_folder(whole), run_folder(config))


@pytest.mark.usefixtures("at_every_step", "striking")
def test_a_signal_before_training_strikes_at_once(tmp_path):
    config = config_in(tmp_path)
    assert len(struck(config, 1, signal.SIGINT)) == 1
    assert read_run(run_folder(config)).summary.reason == "Stopped at step 0."


@pytest.mark.usefixtures("at_every_step", "striking")
def test_a_second_signal_does_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "PATIENCE_SECONDS", -1)
    config = config_in(tmp_path)
    seen = struck(config, IN_TRAINING, signal.SIGINT, signal.SIGINT)
    assert len(seen) == IN_TRAINING
    assert not (run_folder(config) / CHECKPOINT_FILE).exists()


@pytest.mark.usefixtures("at_every_step")
def test_0_seconds_keep_no_checkpoint(tmp_path):
    config = config_in(tmp_path, "runtime.checkpoint_seconds=0")
    *_, last = make(config, stop=stopped_at(3))
    assert last.summary.reason.startswith("Stopped at step 3. ")
    assert "goes on" not in last.summary.reason
    assert not (run_folder(config) / CHECKPOINT_FILE).exists()


@pytest.mark.usefixtures("at_every_step")
def test_force_starts_over(tmp_path):
    config = config_in(tmp_path)
    make(config, stop=stopped_at(3))
    events = make(config, force=True)
    assert [e.resumed for e in events if isinstance(e, Started)] == [0]


@pytest.mark.usefixtures("at_every_step")
def test_checkpoints_come_by_the_clock(tmp_path):
    config = config_in(tmp_path, "runtime.checkpoint_seconds=1e-9")
    kept = [e.state["step"] for e in make(config) if isinstance(e, Checkpoint)]
    assert kept == list(range(1, 9))
    assert not (run_folder(config) / CHECKPOINT_FILE).exists()


class Hostile:
    def __reduce__(self):
        return (os.mkdir, (str(Path.cwd() / "executed"),))


def damage(name, file):
    content = file.read_bytes()
    good = torch.load(file, weights_only=True)
    match name:
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "empty":
            file.write_bytes(b"")
        case "flipped":
            middle = len(content) // 2
            file.write_bytes(content[:middle] + b"\xff" * 64 + content[middle + 64 :])
        case "text":
            file.write_text("no checkpoint")
        case "of another run":
            torch.save({**good, "maker": {**good["maker"], "run": "0123456789"}}, file)
        case "of another version":
            torch.save({**good, "maker": {**good["maker"], "version": "{}"}}, file)
        case "of other threads":
            torch.save({**good, "maker": {**good["maker"], "threads": 7}}, file)
        case "of no maker":
            torch.save({**good, "maker": None}, file)
        case "a list":
            torch.save([1, 2], file)
        case "hostile":
            torch.save({**good, "state": Hostile()}, file)


@pytest.mark.usefixtures("at_every_step")
@pytest.mark.parametrize(
    "name",
    ["truncated", "empty", "flipped", "text", "of another run", "of another version",
     "of other threads", "of no maker", "a list", "hostile"],
)  # fmt: skip
def test_an_unusable_checkpoint_is_told_and_the_run_starts_over(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    whole, config = config_in(tmp_path / "whole"), config_in(tmp_path / "cut")
    make(whole)
    make(config, stop=stopped_at(5))
    damage(name, run_folder(config) / CHECKPOINT_FILE)
    note, *events = make(config)
    assert isinstance(note, runs.Note)
    assert note.text.endswith("the run starts over")
    assert "\n" not in note.text
    assert [e.resumed for e in events if isinstance(e, Started)] == [0]
    assert_same(run_folder(whole), run_folder(config))
    assert not (tmp_path / "executed").exists()


@pytest.mark.usefixtures("at_every_step")
def test_a_checkpoint_is_of_a_kind_of_device(tmp_path):
    """A sweep gives a run any of a machine's GPUs, and `auto` is one of the kinds."""
    config = config_in(tmp_path, "runtime.device=auto")
    cpu = config.model_copy(update={"runtime": config.runtime.model_copy(update={"device": "cpu"})})
    make(cpu, stop=stopped_at(5))
    assert read_checkpoint(config, "cpu")[0].step == 5
    found, note = read_checkpoint(config, "cuda:1")
    assert found is None
    assert note.endswith("made with another device; the run starts over")


@pytest.mark.usefixtures("at_every_step")
def test_a_failed_run_goes_on_too(tmp_path, monkeypatch):
    config = config_in(tmp_path, "runtime.checkpoint_seconds=1e-9")
    save = Recorder.add_layers

    def failing(self, rows):
        if rows[0]["step"] == 5:
            raise ValueError("a fault")
        save(self, rows)

    monkeypatch.setattr(Recorder, "add_layers", failing)
    with pytest.raises(RunError, match="a fault"):
        make(config)
    monkeypatch.undo()
    assert [e.resumed for e in make(config) if isinstance(e, Started)] == [5]


def test_what_a_killed_process_left_half_written_goes_with_the_next_start(tmp_path):
    config = config_in(tmp_path)
    folder = run_folder(config)
    folder.mkdir(parents=True)
    for name in (".metrics.parquet.99999.tmp", ".checkpoint.pt.99999.tmp"):
        (folder / name).write_text("half")
    make(config)
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*"))


def test_what_a_process_left_that_was_killed_after_its_summary_goes_with_the_next(tmp_path):
    config = config_in(tmp_path)
    make(config)
    folder = run_folder(config)
    whole = sorted(p.name for p in folder.iterdir())

    def killed_late():
        (folder / CHECKPOINT_FILE).touch()
        content = {"token": "dead", "machine": machine(), "pid": 2**22 + 1, "progress": {}}
        (folder / LOCK_FILE).write_text(json.dumps(content))

    killed_late()
    remove_leftovers(folder)
    assert sorted(p.name for p in folder.iterdir()) == whole
    killed_late()
    planned = plan(grids([*TINY, f"output.root='{tmp_path}'", "output.weights=true"]))
    assert planned.pending == ()
    assert list(sweep(planned)) == []
    assert sorted(p.name for p in folder.iterdir()) == whole
    # An unfinished run's checkpoint is what it goes on from; a live process sees to its own.
    killed_late()
    (folder / LOCK_FILE).unlink()
    lock = RunLock(folder)
    remove_leftovers(folder)
    assert (folder / CHECKPOINT_FILE).exists()
    lock.release()
    (folder / "summary.json").unlink()
    remove_leftovers(folder)
    assert (folder / CHECKPOINT_FILE).exists()


def test_a_folder_that_may_not_be_looked_into_stays_as_it_is(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    remove_leftovers(tmp_path)


@pytest.mark.usefixtures("striking")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_summary_is_written_waits_and_is_not_lost(tmp_path, monkeypatch, number):
    config, finish = config_in(tmp_path), Recorder.finish

    def struck_within(self, summary, **options):
        os.kill(os.getpid(), number)
        finish(self, summary, **options)

    monkeypatch.setattr(Recorder, "finish", struck_within)
    with pytest.raises(KeyboardInterrupt):
        make(config)
    assert read_run(run_folder(config)).summary.status == "finished"
    assert not (run_folder(config) / LOCK_FILE).exists()


# ----------------------------------------------------------------------------- real kills


def test_kills_at_random_moments_lose_nothing(tmp_path):
    """The short form of `python -m tests.tools.kill`."""
    harness = Harness(tmp_path, seed=0)
    harness.kill_runs(8)
    harness.kill_sweeps(1)
    assert harness.kills > 4  # the others had ended before
    assert any(step > 0 for step in harness.resumed)
    assert harness.finish() == []


PROCESSES = 64


def test_of_many_processes_at_once_each_run_is_made_by_one(tmp_path, monkeypatch):
    """All want all runs of one folder, each in an order of its own."""
    configs = [config_in(tmp_path / "many", f"seed={seed}") for seed in range(8)]
    told = tmp_path / "told"

    def telling(config, **options):
        for event in train(config, **options):
            if isinstance(event, Ended):
                with told.open("a") as file:
                    file.write(f"made {run_id(config)}\n")
            yield event

    monkeypatch.setattr(runs, "train", telling)
    gate = multiprocessing.get_context("fork").Barrier(PROCESSES)
    children = []
    for process in range(PROCESSES):
        child = os.fork()
        children.append(child)
        if child == 0:
            signal.alarm(240)  # a child that waits for ever must not make the suite wait
            try:
                order = random.Random(process).sample(configs, len(configs))
                gate.wait(120)
                while order:
                    outcomes = [
                        runs.execute_in_worker(config, force=False, stop=lambda: False)
                        for config in order
                    ]
                    assert {outcome.status for outcome in outcomes} <= {"finished", "busy"}
                    order = [c for c, o in zip(order, outcomes, strict=True) if o.status == "busy"]
                    time.sleep(0.05 * bool(order))
                with told.open("a") as file:
                    file.write(f"all {process}\n")
            finally:
                os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    lines = told.read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("made")) == sorted(
        f"made {run_id(config)}" for config in configs
    )
    assert sum(line.startswith("all") for line in lines) == PROCESSES
    monkeypatch.undo()
    for config in configs:
        alone = config_in(tmp_path / "alone", f"seed={config.seed}")
        make(alone)
        assert_same(run_folder(alone), run_folder(config))
        assert {p.name for p in run_folder(alone).iterdir()} == {
            p.name for p in run_folder(config).iterdir()
        }
