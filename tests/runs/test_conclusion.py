from pathlib import Path
from typing import Any

import pytest

from normlab.errors import RunError
from normlab.runs import (
    CHECKPOINT_FILE,
    Finished,
    conclusion,
    execute,
    execution,
    read_run,
    read_weights,
    run_folder,
)
from tests.runs.support import config_in, make, stopped_at
from tests.runs.test_execution import raising


def failing(*_: object, **__: object) -> Any:
    raise ValueError("odd figures\nmore")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("diagnose", "the diagnosis could not be computed (ValueError: odd figures)"),
        ("predict", "the prediction could not be computed (ValueError: odd figures)"),
    ],
)
def test_a_summary_that_cannot_be_computed_costs_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    config = config_in(tmp_path, "output.weights=true")
    monkeypatch.setattr(conclusion, name, failing)
    with pytest.raises(RunError) as caught:
        make(config)
    folder = run_folder(config)
    run = read_run(folder)
    assert (run.summary.status, run.summary.reason) == ("failed", str(caught.value))
    assert run.summary.reason.endswith(f"{words}.")
    assert run.summary.reason.count("could not") == 1
    assert "\n" not in run.summary.reason
    assert (run.summary.steps, run.summary.layers) == (8, 4)
    assert run.metrics["step"].tolist() == [0, 4, 8]
    assert set(run.layers.groupby("step").size()) == {4}
    assert read_weights(folder)
    assert not list(folder.glob("*lock.json*"))
    monkeypatch.undo()
    assert make(config)[-1].summary.status == "finished"  # and is not in anybody's way


def test_what_can_be_computed_of_a_summary_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conclusion, "predict", failing)
    config = config_in(tmp_path)
    with pytest.raises(RunError):
        make(config)
    run = read_run(run_folder(config))
    assert run.summary.train_acc == run.metrics["train_acc"].iloc[-1]
    assert run.summary.gradient_ratio_init is not None


@pytest.mark.usefixtures("at_every_step")
@pytest.mark.parametrize("name", ["diagnose", "predict"])
def test_an_end_before_the_last_step_stays_what_it_is_without_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A stopped run goes on later; what stopped one that failed is told before all else."""
    monkeypatch.setattr(conclusion, name, failing)
    stopped = config_in(tmp_path, "seed=1")
    *_, last = make(stopped, stop=stopped_at(3))
    assert isinstance(last, Finished)
    assert last.summary.status == "interrupted"
    assert last.summary.reason.startswith("Stopped at step")
    assert "could not be computed" in last.summary.reason
    assert (last.folder / CHECKPOINT_FILE).exists()

    monkeypatch.setattr(execution, "train", raising(KeyboardInterrupt(), after=5))
    struck = config_in(tmp_path, "seed=2")
    with pytest.raises(KeyboardInterrupt):
        list(execute(struck))
    assert read_run(run_folder(struck)).summary.status == "interrupted"

    monkeypatch.setattr(execution, "train", raising(MemoryError(), after=5))
    broken = config_in(tmp_path, "seed=3")
    with pytest.raises(RunError, match="out of memory"):
        list(execute(broken))
    summary = read_run(run_folder(broken)).summary
    assert summary.status == "failed"
    assert summary.reason.startswith("out of memory with training.batch_size=16")
    assert "could not be computed" in summary.reason
