"""Data of a person's own from the command line: run, moved, changed, gone."""

import json
import shutil
from pathlib import Path

import numpy as np

from normlab.config import compose_grids, grids
from normlab.runs import labels
from tests.cli.invoking import normlab
from tests.data.own_sets import arrays, npz

WORDS = (
    *("model=mlp", "model.depth=2", "model.width=4", "norm=none", "training.epochs=1"),
    *("training.batch_size=4", "probes.batch_size=4", "data=npz"),
)


def run_ids(root: Path) -> set[str]:
    return {folder.name for folder in root.glob("results/runs/*")}


def test_one_run_wherever_its_data_lie_and_another_of_other_data(tmp_path: Path) -> None:
    npz(tmp_path / "mine.npz")
    first = normlab("run", *WORDS, "data.file=mine.npz", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert "MLP-2 without norm on mine" in first.stdout
    (tmp_path / "sub").mkdir()
    shutil.move(tmp_path / "mine.npz", tmp_path / "sub/moved.npz")
    again = normlab("run", *WORDS, "data.file=../sub/moved.npz", cwd=tmp_path / "sub")
    assert len(run_ids(tmp_path / "sub")) == 1  # of another results folder
    assert run_ids(tmp_path / "sub") == run_ids(tmp_path)
    assert again.returncode == 0
    there = normlab("run", *WORDS, "data.file=sub/moved.npz", cwd=tmp_path)
    assert there.stdout.startswith("Finished before")
    assert there.stderr == ""
    npz(tmp_path / "other.npz", **arrays(seed=5))
    assert normlab("run", *WORDS, "data.file=other.npz", cwd=tmp_path).returncode == 0
    assert len(run_ids(tmp_path)) == 2

    # What was made is read without the data.
    for file in (*tmp_path.glob("*.npz"), *tmp_path.glob("sub/*.npz")):
        file.unlink()
    assert "2 runs: 2 finished" in normlab("ls", cwd=tmp_path).stdout
    assert "without norm on other" in normlab("show", cwd=tmp_path).stdout
    compared = normlab("compare", "--format", "md", cwd=tmp_path)
    assert "| mine-" in compared.stdout
    assert "| other-" in compared.stdout
    assert "data_sha256" not in compared.stdout + compared.stderr
    gone = normlab("run", *WORDS, "data.file=other.npz", cwd=tmp_path)
    assert (gone.returncode, gone.stdout) == (2, "")
    assert gone.stderr == (
        f"normlab: {tmp_path}/other.npz: cannot be read (No such file or directory); must be a "
        "file you may read\n"
    )


def test_errors_before_anything_is_written(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=np.zeros((4, 2, 2)))
    for words, line in (
        ((), "data.file=null: where the data lie; add data.file=FILE.npz"),
        (
            ("data.file=a.npz",),
            f"{tmp_path}/a.npz: has no train_labels or y_train; the arrays of the file: "
            "train_images",
        ),
        (
            ("data.file=a.npz", "data.sha256=12"),
            "data.sha256=12: must be text; put it in quotes, as in 'key=\"123\"'",
        ),
        (
            ("data.file=a.npz", "data.label_noise=2"),
            "data.label_noise=2: must be at most 1.0",
        ),
        (
            ("data.file=a.npz", "data.test_share=1"),
            "data.test_share=1: must be below 1.0",
        ),
    ):
        done = normlab("run", *WORDS, *words, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"normlab: {line}\n")
        assert normlab("sweep", *WORDS, *words, cwd=tmp_path).stderr == f"normlab: {line}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_json_answer_says_what_the_data_hold(tmp_path: Path) -> None:
    npz(tmp_path / "mine.npz")
    words = (*WORDS, "data.file=mine.npz", "data.label_noise=1", "--format", "json")
    made = json.loads(normlab("run", *words, cwd=tmp_path).stdout)
    assert made["config"]["data"]["file"] == str(tmp_path / "mine.npz")
    assert len(made["config"]["data"]["sha256"]) == 16
    assert made["data_sha256"] == made["config"]["data"]["sha256"]


def test_runs_of_a_sweep_are_known_by_the_names_of_their_files(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        npz(tmp_path / f"{name}.npz", **arrays(seed=number))
    files = ",".join(f"'{tmp_path}/{name}.npz'" for name in "ab")
    configs = list(compose_grids(grids([*WORDS, f"data.file={files}"])))
    assert set(labels(configs).values()) == {"file=a", "file=b"}
