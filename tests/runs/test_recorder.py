import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from normlab.errors import BusyError, RecordError
from normlab.runs import is_final, read_run, read_summary, run_folder, with_origin
from normlab.runs.checkpoint import read_checkpoint
from normlab.runs.folder import lacks_kept
from normlab.runs.locks import LOCK_FILE, RunLock, machine
from normlab.runs.recorder import Recorder, record_failure
from normlab.runs.tables import read_rows
from tests.runs.support import SUMMARY, config_in, layer_rows, make, metric_row, write_run

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(values=st.lists(FINITE | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=8))
def test_what_is_written_is_read(tmp_path: Path, values: list[float]) -> None:
    config = config_in(tmp_path)
    recorder = Recorder(config, device="cpu", command=["normlab", "run", "norm=bn"], force=True)
    for step, value in enumerate(values):
        recorder.add_metrics(metric_row(step, value))
        recorder.add_layers(layer_rows(step, value))
    summary = SUMMARY.model_copy(update={"train_acc": values[0], "reason": "é×δ"})
    told = recorder.finished_run(summary)
    recorder.finish(summary)

    run = read_run(recorder.folder)
    assert run.folder == told.folder == run_folder(config)
    assert run.config == told.config == config
    assert run.environment == told.environment
    assert_frame_equal(run.metrics, told.metrics)
    assert_frame_equal(run.layers, told.layers)
    kept = values[0] if math.isfinite(values[0]) else None
    assert run.summary == with_origin(
        summary.model_copy(update={"train_acc": kept}), recorder.environment
    )
    assert run.environment["command"] == ["normlab", "run", "norm=bn"]
    assert list(run.layers.columns[4:]) == list(config.probes.measure)


def test_a_run_is_unfinished_until_its_summary_is_there(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    recorder = Recorder(config, device="cpu", command=[])
    recorder.add_metrics(metric_row(0))
    recorder.flush()
    assert not is_final(recorder.folder)
    with pytest.raises(RecordError, match="unfinished"):
        read_run(recorder.folder)
    recorder.finish(SUMMARY)
    assert is_final(recorder.folder)


def test_a_new_start_takes_an_old_summary_without_a_result_away_first(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    write_run(config, "interrupted")
    recorder = Recorder(config, device="cpu", command=[])
    assert read_summary(run_folder(config)) is None
    assert not list(run_folder(config).glob("*.parquet"))
    recorder.lock.release()


def test_a_start_keeps_the_checkpoint_that_it_goes_on_from_and_no_other(tmp_path: Path) -> None:
    """Killed again before it has made one of its own, it would else start over."""
    config = config_in(tmp_path)
    first = Recorder(config, device="cpu", command=[])
    first.add_metrics(metric_row(0))
    state = {"step": 3, "seconds": 1.5, "batch_loss": 0.25, "clip_factor": 1.0}
    first.save_checkpoint(state)
    first.add_metrics(metric_row(4))
    first.flush()
    first.lock.release()
    saved, note = read_checkpoint(first.folder, config, "cpu")
    assert saved is not None, note
    assert saved.state == state
    again = Recorder(config, device="cpu", command=[], checkpoint=saved)
    assert (again.folder / "checkpoint.pt").exists()
    assert again.frames()[0]["step"].tolist() == [0]
    again.lock.release()
    other = Recorder(config, device="cpu", command=[])
    assert not (other.folder / "checkpoint.pt").exists()
    other.lock.release()


def test_a_finished_run_is_made_again_only_with_force(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    write_run(config)
    with pytest.raises(BusyError, match="finished already"):
        Recorder(config, device="cpu", command=[])
    assert is_final(run_folder(config))
    Recorder(config, device="cpu", command=[], force=True)
    assert is_final(run_folder(config))  # until the new one is whole


def test_a_failed_write_leaves_the_old_run_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path)
    folder = write_run(config)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    recorder = Recorder(config, device="cpu", command=[], force=True)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    recorder.add_metrics(metric_row(1))
    with pytest.raises(RecordError, match=r"No space left on device.*output.root"):
        recorder.finish(SUMMARY)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RecordError, match=r"cannot be written \(Not a directory\).*output.root"):
        Recorder(config_in(tmp_path / "file"), device="cpu", command=[])


def test_an_older_file_that_cannot_be_removed_is_one_line_with_its_name(tmp_path: Path) -> None:
    weights = run_folder(config_in(tmp_path)) / "weights.pt"
    weights.mkdir(parents=True)
    said = f"^{re.escape(str(weights))}: cannot be written \\([A-Z][a-z ]+\\); choose another"
    with pytest.raises(RecordError, match=said):
        Recorder(config_in(tmp_path), device="cpu", command=[])
    assert list(weights.parent.iterdir()) == [weights]


def test_a_path_too_long_for_the_system_is_one_line(tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["a" * 100] * 60)
    with pytest.raises(RecordError, match=r"cannot be written \(File name too long\)"):
        Recorder(config_in(root), device="cpu", command=[])


def test_a_link_in_a_circle_is_one_line(tmp_path: Path) -> None:
    folder = run_folder(config_in(tmp_path))
    folder.parent.mkdir()
    folder.symlink_to(folder)
    with pytest.raises(RecordError, match="a link that leads nowhere; remove it"):
        Recorder(config_in(tmp_path), device="cpu", command=[])


def test_what_a_killed_process_left_half_written_goes_with_the_next_start(tmp_path):
    config = config_in(tmp_path)
    folder = run_folder(config)
    folder.mkdir(parents=True)
    for name in (".metrics.parquet.99999.tmp", ".checkpoint.pt.99999.tmp"):
        (folder / name).write_text("half")
    make(config)
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*"))


# ----------------------------------------------------------- of a run whose process is dead


def test_a_failure_is_not_recorded_over_a_result_or_a_live_run(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    run_folder(config).mkdir(parents=True)
    lock = RunLock(run_folder(config))
    record_failure(config, "lost", 1.0)
    lock.release()
    assert read_summary(run_folder(config)) is None
    make(config)
    record_failure(config, "lost", 1.0)
    assert read_run(run_folder(config)).summary.status == "finished"


def test_a_recorded_failure_keeps_what_was_measured(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    make(config)
    before = read_run(run_folder(config))
    (before.folder / "summary.json").unlink()
    record_failure(config, "lost", 1.0)
    after = read_run(run_folder(config))
    assert (after.summary.status, after.summary.reason) == ("failed", "lost")
    assert_frame_equal(after.layers, before.layers)
    assert_frame_equal(after.metrics, before.metrics)


@pytest.mark.parametrize("fault", ["no regular file", "not to be removed"])
def test_a_failure_that_cannot_be_recorded_is_no_other_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """It is told by the run's outcome alone."""
    stream, unlink = run_folder(config_in(tmp_path)) / "metrics.arrows", Path.unlink

    def refuse(file: Path, missing_ok: bool = False) -> None:
        if file == stream:
            raise PermissionError
        unlink(file, missing_ok)

    if fault == "no regular file":
        stream.mkdir(parents=True)
    else:
        monkeypatch.setattr(Path, "unlink", refuse)
    record_failure(config_in(tmp_path), "lost", 1.0)
    assert not (stream.parent / "summary.json").exists()
    assert not (stream.parent / LOCK_FILE).exists()


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_recorded_failure_has_the_rows_and_the_step_of_the_process_that_died(
    tmp_path: Path, checkpoint: bool
) -> None:
    config = config_in(tmp_path)
    dead = Recorder(config, device="cpu", command=[])
    dead.add_metrics(metric_row(0))
    dead.add_layers(layer_rows(0, 0.5))
    dead.flush()
    metrics, layers = dead.frames()
    dead.lock.release()
    holder = {"token": "dead", "machine": machine(), "pid": 2**22 + 1, "progress": {"step": 7}}
    (dead.folder / LOCK_FILE).write_text(json.dumps(holder))
    if checkpoint:
        (dead.folder / "checkpoint.pt").touch()
    record_failure(config, "lost", 1.5)
    after = read_run(dead.folder)
    assert (after.summary.steps, after.summary.seconds) == (7, 1.5)
    assert json.loads((dead.folder / "summary.json").read_text())["torch"] == torch.__version__
    assert_frame_equal(after.metrics, metrics)
    assert_frame_equal(after.layers, layers)
    # A run that can go on from its checkpoint needs the rows as they were written.
    streams = {file.name for file in dead.folder.glob("*.arrows")}
    assert streams == ({"metrics.arrows", "layers.arrows"} if checkpoint else set())


@pytest.mark.parametrize(("status", "steps"), [("interrupted", SUMMARY.steps), (None, 0)])
def test_a_recorded_failure_without_a_lock_is_as_far_as_the_summary_said(
    tmp_path: Path, status: str | None, steps: int
) -> None:
    config = config_in(tmp_path)
    if status:
        write_run(config, status)
    record_failure(config, "lost", 1.0)
    found = read_summary(run_folder(config))
    assert found is not None
    assert (found.status, found.steps) == ("failed", steps)


def test_a_lock_that_counts_half_steps_says_nothing_of_them(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    run_folder(config).mkdir(parents=True)
    holder = {"token": "dead", "machine": machine(), "pid": 2**22 + 1, "progress": {"step": 7.5}}
    (run_folder(config) / LOCK_FILE).write_text(json.dumps(holder))
    record_failure(config, "lost", 1.0)
    found = read_summary(run_folder(config))
    assert found is not None
    assert (found.status, found.steps) == ("failed", None)


# ------------------------------------------------------------------ taken over by another process


def test_nothing_is_written_into_a_run_that_another_process_took_over(tmp_path: Path) -> None:
    """As a process does that slept longer than its lock lasts: neither tables nor tensors."""
    config = config_in(tmp_path)
    slow = Recorder(config, device="cpu", command=[])
    slow.add_metrics(metric_row(0))
    slow.lock.path.unlink()
    other = Recorder(config, device="cpu", command=[])
    before = {file.name: file.stat().st_size for file in slow.folder.iterdir()}
    model = torch.nn.Linear(2, 2)
    for write in (
        slow.flush,
        lambda: slow.save_checkpoint({}),
        lambda: slow.save_state({}),
        lambda: slow.save_weights(model),
        lambda: slow.finish(SUMMARY),
    ):
        with pytest.raises(RecordError, match="another process took this run over"):
            write()
    assert {file.name: file.stat().st_size for file in slow.folder.iterdir()} == before
    new = {"checkpoint.pt", "weights.pt", "state.pt", "metrics.parquet", "summary.json"}
    assert not new & set(before)
    other.lock.release()


def test_weights_of_an_earlier_run_do_not_stay_beside_another(tmp_path: Path) -> None:
    """`output.weights` is no part of a run's identity: without it there are none."""
    kept = config_in(tmp_path, "output.weights=true")
    make(kept)
    folder = run_folder(config_in(tmp_path))
    assert (folder / "weights.pt").exists()
    assert not lacks_kept(kept)
    make(config_in(tmp_path), force=True)
    assert read_run(folder).summary.status == "finished"
    assert not (folder / "weights.pt").exists()
    assert lacks_kept(kept)
    assert not lacks_kept(config_in(tmp_path))


def test_rows_reach_the_disk_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process that is killed has measured until then can be read."""
    now = 100.0
    monkeypatch.setattr("normlab.runs.recorder.time.monotonic", lambda: now)
    recorder = Recorder(config_in(tmp_path), device="cpu", command=[])
    for seconds, kept in ((1.0, 0), (4.9, 0), (5.1, 3), (6.0, 3), (10.3, 5)):
        now = 100.0 + seconds
        recorder.add_layers(layer_rows(int(seconds), 0.5)[:1])
        stream = recorder.folder / "layers.arrows"
        if kept:
            assert len(read_rows(recorder.folder, "layers")) == kept
        else:
            with pytest.raises(ValueError, match="holds no rows yet"):
                read_rows(recorder.folder, "layers")
        assert stream.exists()
    recorder.lock.release()


def test_rows_reach_the_disk_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of both tables count, and all are written with the first that is too many."""
    monkeypatch.setattr("normlab.runs.recorder.time.monotonic", lambda: 0.0)
    monkeypatch.setattr("normlab.runs.recorder.MOST_ROWS", 3)
    recorder = Recorder(config_in(tmp_path), device="cpu", command=[])
    recorder.add_metrics(metric_row(0))
    recorder.add_layers(layer_rows(0, 0.5))
    with pytest.raises(ValueError, match="holds no rows yet"):
        read_rows(recorder.folder, "layers")
    recorder.add_metrics(metric_row(1))
    assert [len(read_rows(recorder.folder, name)) for name in ("metrics", "layers")] == [2, 2]
    recorder.lock.release()
