"""The rows of a run that is being made."""

from pathlib import Path

import pytest

from normlab.runs.tables import NOTHING, TableStream, holds, read_rows, stream_file
from normlab.training import METRIC_COLUMNS
from tests.runs.support import metric_row


def test_a_piece_of_a_batch_at_the_end_is_passed_over(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves one."""
    stream = TableStream(tmp_path, "metrics", METRIC_COLUMNS, NOTHING)
    stream.add([metric_row(0), metric_row(1)])
    kept = stream.write()
    stream.add([metric_row(2)])
    whole = stream.write()
    stream.close()
    file = stream_file(tmp_path, "metrics")
    content = file.read_bytes()
    assert len(content) == whole.size
    for size in (whole.size - 1, kept.size + 1, kept.size):
        file.write_bytes(content[:size])
        assert read_rows(tmp_path, "metrics")["step"].tolist() == [0, 1]
        assert holds(tmp_path, "metrics", kept)
        assert not holds(tmp_path, "metrics", whole)
    file.write_bytes(content[:-1] + b"x")
    assert not holds(tmp_path, "metrics", whole)
    assert not holds(tmp_path, "layers", kept)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="it holds no rows yet"):
        read_rows(tmp_path, "metrics")


def test_a_stream_goes_on_behind_what_a_checkpoint_was_made_beside(tmp_path: Path) -> None:
    first = TableStream(tmp_path, "metrics", METRIC_COLUMNS, NOTHING)
    first.add([metric_row(0)])
    kept = first.write()
    first.add([metric_row(1)])
    first.write()
    first.close()
    again = TableStream(tmp_path, "metrics", METRIC_COLUMNS, kept)
    again.add([metric_row(7)])
    assert again.frame()["step"].tolist() == [0, 7]
    position = again.write()
    again.close()
    assert holds(tmp_path, "metrics", position)
    assert read_rows(tmp_path, "metrics")["step"].tolist() == [0, 7]
