"""What every tracker gets of a run."""

import math
from pathlib import Path

import pytest
from pandas import concat

from normlab.analysis import Selection, read_results
from normlab.analysis.exports.runs import SCORES, named_runs, run_names
from normlab.config import PROBES
from normlab.errors import ConfigError
from tests.tools.synthetic_results import write_runs


def test_runs_have_readable_names_that_are_unique_in_their_experiment(tmp_path: Path) -> None:
    write_runs(300, tmp_path)
    frame = read_results([tmp_path])[0]
    names = run_names(frame)
    assert len(set(names)) == 300
    row = frame.iloc[names.index("bn residual lr=0.1 depth=8 seed=0")]
    assert (row["norm"], row["model.residual"], row["seed"]) == ("bn", True, 0)
    few = frame[(frame["norm"] == "bn") & frame["model.residual"] & (frame["optimizer.lr"] == 0.1)]
    one = few[(few["model.depth"] == 8) & (few["seed"] == 0)]
    assert run_names(one) == ["bn residual depth=8 seed=0"]
    doubled = concat([one, one.assign(run_id="other")], ignore_index=True)
    first, second = run_names(doubled)
    assert first == f"bn residual depth=8 seed=0 {one['run_id'].iloc[0]}"
    assert second == "bn residual depth=8 seed=0 other"


def test_the_values_of_a_run_are_those_of_its_tables(made: Path) -> None:
    frame = read_results([made])[0]
    for named in named_runs(Selection(frame, "")):
        metrics, layers = named.run.metrics, named.run.layers
        steps = list(named.steps())
        assert [at.step for at in steps] == sorted({*metrics["step"], *layers["step"]})
        values = {(at.step, tag): value for at in steps for tag, value in at.values.items()}
        for row in metrics.to_dict("records"):
            for name in set(row) - {"step", "epoch", "seconds"}:
                found = values.pop((row["step"], name), None)
                absent = math.isnan(row[name]) and name not in SCORES
                assert found is None if absent else str(found) == str(row[name])
        probes = [name for name in layers if name in PROBES]
        for row in layers.to_dict("records"):
            for probe in probes:
                found = values.pop((row["step"], f"{probe}/{row['layer']} {row['name']}"), None)
                assert found is None if math.isnan(row[probe]) else found == row[probe]
        assert not values


def test_settings_are_numbers_and_texts_and_tell_nothing_of_places(made: Path) -> None:
    (named, *_) = named_runs(Selection(read_results([made])[0], ""))
    settings = named.settings()
    assert settings["norm"] == "bn"
    assert settings["model.depth"] == 4
    assert settings["training.stop_metric"] == "null"
    assert settings["probes.measure"].startswith("grad_norm,")
    assert not {key.split(".")[0] for key in settings} & {"output", "runtime", "launcher"}
    assert {type(value) for value in settings.values()} <= {bool, int, float, str}


def test_a_run_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    write_runs(3, tmp_path, with_tables=True)
    frame = read_results([tmp_path])[0]
    damaged = Path(frame["folder"].iloc[1])
    (damaged / "layers.parquet").write_bytes(b"PAR1")
    problems: list[str] = []
    found = list(named_runs(Selection(frame, "", on_problem=problems.append)))
    assert len(found) == 2
    assert [problem.split(":")[0] for problem in problems] == [f"{damaged}/layers.parquet"]
    with pytest.raises(ConfigError, match=r"none of 1 runs can be read"):
        list(named_runs(Selection(frame[1:2], "")))
