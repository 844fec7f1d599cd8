"""What a run was made with is in its summary, and of older runs in their environment.json."""

import json
import os
from pathlib import Path

import pytest

from normlab.config import run_id
from normlab.errors import RecordError
from normlab.runs import Summary, find_run, parse_summary, read_environment, read_run, with_origin
from normlab.runs.provenance import made_with
from tests.runs.support import config_in, make, write_run

OLD_RUN = Path(__file__).parents[1] / "golden" / "old" / "566ce0d1e1"


def test_a_run_says_in_its_summary_what_it_was_made_with(tmp_path: Path) -> None:
    import torch

    finished = make(config_in(tmp_path, "runtime.threads=2"))[-1]
    environment = json.loads((finished.folder / "environment.json").read_text())
    written = parse_summary((finished.folder / "summary.json").read_bytes())
    assert written == finished.summary == read_run(finished.folder).summary
    assert (written.threads, written.torch, written.device) == (2, torch.__version__, "cpu")
    assert written.processor == environment["processor"]
    assert written.channels_last is environment["channels_last"] is False
    assert written.started == environment["started"]
    if written.commit:
        assert environment["git_commit"].startswith(written.commit.split()[0])


def test_an_older_run_says_it_in_its_environment() -> None:
    summary = read_run(OLD_RUN).summary
    assert (summary.torch, summary.threads, summary.processor) == ("2.13.0+cpu", 1, None)
    assert summary.channels_last is False
    assert summary.commit == "d02e5092a2 with changes"
    assert summary.started == "2026-11-25T07:15:38+00:00"


def test_what_a_summary_says_itself_stays() -> None:
    summary = Summary(run_id="a", status="finished", torch="1.0", threads=4)
    told = with_origin(summary, {"torch": "2.0", "threads": 1, "normlab": "0.1"})
    assert (told.torch, told.threads, told.normlab) == ("1.0", 4, "0.1")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"started": 3, "torch": [], "threads": "2"}', b"[" * 60_000]
)
def test_a_damaged_environment_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "environment.json").write_bytes(content)
    assert made_with(read_environment(tmp_path)) == {}


def at(folder: Path, started: str, seconds: float) -> None:
    """Write when a run started, and when its files seem to have been written."""
    file = folder / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "started": started}))
    for path in (folder / "summary.json", folder):
        os.utime(path, (seconds, seconds))


def test_the_latest_run_is_the_one_that_started_last(tmp_path: Path) -> None:
    """A copy or a clone sets the times of files anew."""
    folders = [write_run(config_in(tmp_path, f"seed={seed}")) for seed in range(3)]
    at(folders[0], "2026-03-01T10:00:00.250+00:00", 1000)
    at(folders[1], "2026-03-01T11:00:00.260+02:00", 3000)  # an hour before
    at(folders[2], "2026-03-01T10:00:00.240+00:00", 2000)
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "summary.json").write_text("{")
    assert find_run(None, tmp_path) == folders[0]


def test_without_a_start_the_files_say_which_run_is_the_latest(tmp_path: Path) -> None:
    folders = [write_run(config_in(tmp_path, f"seed={seed}")) for seed in range(2)]
    for folder, seconds in zip(folders, (2000, 1000), strict=True):
        at(folder, "soon", seconds)
    assert find_run(None, tmp_path) == folders[0]
    with pytest.raises(RecordError, match="no run is here yet"):
        find_run(None, tmp_path / run_id(config_in(tmp_path)))
