import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from normlab.config import Config, compose, run_id
from normlab.errors import BusyError, RecordError
from normlab.runs import Summary, find_run, is_final, read_run, read_summary, run_folder, to_json
from normlab.runs.environment import environment
from normlab.runs.folder import METRIC_COLUMNS
from normlab.runs.recorder import Recorder

FINITE = st.floats(allow_nan=False, allow_infinity=False)


SUMMARY = Summary(
    run_id="0123456789", name="MLP-4", status="finished", verdict="trains", steps=1, device="cpu"
)


def config_in(root: Path, *overrides: str) -> Config:
    return compose([f"output.root='{root}'", *overrides])


def metric_row(step: int, value: float = 0.5) -> dict[str, Any]:
    return {**dict.fromkeys(METRIC_COLUMNS, value), "step": step}


def layer_rows(step: int, value: float) -> list[dict[str, Any]]:
    return [
        {"step": step, "layer": i, "name": f"layer{i}", "kind": "conv", "delta_rms": value * i}
        for i in (1, 2)
    ]


def write_run(config: Config, status: str = "finished") -> Path:
    recorder = Recorder(config, device="cpu", command=["normlab", "run"])
    recorder.add_metrics(metric_row(0))
    recorder.add_layers(layer_rows(0, 0.25))
    recorder.finish(SUMMARY.model_copy(update={"run_id": run_id(config), "status": status}))
    return recorder.folder


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(values=st.lists(FINITE | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=8))
def test_what_is_written_is_read(tmp_path: Path, values: list[float]) -> None:
    config = config_in(tmp_path)
    recorder = Recorder(config, device="cpu", command=["normlab", "run", "norm=bn"], force=True)
    for step, value in enumerate(values):
        recorder.add_metrics(metric_row(step, value))
        recorder.add_layers(layer_rows(step, value))
    metrics, layers = recorder.frames()
    summary = SUMMARY.model_copy(update={"train_acc": values[0], "reason": "é×δ"})
    recorder.finish(summary)

    run = read_run(recorder.folder)
    assert run.config == config
    assert_frame_equal(run.metrics, metrics)
    assert_frame_equal(run.layers, layers)
    kept = values[0] if math.isfinite(values[0]) else None
    assert run.summary == summary.model_copy(update={"train_acc": kept})
    assert run.environment["command"] == ["normlab", "run", "norm=bn"]
    assert list(run.layers.columns[4:]) == list(config.probes.measure)


def test_the_folder_holds_the_named_files_and_nothing_else(tmp_path: Path) -> None:
    config = config_in(tmp_path, "output.experiment=my experiment")
    folder = write_run(config)
    assert folder == tmp_path / "my experiment" / run_id(config)
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.yaml",
        "environment.json",
        "layers.parquet",
        "metrics.parquet",
        "summary.json",
    ]


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


@pytest.mark.parametrize(
    ("status", "final"),
    [("finished", True), ("diverged", True), ("failed", False), ("interrupted", False)],
)
def test_what_need_not_run_again(tmp_path: Path, status: str, final: bool) -> None:
    assert is_final(write_run(config_in(tmp_path), status)) is final


def test_a_new_start_takes_the_old_summary_away_first(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    write_run(config)
    with pytest.raises(BusyError, match="finished already"):
        Recorder(config, device="cpu", command=[])
    assert is_final(run_folder(config))
    Recorder(config, device="cpu", command=[], force=True)
    assert not is_final(run_folder(config))


def test_a_failed_write_leaves_the_old_file_and_no_other(
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
    after = {file.name: file.read_bytes() for file in folder.iterdir()}
    before.pop("summary.json")
    for files in (before, after):
        files.pop("environment.json")  # its start time is new
    assert after == before


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RecordError, match=r"cannot be written \(Not a directory\).*output.root"):
        Recorder(config_in(tmp_path / "file"), device="cpu", command=[])


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "summary.json"])
@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b"{", b"\xff\xfe\x00", b"null", b'{"status": 1}']
)
def test_damaged_text_files(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_run(config_in(tmp_path))
    (folder / name).write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    if name == "summary.json":
        assert read_summary(folder) is None


@pytest.mark.parametrize("name", ["metrics.parquet", "layers.parquet"])
def test_damaged_tables(tmp_path: Path, name: str) -> None:
    folder = write_run(config_in(tmp_path))
    content = (folder / name).read_bytes()
    for damaged in (b"", content[:50], content[:-20], os.urandom(200)):
        (folder / name).write_bytes(damaged)
        with pytest.raises(RecordError, match=f"{name}: damaged"):
            read_run(folder)
    (folder / name).unlink()
    with pytest.raises(RecordError, match=f"{name} is missing"):
        read_run(folder)


def test_a_foreign_table(tmp_path: Path) -> None:
    folder = write_run(config_in(tmp_path))
    (folder / "layers.parquet").write_bytes((folder / "metrics.parquet").read_bytes())
    with pytest.raises(RecordError, match="lack layer, name, kind"):
        read_run(folder)


def test_find_run(tmp_path: Path) -> None:
    one, two = (write_run(config_in(tmp_path, f"seed={seed}")) for seed in (1, 2))
    assert find_run(str(one), tmp_path) == one
    assert find_run(one.name[:6], tmp_path) == one
    assert find_run(two.name, tmp_path) == two
    with pytest.raises(RecordError, match="no such run"):
        find_run("zzz", tmp_path)
    with pytest.raises(RecordError, match="no such run"):
        find_run("", tmp_path)
    twin = write_run(config_in(tmp_path, "seed=1", "output.experiment=other"))
    with pytest.raises(RecordError, match="2 runs begin so"):
        find_run(twin.name, tmp_path)


def test_environment_says_what_a_run_was_made_with() -> None:
    import torch

    facts = environment("cpu", ["normlab", "run"])
    assert facts["torch"] == torch.__version__
    assert {"git_commit", "git_dirty", "host", "python", "started"} <= set(facts)
    json.dumps(facts)


def test_json_is_strict() -> None:
    text = to_json({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}, "e": 3})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": 3}
