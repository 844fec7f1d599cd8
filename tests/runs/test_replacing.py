"""A finished run that is made again: the old one stays whole until the new one is."""

import os
import signal
from pathlib import Path

import pytest
import torch

from normlab.config import Config
from normlab.errors import RecordError, RunError
from normlab.runs import execution, is_final, read_run, read_weights, remove_leftovers, run_folder
from normlab.runs.recorder import Recorder
from normlab.training import Measurement, Started
from tests.runs.support import (
    SUMMARY,
    config_in,
    killed_at,
    layer_rows,
    make,
    metric_row,
    stopped_at,
)

# What changes a folder.
OPERATIONS = ("replace", "unlink", "mkdir", "rmdir", "fsync", "pwrite", "truncate")


def write(config: Config, value: float, *, weights: bool, force: bool = False) -> Path:
    """A finished run whose every figure is one value."""
    recorder = Recorder(config, device="cpu", command=[str(value)], force=force)
    recorder.add_metrics(metric_row(0, value))
    recorder.add_layers(layer_rows(0, value))
    if weights:
        layer = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(layer.weight, value)
        recorder.save_weights(layer)
    recorder.finish(SUMMARY.model_copy(update={"train_acc": value}))
    return recorder.folder


def values(folder: Path) -> set[float]:
    """The figures that a whole run's files hold."""
    run = read_run(folder)
    found = {run.summary.train_acc, float(run.environment["command"][0])}
    found |= {run.metrics["lr"].iloc[0], run.layers["delta_rms"].iloc[0]}
    if (folder / "weights.pt").exists():
        found.add(read_weights(folder)["weight"].item())
    return {value for value in found if value is not None}


@pytest.mark.parametrize(
    ("old", "new", "stride"),
    [
        (True, False, 5),
        pytest.param(True, False, 1, marks=pytest.mark.slow),
        pytest.param(False, True, 1, marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_change_leaves_the_old_run_or_the_new_one(
    tmp_path: Path, old: bool, new: bool, stride: int
) -> None:
    """`old`, `new`: whether that run keeps its weights; `stride`: changes from kill to kill."""
    config = config_in(tmp_path)
    folder = write(config, 1.0, weights=old)
    names = {file.name for file in folder.iterdir()} - {"weights.pt"}
    kills = 0
    while killed_at(
        kills * stride + 1, OPERATIONS, lambda: write(config, 2.0, weights=new, force=True)
    ):
        kills += 1
        if is_final(folder):
            assert values(folder) in ({1.0}, {2.0})
        lock = folder / "lock.json"
        if lock.exists() and not lock.read_bytes():
            lock.unlink()  # killed before it said whose it is, which is waited for a minute
        remove_leftovers(folder)
        assert values(folder) in ({1.0}, {2.0})
        assert (folder / "weights.pt").exists() == (old if values(folder) == {1.0} else new)
        assert {file.name for file in folder.iterdir()} - {"weights.pt"} == names
        if values(folder) == {2.0}:
            write(config, 1.0, weights=old, force=True)
    assert kills * stride > 30
    assert values(folder) == {2.0}


def test_a_run_that_is_killed_while_it_trains_again_is_the_old_one(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    make(config)
    folder = run_folder(config)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def killed() -> None:
        for event in execution.execute(config, force=True):
            if isinstance(event, Measurement):
                os.kill(os.getpid(), signal.SIGKILL)

    assert killed_at(0, (), killed)
    remove_leftovers(folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.usefixtures("at_every_step")
def test_a_replacement_that_was_stopped_goes_on_and_the_old_run_stays(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    make(config)
    folder = run_folder(config)
    started = read_run(folder).summary
    *_, last = make(config, force=True, stop=stopped_at(3))
    assert last.summary.status == "interrupted"
    assert last.summary.reason.startswith(
        "Stopped at step 3. The same command goes on from step 3. "
        "Until its end, the finished run of before stays."
    )
    assert read_run(folder).summary == started
    events = make(config, force=True)
    assert [e.resumed for e in events if isinstance(e, Started)] == [3]
    assert read_run(folder).summary.seconds != started.seconds
    assert not (folder / ".new").exists()


def test_a_replacement_that_fails_leaves_the_old_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path)
    make(config)
    before = read_run(run_folder(config)).summary

    def failing(*_: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(Recorder, "add_layers", failing)
    with pytest.raises(RunError, match="a fault"):
        make(config, force=True)
    assert read_run(run_folder(config)).summary == before
    assert not (run_folder(config) / ".new").exists()


# ------------------------------------------------------------------- links that lead elsewhere


def test_a_run_folder_that_leads_out_of_the_results_is_not_written(tmp_path: Path) -> None:
    config = config_in(tmp_path / "results")
    outside = tmp_path / "outside"
    outside.mkdir()
    run_folder(config).parent.mkdir(parents=True)
    run_folder(config).symlink_to(outside)
    with pytest.raises(RecordError, match="a link that leads out of"):
        make(config)
    assert list(outside.iterdir()) == []
    run_folder(config).unlink()
    (run_folder(config).parent / "inside").mkdir()
    run_folder(config).symlink_to("inside")
    make(config)
    assert read_run(run_folder(config)).summary.status == "finished"


@pytest.mark.parametrize(
    "name", ["config.yaml", "metrics.arrows", "layers.arrows", "layers.parquet", ".new"]
)
def test_files_of_a_run_that_are_links_are_replaced_not_written_through(
    tmp_path: Path, name: str
) -> None:
    config = config_in(tmp_path / "results")
    outside = tmp_path / "outside"
    if name == ".new":
        make(config)
        outside.mkdir()
    else:
        run_folder(config).mkdir(parents=True)
        outside.write_text("mine")
    (run_folder(config) / name).symlink_to(outside)
    make(config, force=True)
    assert read_run(run_folder(config)).summary.status == "finished"
    assert (outside.is_dir() and not list(outside.iterdir())) or outside.read_text() == "mine"
