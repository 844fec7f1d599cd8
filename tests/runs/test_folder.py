import json
import os
from pathlib import Path

import pytest
import torch

from normlab.config import run_id
from normlab.errors import RecordError
from normlab.runs import (
    CHECKPOINT_FILE,
    LOCK_FILE,
    is_final,
    read_run,
    read_summary,
    read_weights,
    remove_leftovers,
    run_folder,
    sweep,
)
from normlab.runs.locks import RunLock, machine
from tests.runs.support import config_in, make, planned, write_run


def test_the_folder_holds_the_named_files_and_nothing_else(tmp_path: Path) -> None:
    config = config_in(tmp_path, "output.experiment=my experiment")
    folder = write_run(config)
    assert folder == tmp_path / "my experiment" / run_id(config)
    assert sorted(file.name for file in folder.iterdir()) == [
        "config.yaml",
        "environment.json",
        "layers.parquet",
        "metrics.parquet",
        "summary.json",
    ]


@pytest.mark.parametrize(
    ("status", "final"),
    [("finished", True), ("diverged", True), ("failed", False), ("interrupted", False)],
)
def test_what_need_not_run_again(tmp_path: Path, status: str, final: bool) -> None:
    assert is_final(write_run(config_in(tmp_path), status)) is final


@pytest.mark.parametrize("name", ["config.yaml", "environment.json", "summary.json"])
@pytest.mark.parametrize(
    "content", [b"", b"[1, 2]", b"{", b"\xff\xfe\x00", b"null", b'{"status": 1}']
)
def test_damaged_text_files(tmp_path: Path, name: str, content: bytes) -> None:
    folder = write_run(config_in(tmp_path))
    (folder / name).write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    if name == "summary.json":
        assert read_summary(folder) is None


@pytest.mark.parametrize("name", ["metrics.parquet", "layers.parquet"])
def test_damaged_tables(tmp_path: Path, name: str) -> None:
    folder = write_run(config_in(tmp_path))
    content = (folder / name).read_bytes()
    for damaged in (b"", content[:50], content[:-20], os.urandom(200)):
        (folder / name).write_bytes(damaged)
        with pytest.raises(RecordError, match=f"{name}: damaged"):
            read_run(folder)
    (folder / name).unlink()
    with pytest.raises(RecordError, match=f"{name} is missing"):
        read_run(folder)


def test_a_foreign_table(tmp_path: Path) -> None:
    folder = write_run(config_in(tmp_path))
    (folder / "layers.parquet").write_bytes((folder / "metrics.parquet").read_bytes())
    with pytest.raises(RecordError, match="lacks layer, name, kind"):
        read_run(folder)


class Hostile:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_weights_are_read_without_what_else_a_pickle_can_do(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"weights\.pt is missing"):
        read_weights(tmp_path)
    torch.save({"w": torch.ones(2)}, tmp_path / "weights.pt")
    assert read_weights(tmp_path)["w"].tolist() == [1, 1]
    torch.save({"w": Hostile(tmp_path / "executed")}, tmp_path / "weights.pt")
    with pytest.raises(RecordError, match=r"weights\.pt: damaged"):
        read_weights(tmp_path)
    assert not (tmp_path / "executed").exists()


# -------------------------------------------------------------------------------- leftovers


def test_what_a_process_left_that_was_killed_after_its_summary_goes_with_the_next(tmp_path):
    config = config_in(tmp_path)
    make(config)
    folder = run_folder(config)
    whole = sorted(p.name for p in folder.iterdir())

    def killed_late():
        (folder / CHECKPOINT_FILE).touch()
        content = {"token": "dead", "machine": machine(), "pid": 2**22 + 1, "progress": {}}
        (folder / LOCK_FILE).write_text(json.dumps(content))

    def killed_while_it_asked():
        (folder / f".{LOCK_FILE}.0123abcd.tmp").touch()

    killed_late()
    remove_leftovers(folder)
    assert sorted(p.name for p in folder.iterdir()) == whole
    killed_while_it_asked()
    remove_leftovers(folder)
    assert sorted(p.name for p in folder.iterdir()) == whole
    killed_late()
    again = planned(tmp_path)
    assert again.pending == ()
    assert list(sweep(again)) == []
    assert sorted(p.name for p in folder.iterdir()) == whole
    # An unfinished run's checkpoint is what it goes on from; a live process sees to its own.
    killed_late()
    (folder / LOCK_FILE).unlink()
    lock = RunLock(folder)
    remove_leftovers(folder)
    assert (folder / CHECKPOINT_FILE).exists()
    lock.release()
    (folder / "summary.json").unlink()
    remove_leftovers(folder)
    assert (folder / CHECKPOINT_FILE).exists()


def test_a_folder_that_may_not_be_looked_into_stays_as_it_is(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    remove_leftovers(tmp_path)
