"""A run's folder made and locked, and what is left in one put in order."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from normlab.errors import RecordError
from normlab.runs import holding, remove_leftovers, run_folder
from normlab.runs.holding import hold
from normlab.runs.locks import is_held
from tests.runs.support import config_in, write_run


def test_a_folder_that_cannot_be_locked_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    folder = run_folder(config_in(tmp_path))
    said = f"^{re.escape(str(folder))}: cannot be written \\(No space left on device\\); .*$"
    with pytest.raises(RecordError, match=said):
        hold(config_in(tmp_path))
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_put_in_order_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        assert is_held(folder)
        raise RecordError("full")

    monkeypatch.setattr(holding, "settle", fail)
    with pytest.raises(RecordError, match="full"):
        hold(config_in(tmp_path))
    assert not is_held(run_folder(config_in(tmp_path)))


def test_a_path_that_cannot_be_followed_is_told_with_its_name(tmp_path: Path) -> None:
    folder = run_folder(config_in(tmp_path / ("a" * 300)))
    said = f"^{re.escape(str(folder))}: cannot be written \\(File name too long\\); "
    with pytest.raises(RecordError, match=said):
        hold(config_in(tmp_path / ("a" * 300)))


def test_a_link_that_leads_out_is_told_with_both_its_ends_and_what_to_do(tmp_path: Path) -> None:
    config = config_in(tmp_path / "results")
    folder, outside = run_folder(config), tmp_path.resolve() / "outside"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(outside)
    with pytest.raises(RecordError) as caught:
        hold(config)
    assert str(caught.value) == (
        f"{folder}: a link that leads out of {tmp_path / 'results'}, to {outside}, where nothing "
        "is written; remove it, or choose another folder with output.root=…"
    )


def test_leftovers_behind_a_link_that_leads_out_stay(tmp_path: Path) -> None:
    config, other = config_in(tmp_path / "results"), config_in(tmp_path / "outside")
    left = write_run(other) / "checkpoint.pt"
    left.touch()
    run_folder(config).parent.mkdir(parents=True)
    run_folder(config).symlink_to(left.parent)
    remove_leftovers(run_folder(config))
    assert left.exists()
    remove_leftovers(left.parent)
    assert not left.exists()


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.arrows", "layers.arrows"])
def test_each_leftover_goes_though_others_are_not_there(tmp_path: Path, name: str) -> None:
    folder = write_run(config_in(tmp_path))
    whole = set(folder.iterdir())
    (folder / name).touch()
    remove_leftovers(folder)
    assert set(folder.iterdir()) == whole
