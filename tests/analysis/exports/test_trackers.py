"""MLflow and Weights & Biases where they are installed, and what is said where they are not."""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import pytest

from normlab.analysis import EXPORTS, Selection, export, read_results
from normlab.analysis.exports.runs import NamedRun, named_runs
from normlab.errors import ConfigError


@pytest.mark.parametrize("kind", [name for name, part in EXPORTS.items() if part.library])
def test_a_library_that_is_missing_is_told_with_how_to_get_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as told:
        export(read_results([made])[0], kind, str(tmp_path / "out"))
    assert str(told.value) == f"export {kind}: needs the package {kind}; pip install {kind}"
    assert not list(tmp_path.iterdir())


def test_rows_are_chosen_of_tables_only(made: Path) -> None:
    frame = read_results([made])[0]
    with pytest.raises(ConfigError, match=r"^--layers: of csv and parquet; export jsonl has what"):
        export(frame, "jsonl", rows="layers")


def of_made(made: Path) -> list[NamedRun]:
    return list(named_runs(Selection(read_results([made])[0], "")))


@pytest.mark.filterwarnings("ignore")  # MLflow's own
@pytest.mark.parametrize("place", ["runs.db", "store"])
def test_mlflow_holds_every_value_once(made: Path, tmp_path: Path, place: str) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    from normlab.analysis.exports.mlflow import _store

    frame = read_results([made])[0]
    told = export(frame, "mlflow", str(tmp_path / place))
    assert (told.runs, told.kept) == (4, 0)
    again = export(frame, "mlflow", str(tmp_path / place))
    assert (again.runs, again.rows, again.kept) == (0, 0, 4)
    client: Any = MlflowClient(_store(str(tmp_path / place)))
    values = 0
    for named in of_made(made):
        experiment = client.get_experiment_by_name(named.experiment).experiment_id
        query = f"tags.`normlab.run_id` = '{named.summary.run_id}'"
        (run,) = client.search_runs([experiment], query)
        assert run.info.run_name == named.name
        assert run.info.status == "FINISHED"
        assert run.data.tags["verdict"] == named.summary.verdict
        assert run.data.params["model.depth"] == "4"
        expected: dict[str, list[tuple[int, float]]] = {}
        for at in named.steps():
            for tag, value in at.values.items():
                expected.setdefault(tag, []).append((at.step, value))
        for tag, points in expected.items():
            history = client.get_metric_history(run.info.run_id, tag)
            found = [(metric.step, metric.value) for metric in history]
            values += len(found)
            for (step, value), (other, kept) in zip(points, found, strict=True):
                finite = math.isfinite(value)
                assert step == other
                assert kept == value if finite else not math.isfinite(kept) or abs(kept) > 1e308
    assert told.rows == values


@pytest.mark.filterwarnings("ignore")
def test_mlflow_replaces_a_run_that_was_made_anew_and_goes_nowhere_else(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    frame = read_results([made / "other"])[0]
    place = str(tmp_path / "runs.db")
    export(frame, "mlflow", place)
    monkeypatch.setattr("normlab.analysis.exports.runs.start_of", lambda _: 1e9)
    assert export(frame, "mlflow", place).runs == 1
    assert export(frame, "mlflow", place).kept == 1
    with pytest.raises(ConfigError, match=r"^-o https://host: not a store on this machine"):
        export(frame, "mlflow", "https://host")


def test_wandb_holds_offline_runs_once(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    frame = read_results([made])[0]
    told = export(frame, "wandb", str(tmp_path))
    assert (told.runs, told.place) == (4, str(tmp_path / "wandb"))
    assert told.rows == sum(len(at.values) for named in of_made(made) for at in named.steps())
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    markers = [json.loads((folder / "normlab.json").read_text()) for folder in folders]
    known = [(marker["experiment"], marker["run_id"]) for marker in markers]
    assert sorted(known) == sorted((n.experiment, n.summary.run_id) for n in of_made(made))
    assert all(list(folder.glob("run-*.wandb")) for folder in folders)
    assert export(frame, "wandb", str(tmp_path)).kept == 4
    monkeypatch.setattr("normlab.analysis.exports.runs.start_of", lambda _: 1e9)
    other = frame[frame["experiment"] == "other"]
    assert export(other, "wandb", str(tmp_path)).runs == 1
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 4
