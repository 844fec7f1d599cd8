"""Tables of whoever wrote them are checked before they are read."""

import math
import re
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from normlab.runs import parquet
from normlab.runs.parquet import checked, read_parquet, to_frame, write_parquet

SOUND: dict[str, list[Any]] = {
    "step": [0, 0],
    "layer": [1, 2],
    "name": ["a", None],
    "kind": ["conv", "conv"],
    "delta_rms": [0.5, math.inf],
}
COLUMNS = ("step", "layer", "name", "kind")


def test_a_sound_table_has_the_types_that_normlab_writes() -> None:
    about = {**SOUND, "name": pyarrow.array(["a", "a"]).dictionary_encode(), "whole": [1, 2]}
    found = checked(pyarrow.table({**about, "nothing": [None, None]}), COLUMNS)
    assert [str(kind) for kind in found.schema.types] == [
        *("int64", "int64", "string", "string", "double", "double", "double")
    ]
    assert found["name"].to_pylist() == ["a", "a"]


def test_a_table_without_rows_is_sound_whatever_its_types() -> None:
    found = checked(pyarrow.table({name: pyarrow.nulls(0) for name in SOUND}), COLUMNS)
    assert list(to_frame(found)) == list(SOUND)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"layer": [0, 1]}, "its layers are not numbered from 1"),
        ({"layer": [1, 3]}, "its layers are not numbered from 1"),
        ({"step": [0, -1]}, "a step is below 0"),
        ({"step": [0, None]}, "its column 'step' is not of int64"),
        ({"step": [None, None]}, "its column 'step' is not of int64"),
        ({"step": [0.0, 1.0]}, "its column 'step' is not of int64"),
        ({"name": [1, 2]}, "its column 'name' is not of string"),
        ({"name": ["a", "b\x1b[2J"]}, "its column 'name' holds control characters"),
        ({"delta_rms": ["0.5", "1"]}, "its column 'delta_rms' is not of double"),
    ],
)
def test_what_is_not_normlabs_is_refused(columns: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        checked(pyarrow.table({**SOUND, **columns}), COLUMNS)


def test_a_table_is_written_in_groups_and_read_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 3)
    whole = pyarrow.table(SOUND)
    write_parquet(tmp_path / "x.parquet", whole.schema, iter(whole.to_batches() * 5))
    found = read_parquet(tmp_path / "x.parquet")
    assert pyarrow.parquet.read_metadata(tmp_path / "x.parquet").num_row_groups == 3
    assert checked(found, COLUMNS).to_pydict() == {name: v * 5 for name, v in SOUND.items()}
    monkeypatch.setattr(parquet, "MOST_CELLS", 49)
    with pytest.raises(ValueError, match="10 rows are too many"):
        read_parquet(tmp_path / "x.parquet")
