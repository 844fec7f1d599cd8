"""Summaries become tidy rows."""

import json
import math
from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.analysis import export
from normlab.analysis.filters import where
from normlab.analysis.frames import to_frame
from normlab.analysis.keys import varying
from normlab.config import from_yaml, run_id
from normlab.config.migrations import ADDED
from normlab.runs import Summary
from tests.analysis.sample import COUNT, row
from tests.tools.synthetic_results import write_runs


def test_every_run_is_a_row(many: tuple[Path, DataFrame]) -> None:
    _, frame = many
    assert len(frame) == COUNT
    assert set(frame["norm"]) == {"none", "ln", "bn"}
    assert frame["experiment"].unique().tolist() == ["synthetic"]
    one = frame.iloc[17]
    raw = json.loads((Path(one["folder"]) / "summary.json").read_text())
    assert one["run_id"] == raw["run_id"] == Path(one["folder"]).name
    assert one["model.depth"] == raw["config"]["model"]["depth"]
    assert one["optimizer.lr"] == raw["config"]["optimizer"]["lr"]
    assert one["train_acc"] == raw["train_acc"]
    assert one["schedule"] == "cosine"
    assert one["probes.measure"].startswith("[grad_norm,delta_rms")
    assert not any(column.startswith("output") for column in frame)
    assert frame["folder"].is_monotonic_increasing


def test_columns_of_unlike_types_become_text(tmp_path: Path) -> None:
    values = ("cpu", 3, True, ["a", 1.5])
    frame = to_frame([row(seed=seed, later=value) for seed, value in enumerate(values)])
    assert frame["later"].tolist() == ["cpu", "3", "true", "[a,1.5]"]
    export(frame, "parquet", str(tmp_path / "all.parquet"))
    # Runs of models with other keys are read in tables of their own.
    apart = [row("model=mlp", later="cpu"), row("model=cnn", later=3), row("model=cnn", seed=1)]
    assert to_frame(apart)["later"].tolist()[:2] == ["cpu", "3"]


def test_every_field_of_a_summary_is_a_column_but_those_of_the_file() -> None:
    older = Summary(run_id="a", status="finished", config=row()[1].config)
    frame = to_frame([("results/old/a", older), row(seed=1, version=1)])
    fields = {field.alias or name for name, field in Summary.model_fields.items()}
    of_the_file = {"version", "config", "evidence"}
    assert fields - set(frame) == of_the_file
    assert math.isnan(frame["gradient_factor_theory"][0])
    assert frame["train_acc"].tolist()[1:] == [1.0]
    assert set(to_frame([])) >= fields - of_the_file
    place = list(frame).index
    assert place("verdict") + 1 == place("cause")


def test_the_generator_writes_what_runs_write(tmp_path: Path) -> None:
    folder = write_runs(1, tmp_path)[0]
    written = json.loads((folder / "summary.json").read_text())
    assert list(written) == list(Summary(run_id="a", status="failed").to_plain())
    assert run_id(from_yaml((folder / "config.yaml").read_text())) == folder.name


@pytest.mark.parametrize("group", ["data", "model", "norm", "optimizer", "training"])
@pytest.mark.parametrize("value", [None, "bn"])
def test_a_config_without_one_of_its_groups_is_no_run(group: str, value: str | None) -> None:
    folder, summary = row("norm=bn")
    problems: list[str] = []
    config = {**(summary.config or {}), group: value}
    broken = summary.model_copy(update={"config": config})
    frame = to_frame([(folder, broken), row("norm=bn", seed=1)], problems)
    assert frame["seed"].tolist() == [1]
    assert problems == [f"{folder}: summary.json is not normlab's, its config has no {group}"]


def test_a_run_from_before_a_key_stands_beside_those_that_do_as_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ADDED, "training.clip_norm", 1.0)
    older = row("training.clip_norm=null")[1].config
    assert older is not None
    del (training := {**older["training"]})["clip_norm"]
    clipped = row("training.clip_norm=1.0", seed=1)
    before = Summary(run_id="a", status="finished", config={**older, "training": training})
    frame = to_frame([("results/runs/a", before), clipped])
    assert frame["training.clip_norm"].tolist() == [1.0, 1.0]
    assert varying(frame) == []


def test_a_number_is_one_text_beside_words_whichever_runs_have_them() -> None:
    """Runs of different keys are read in groups, of which one may have numbers alone."""
    tanh = ("model=mlp", "norm=none", "model.activation=tanh")
    runs = [
        row(*tanh, "model.init_gain=1", seed=0),
        row(*tanh, "model.init_gain=auto", seed=1),
        row("model=mlp", "norm=ln", "model.init_gain=1", seed=2),
        row("model=mlp", "norm=ln", "model.init_gain=0.5", seed=3),
    ]
    frame = to_frame(runs)
    assert frame["model.init_gain"].tolist() == ["1", "auto", "1", "0.5"]
    for asked, seeds in (("1", [0, 2]), ("1.0", [0, 2]), ("auto", [1]), (".5", [3])):
        assert where(frame, [f"model.init_gain={asked}"])["seed"].tolist() == seeds
