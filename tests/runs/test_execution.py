import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from normlab.config import Config, compose, run_id
from normlab.errors import ConfigError, DataError, RecordError, RunError
from normlab.runs import execution as runs
from normlab.runs import (
    read_run,
    read_summary,
    run_folder,
)
from normlab.training import Event, Measurement, Started, train
from tests.conftest import TINY
from tests.runs.support import config_in


def finished(config: Config) -> runs.Finished:
    *_, last = runs.execute(config)
    assert isinstance(last, runs.Finished)
    return last


NAMED_IN_THE_SUMMARY = {
    "run_id", "status", "verdict", "reason", "try",
    "train_acc", "train_loss", "test_acc", "test_loss", "steps", "seconds",
    "gradient_factor_init", "gradient_factor_end",
    "gradient_ratio_init", "gradient_ratio_end",
}  # fmt: skip


def test_a_run_from_config_to_files(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    last = finished(config)
    run = read_run(last.folder)
    assert run.summary == last.summary == read_summary(last.folder)
    assert set(json.loads((last.folder / "summary.json").read_text())) >= NAMED_IN_THE_SUMMARY
    assert run.summary.run_id == run_id(config) == last.folder.name
    assert run.summary.steps == 8
    assert run.metrics["step"].tolist() == [0, 4, 8]
    assert run.summary.train_acc == run.metrics["train_acc"].iloc[-1]
    assert run.summary.seconds >= run.metrics["seconds"].iloc[-1] > 0
    assert set(run.layers.groupby("step").size()) == {4}
    assert run.environment["device"] == "cpu"


def test_the_headline_is_computed_from_the_layers(tmp_path: Path) -> None:
    run = read_run(finished(config_in(tmp_path, "model.depth=8", "model.activation=tanh")).folder)
    for when, step in (("init", 0), ("first_epoch", 4), ("end", 8)):
        rows = run.layers[run.layers["step"] == step].sort_values("layer")
        hidden = rows["delta_rms"].tolist()[:-1]
        ratio = getattr(run.summary, f"gradient_ratio_{when}")
        assert ratio == pytest.approx(hidden[0] / hidden[-1])
        interior = [math.log(value) for value in hidden[1:-1]]
        mean = (len(interior) - 1) / 2
        slope = sum((i - mean) * v for i, v in enumerate(interior)) / sum(
            (i - mean) ** 2 for i in range(len(interior))
        )
        factor = getattr(run.summary, f"gradient_factor_{when}")
        assert factor == pytest.approx(math.exp(-slope))


def test_diverged_is_a_result(tmp_path: Path) -> None:
    last = finished(config_in(tmp_path, "norm=none", "optimizer.lr=1e30"))
    assert (last.summary.status, last.summary.verdict) == ("diverged", "diverged")
    assert f"step {last.summary.steps}" in last.summary.reason
    run = read_run(last.folder)
    assert len(run.layers) > 0
    # The broken network's own score, not its last one before it broke.
    assert run.metrics["step"].iloc[-1] > run.summary.steps
    assert run.summary.train_acc == run.metrics["train_acc"].iloc[-1] < 0.4
    assert run.summary.train_loss is None


def raising(error: BaseException, after: int) -> Any:
    """A stand-in for `train` that fails after some events of the real one."""

    def broken(config: Config, **options: Any) -> Iterator[Event]:
        for number, event in enumerate(train(config, **options)):
            if number == after:
                raise error
            yield event

    return broken


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
            "out of memory with",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out of memory",
        ),
        (MemoryError(), "training.batch_size=16"),
        (ValueError("odd\nmore"), "ValueError: odd"),
    ],
)
def test_a_failure_is_recorded_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(runs, "train", raising(error, after=5))
    config = config_in(tmp_path)
    with pytest.raises(RunError, match=words) as caught:
        list(runs.execute(config))
    assert caught.value.exit_code == 3
    run = read_run(run_folder(config))
    assert (run.summary.status, run.summary.verdict) == ("failed", None)
    assert words in run.summary.reason
    assert len(run.layers) > 0


def test_an_interrupted_run_says_so_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "train", raising(KeyboardInterrupt(), after=5))
    config = config_in(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(runs.execute(config))
    run = read_run(run_folder(config))
    assert (run.summary.status, run.summary.verdict) == ("interrupted", None)
    assert len(run.layers) > 0


def test_a_display_that_stops_listening_interrupts_the_run(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    events = runs.execute(config)
    for event in events:
        if isinstance(event, Measurement):
            break
    events.close()  # type: ignore[attr-defined]
    assert read_run(run_folder(config)).summary.status == "interrupted"


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("training.batch_size=65", ConfigError),
        ("runtime.device=cuda:99", ConfigError),
        ("data=mnist", DataError),
    ],
)
def test_what_cannot_start_leaves_no_folder(
    tmp_path: Path, override: str, error: type[Exception]
) -> None:
    absent = ["data.root=/nowhere"] if override == "data=mnist" else []
    overrides = [o for o in TINY if not (absent and o.startswith("data"))]
    config = compose([*overrides, f"output.root='{tmp_path}'", override, *absent])
    with pytest.raises(error):
        list(runs.execute(config))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_stops_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    events: list[Event | runs.Finished] = []
    with pytest.raises(RecordError, match="cannot be written"):
        events.extend(runs.execute(config_in(tmp_path / "file")))
    assert not any(isinstance(event, Started) for event in events)
