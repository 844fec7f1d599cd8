"""Only regular files of a bounded size are read, and nothing waits."""

import os
from pathlib import Path

import pytest

from normlab.bounded_files import read_bounded


def test_a_file_is_read_whole_and_no_more_than_allowed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1000)
    (tmp_path / "link").symlink_to(file)
    assert read_bounded(tmp_path / "link", 1000) == b"x" * 1000
    with pytest.raises(ValueError, match="link is too large, above 999 bytes"):
        read_bounded(tmp_path / "link", 999)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "none")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(ValueError, match=f"{name} is no regular file"):
            read_bounded(tmp_path / name)
