"""The whole frame in a file."""

from pathlib import Path

import pandas
import pytest
from pandas import DataFrame

from normlab.errors import ConfigError, RecordError
from normlab.results import export


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
    with pytest.raises(ConfigError, match=r"choices: FILE.parquet, FILE.csv"):
        export(many[1], tmp_path / "all.xlsx")
    for name in ("all.csv", "all.parquet"):
        with pytest.raises(RecordError, match="cannot be written"):
            export(many[1], tmp_path / "nowhere" / name)
