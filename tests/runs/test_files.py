import json
import math
import os
from pathlib import Path

import pytest

from normlab.errors import RecordError
from normlab.runs import to_json
from normlab.runs.files import write_json, write_text


def test_json_is_strict() -> None:
    text = to_json({"a": math.nan, "b": [math.inf, 1.5], "c": {"d": -math.inf}, "e": 3})
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": 3}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    place = tmp_path / "nodir"
    with pytest.raises(RecordError, match=f"there is no folder {place}; make it, or name another"):
        write_text(place / "x.png", "a picture")
    assert not place.exists()


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file.json"
    write_json(file, {"a": 1})
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"No space left on device.*output.root"):
        write_text(file, "another")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
