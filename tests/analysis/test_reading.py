"""Folders are walked, damaged files named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.analysis import counts, findings, read_results, summarize
from normlab.config import compose, to_yaml
from normlab.errors import RecordError
from normlab.runs.locks import RunLock
from tests.analysis.sample import COUNT
from tests.tools.synthetic_results import write_runs

GOLDEN = Path(__file__).parents[1] / "golden"


def test_any_folder_will_do_and_none_counts_twice(many: tuple[Path, DataFrame]) -> None:
    root, frame = many
    folder = Path(frame["folder"].iloc[0])
    assert len(read_results([folder])[0]) == 1
    assert len(read_results([root / "synthetic"])[0]) == COUNT
    assert len(read_results([root, root / "synthetic", folder])[0]) == COUNT


def test_the_working_folder_names_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_runs(1, tmp_path)[0]
    for here, path in ((tmp_path, "."), (folder, "."), (folder.parent, folder.name)):
        monkeypatch.chdir(here)
        assert read_results([Path(path)])[0]["experiment"].tolist() == ["synthetic"]


def test_no_folder_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such folder"):
        read_results([tmp_path / "nowhere"])
    frame, problems = read_results([tmp_path])
    assert frame.empty
    assert problems == []
    assert {"run_id", "status", "verdict", "seed", "folder"} <= set(frame)
    assert counts(frame) == {}
    assert findings(frame) == []


BROKEN: dict[str, str | bytes] = {
    "empty": "",
    "cut": '{"status": "finished", "run',
    "list": "[1, 2]",
    "other": '{"status": "ok"}',
    "no config": '{"status": "finished", "run_id": "a", "config": [1]}',
    "no seed": '{"status": "finished", "run_id": "a", "config": {}}',
    "bytes": b"\xff\xfe\x00",
    "deep": "[" * 50_000,
    "large": '{"status": "finished", "x": "' + "y" * 100_000 + '"}',
    "text": '{"status":"finished","run_id":"a","train_acc":"high","config":{"seed":0}}',
    "bool": '{"status":"finished","run_id":"a","steps":true,"config":{"seed":0}}',
    "digits": '{"status": "finished", "run_id": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_damaged_is_skipped_and_named(tmp_path: Path, kind: str) -> None:
    write_runs(3, tmp_path)
    bad = tmp_path / "synthetic" / "bad"
    bad.mkdir()
    text = BROKEN[kind]
    (bad / "summary.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    frame, problems = read_results([tmp_path])
    assert len(frame) == 3
    assert len(problems) == 1
    assert problems[0].startswith(f"{bad}: ")
    assert "\n" not in problems[0]


@pytest.mark.parametrize("key", ["steps", "seed"])
def test_a_number_of_too_many_digits_costs_its_own_run_only(tmp_path: Path, key: str) -> None:
    folders = write_runs(3, tmp_path)
    content = json.loads((folders[1] / "summary.json").read_text())
    place = content["config"] if key == "seed" else content
    place[key] = 10**25
    (folders[1] / "summary.json").write_text(json.dumps(content))
    frame, problems = read_results([tmp_path])
    assert sorted(map(Path, frame["folder"])) == sorted([folders[0], folders[2]])
    (problem,) = problems
    assert problem.startswith(f"{folders[1]}: summary.json is damaged (")


def test_a_run_of_an_older_version_is_read() -> None:
    frame, problems = read_results([GOLDEN / "old" / "566ce0d1e1"])
    assert problems == []
    assert frame["run_id"].tolist() == ["566ce0d1e1"]
    assert frame["train_acc"].notna().all()


def test_foreign_folders_and_pipes(tmp_path: Path) -> None:
    root = tmp_path / "results"
    folder = write_runs(1, root)[0].parent
    (root / "README.md").write_text("mine")
    (root / ".hidden").mkdir()
    (folder / "pictures").mkdir()
    (folder / "pictures" / "depth.svg").write_text("mine")
    (folder / "cut").mkdir()
    (folder / "cut" / "layers.parquet").touch()
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "summary.json")
    (folder / "folder" / "summary.json").mkdir(parents=True)
    (folder / "yaml").mkdir()
    (folder / "yaml" / "config.yaml").write_text("{a: [")
    frame, problems = read_results([root])
    assert len(frame) == 1
    names = sorted(Path(problem.split(": ")[0]).name for problem in problems)
    assert names == ["cut", "folder", "pipe", "yaml"]


def test_what_the_repository_keeps_is_no_unsound_run() -> None:
    frame, problems = read_results([GOLDEN.parents[1] / "results" / "reference"])
    assert frame.empty
    assert problems == []


def test_unfinished_and_running(tmp_path: Path) -> None:
    for name, overrides in (("one", []), ("two", ["seed=1"])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(to_yaml(compose(overrides)))
    lock = RunLock(tmp_path / "two")
    try:
        frame, problems = read_results([tmp_path])
    finally:
        lock.release()
    assert problems == []
    assert frame["status"].tolist() == ["unfinished", "running"]
    assert frame["seed"].tolist() == [0, 1]
    assert counts(frame) == {"running": 1, "unfinished": 1}
    cell = summarize(frame, ["norm"], [], ["train_acc", "gradient_ratio_end"])
    assert cell["n"].tolist() == [0, 0]
    assert cell["left_out"].tolist() == [2, 2]


def test_a_summary_without_config_falls_back_to_yaml(tmp_path: Path) -> None:
    folder = write_runs(1, tmp_path)[0]
    content = json.loads((folder / "summary.json").read_text())
    config = content.pop("config")
    (folder / "summary.json").write_text(json.dumps(content))
    frame, problems = read_results([tmp_path])
    assert problems == []
    assert frame["norm"].tolist() == [config["norm"]["name"]]
    assert frame["model.depth"].tolist() == [config["model"]["depth"]]


def test_reading_needs_neither_torch_nor_scipy() -> None:
    doors = "from normlab.analysis import read_results; from normlab.show import comparison"
    code = f"import sys; {doors}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert not {"torch", "scipy", "hydra", "sklearn"} & set(loaded.split())
