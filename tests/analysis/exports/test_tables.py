"""The whole frame in a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from pandas import DataFrame

from normlab.analysis import Exported, read_results
from normlab.analysis import export as export_runs
from normlab.errors import ConfigError, RecordError
from tests.tools.synthetic_results import write_runs


def export(frame: DataFrame, file: Path, rows: Any = "runs", on_problem: Any = print) -> Exported:
    """As the kind that a file's suffix names."""
    return export_runs(frame, file.suffix[1:], str(file), rows, on_problem)


def test_the_whole_frame_is_exported(many: tuple[Path, DataFrame], tmp_path: Path) -> None:
    _, frame = many
    for name, read in (("all.parquet", pandas.read_parquet), ("all.csv", pandas.read_csv)):
        export(frame, tmp_path / name)
        back = read(tmp_path / name, **({"keep_default_na": False} if "csv" in name else {}))
        assert list(back.columns) == list(frame.columns)
        for column in ("run_id", "norm", "model.depth"):
            assert back[column].tolist() == frame[column].tolist()
        assert back["train_acc"].astype(float).tolist() == frame["train_acc"].tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "all.parquet"]


def test_export_in_clear_words(many: tuple[Path, DataFrame], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"export=xlsx: no such choice; choices: csv, parquet, "):
        export(many[1], tmp_path / "all.xlsx")
    with pytest.raises(ConfigError, match=r"would hold csv; normlab export parquet writes such"):
        export_runs(many[1], "csv", str(tmp_path / "all.parquet"))
    for name in ("all.csv", "all.parquet"):
        with pytest.raises(RecordError, match="there is no folder"):
            export(many[1], tmp_path / "nowhere" / name)


@pytest.mark.parametrize(("kind", "name"), [("steps", "metrics"), ("layers", "layers")])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_tables_of_all_runs_are_exported_below_each_other(
    tmp_path: Path, kind: Any, name: str, suffix: str
) -> None:
    write_runs(12, tmp_path / "runs", with_tables=True)
    frame = read_results([tmp_path / "runs"])[0]
    folders = frame["folder"].tolist()
    # One run measured something else too, and the table of another is damaged.
    other = pandas.read_parquet(f"{folders[0]}/{name}.parquet")
    other["more"] = np.arange(len(other))
    other.to_parquet(f"{folders[0]}/{name}.parquet")
    Path(f"{folders[3]}/{name}.parquet").write_bytes(b"PAR1")
    problems: list[str] = []
    file = tmp_path / f"all{suffix}"
    written = export(frame, file, kind, problems.append)
    assert len(problems) == 1
    assert f"{folders[3]}/{name}.parquet" in problems[0]
    back = (
        pandas.read_csv(file, keep_default_na=False, na_values=[""])
        if suffix == ".csv"
        else (pandas.read_parquet(file))
    )
    assert (written.runs, written.rows) == (11, len(back))
    about = ["norm", "model.depth", "optimizer.lr"]
    assert list(back)[:6] == ["run_id", "experiment", *about, "seed"]
    for index, row in frame.drop(index=3).iterrows():
        mine = back[back["run_id"] == row["run_id"]].reset_index(drop=True)
        assert (mine[about] == row[about]).all(axis=None)
        assert (mine["seed"] == row["seed"]).all()
        own = pandas.read_parquet(f"{folders[index]}/{name}.parquet")
        pandas.testing.assert_frame_equal(mine[list(own)], own, check_dtype=False)
    assert back["more"].notna().sum() == len(other)


def test_no_table_to_export_is_said(many: tuple[Path, DataFrame], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no layers\.parquet of 300 runs can be read"):
        export(many[1], tmp_path / "all.csv", "layers")
    assert not list(tmp_path.iterdir())
