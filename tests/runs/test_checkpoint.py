"""What an unfinished run goes on from; that its numbers stay the same is in test_resume.py."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from normlab.config import Config, compose, from_yaml
from normlab.errors import RunError
from normlab.runs import (
    CHECKPOINT_FILE,
    Note,
    execute,
    locks,
    read_lock,
    read_run,
    run_folder,
)
from normlab.runs.checkpoint import checkpoint_maker, read_checkpoint, unlike
from normlab.runs.environment import environment
from normlab.runs.recorder import Recorder
from normlab.training import Checkpoint, Started
from tests.runs import support
from tests.runs.support import assert_same, make, stopped_at
from tests.tools.processes import wait_for

OLD_INTERRUPTED = Path(__file__).parents[1] / "golden" / "old" / "a03784ee9a"


def config_in(root: Path, *overrides: str) -> Config:
    return support.config_in(root, "output.weights=true", *overrides)


def resumed(events: list[Any]) -> list[int]:
    """The step that a run goes on from."""
    return [event.resumed for event in events if isinstance(event, Started)]


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


@pytest.mark.usefixtures("at_every_step")
def test_others_see_where_a_run_stands_and_from_where_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    config = config_in(tmp_path)
    make(config, stop=stopped_at(3))
    with contextlib.closing(execute(config)) as events:
        assert resumed([next(events)]) == [3]
        stage = {"step": 3, "steps": 8, "resumed": 3}
        wait_for(lambda: (read_lock(run_folder(config)) or {}).get("progress") == stage)


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
        case "of another commit":
            torch.save({**good, "maker": {**good["maker"], "commit": '"0123abc"'}}, file)
        case "of other threads":
            torch.save({**good, "maker": {**good["maker"], "threads": 7}}, file)
        case "of other data":
            torch.save({**good, "maker": {**good["maker"], "data_sha256": "0" * 16}}, file)
        case "of no maker":
            torch.save({**good, "maker": None}, file)
        case "a list":
            torch.save([1, 2], file)
        case "of no step":
            torch.save({**good, "state": {**good["state"], "step": "3"}}, file)
        case "of another net":
            torch.save({**good, "state": {**good["state"], "model": {"x": 1}}}, file)
        case "without rows":
            (file.parent / "layers.arrows").write_bytes(b"")
        case "with other rows":
            table = file.parent / "metrics.arrows"
            table.write_bytes(table.read_bytes().replace(b"a", b"b"))
        case "without tables":
            torch.save({**good, "tables": {"metrics": [1, "2"]}}, file)
        case "a pipe":
            file.unlink()
            os.mkfifo(file)
        case "hostile":
            torch.save({**good, "state": Hostile()}, file)


@pytest.mark.usefixtures("at_every_step")
@pytest.mark.parametrize(
    "name",
    ["truncated", "empty", "flipped", "text", "of another run", "of another version",
     "of another commit", "of other threads", "of other data", "of no maker", "a list",
     "of no step", "of another net", "without rows", "with other rows", "without tables",
     "a pipe", "hostile"],
)  # fmt: skip
def test_an_unusable_checkpoint_is_told_and_the_run_starts_over(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    whole, config = config_in(tmp_path / "whole"), config_in(tmp_path / "cut")
    make(whole)
    make(config, stop=stopped_at(5))
    damage(name, run_folder(config) / CHECKPOINT_FILE)
    note, *events = make(config)
    assert isinstance(note, Note)
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
    folder = run_folder(cpu)
    assert read_checkpoint(folder, config, "cpu")[0].step == 5
    assert [checkpoint_maker(cpu, kind)["device"] for kind in ("cpu", "cuda:1")] == ["cpu", "cuda"]
    found, note = read_checkpoint(folder, config, "cuda:1")
    assert found is None
    assert note.endswith("made with another device, processor; the run starts over")


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


def test_an_old_checkpoint_is_told_and_the_run_starts_over(tmp_path: Path) -> None:
    """It held the rows of both tables itself, which a checkpoint of today does not."""
    config = from_yaml((OLD_INTERRUPTED / "config.yaml").read_text())
    output = config.output.model_copy(update={"root": str(tmp_path)})
    config = config.model_copy(update={"output": output})
    folder = run_folder(config)
    shutil.copytree(OLD_INTERRUPTED, folder)
    content = torch.load(folder / CHECKPOINT_FILE, weights_only=True)
    content["maker"] = checkpoint_maker(config, "cpu")
    torch.save(content, folder / CHECKPOINT_FILE)
    found, note = read_checkpoint(folder, config, "cpu")
    assert found is None
    assert note.endswith("checkpoint.pt: not of this version; the run starts over")


def test_a_checkpoint_is_of_one_order_of_memory() -> None:
    usual, other = (
        compose(["model=cnn", "norm=bn", f"runtime.channels_last={asked}"])
        for asked in ("false", "true")
    )
    made, here = checkpoint_maker(usual, "cpu"), checkpoint_maker(other, "cpu")
    assert unlike(made, here) == unlike(here, made) == ["channels_last"]
    del made["channels_last"]  # as before there was another
    assert unlike(made, checkpoint_maker(usual, "cpu")) == []
    assert unlike(made, here) == ["channels_last"]
    for config in (usual, other):
        assert environment(config, "cpu", [])["channels_last"] is config.runtime.channels_last
