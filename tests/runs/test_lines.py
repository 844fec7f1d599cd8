"""A run's lines: the same while it is made and from its files."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from normlab.runs import (
    end_line,
    execute,
    lines_of_events,
    lines_of_run,
    read_run,
    run_folder,
    to_json_line,
)
from normlab.runs import lines as lines_module
from tests.runs.support import config_in, stopped_at


def live(config: Any, **options: Any) -> list[dict[str, Any]]:
    """The lines of a run that is made, as JSON has them, without signs of life."""
    events = execute(config, **options)
    found = [line for _, lines in lines_of_events(events, config) for line in lines]
    return [as_read(line) for line in found if line["event"] != "progress"]


def as_read(line: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(to_json_line(line))
    return read


def untimed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines without what differs between two runs of one config, and where they lie."""
    kept = [{k: v for k, v in line.items() if k not in ("seconds", "folder")} for line in lines]
    for line in kept:
        for key in ("config", "started", "seconds"):
            line.get("summary", {}).pop(key, None)
        line.get("config", {}).pop("output", None)
    return kept


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("norm=none", "optimizer.lr=1e30"),  # diverges
        ("training.stop_metric=train_loss", "training.stop_value=1000"),  # at its first step
        ("training.epochs=0",),
        ("training.epochs=null", "training.steps=5", "training.clip_norm=0.1"),
        ("probes=none",),
    ],
)
def test_the_lines_of_a_run_are_those_of_its_files(tmp_path: Path, settings: tuple[str]) -> None:
    config = config_in(tmp_path, *settings)
    lines = live(config)
    read = [as_read(line) for line in lines_of_run(read_run(run_folder(config)))]
    if "training.stop_value=1000" in settings:  # no row tells how long an epoch is
        assert (lines[0].pop("steps"), read[0].pop("steps")) == (8, None)
    assert lines == read
    assert [lines[0]["event"], lines[-1]["event"]] == ["started", "end"]
    steps = [line["step"] for line in lines[1:-1]]
    assert steps == sorted(steps)
    assert {line["run_id"] for line in lines} == {run_folder(config).name}


def test_each_row_is_a_line_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    config = config_in(tmp_path, "norm=none", "optimizer.lr=1e30")
    lines = live(config)
    run = read_run(run_folder(config))
    count = {kind: sum(line["event"] == kind for line in lines) for kind in ("evaluation", "layer")}
    assert count == {"evaluation": len(run.metrics), "layer": len(run.layers)}
    last = next(line for line in reversed(lines) if line["event"] == "evaluation")
    assert last["train_loss"] is None
    assert not math.isfinite(run.metrics["train_loss"].iloc[-1])
    assert lines[-1]["summary"]["status"] == "diverged"
    assert lines[-1] == as_read(end_line(run.summary))


def test_the_lines_of_a_run_that_goes_on_are_those_of_one_without_a_stop(tmp_path: Path) -> None:
    config = config_in(tmp_path / "stopped", "runtime.checkpoint_seconds=1000")
    stopped = live(config, stop=stopped_at(6), progress_seconds=0.0)
    assert stopped[-1]["summary"]["status"] == "interrupted"
    whole = live(config_in(tmp_path / "whole", "runtime.checkpoint_seconds=1000"))
    assert untimed(live(config)) == untimed(whole)


def test_signs_of_life_come_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(tmp_path)
    monkeypatch.setattr(lines_module, "PROGRESS_SECONDS", 0.0)
    events = lines_of_events(execute(config, progress_seconds=0.0), config)
    kinds = [line["event"] for _, lines in events for line in lines]
    assert kinds.count("progress") == 8
    monkeypatch.setattr(lines_module, "PROGRESS_SECONDS", 1000.0)
    again = lines_of_events(execute(config, progress_seconds=0.0, force=True), config, force=True)
    assert "progress" not in [line["event"] for _, lines in again for line in lines]
