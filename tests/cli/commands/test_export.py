"""normlab export, and what has become of normlab results export"""

import json
from pathlib import Path

import pytest
from pandas import read_csv, read_parquet

from tests.cli.invoking import normlab
from tests.tools.synthetic_results import write_runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a dozen runs in results/synthetic."""
    write_runs(12, tmp_path / "results", with_tables=True)
    return tmp_path


def test_tables_and_lines_go_into_the_current_folder(folder: Path) -> None:
    for words, told in (
        (("csv",), "12 runs written to runs.csv\n"),
        (("csv", "results/synthetic", "--steps"), "rows of 12 runs written to steps.csv\n"),
        (("parquet", "--layers"), "rows of 12 runs written to layers.parquet\n"),
        (("jsonl",), "lines of 12 runs written to runs.jsonl\n"),
        (("csv", "-o", "ln.csv", "--where", "norm=ln"), "runs written to ln.csv\n"),
    ):
        done = normlab("export", *words, cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(told)
    assert len(read_csv(folder / "runs.csv")) == 12
    assert set(read_csv(folder / "ln.csv")["norm"]) == {"ln"}
    assert "layer" in read_parquet(folder / "layers.parquet")
    lines = (folder / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum(json.loads(line)["event"] == "started" for line in lines) == 12


def test_a_tracker_says_how_to_look_at_it(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    done = normlab("export", "tensorboard", "-o", "my runs", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        "values of 12 runs written to my runs\nnext  tensorboard --logdir 'my runs'\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export", "xlsx"), "'xlsx' is not one of 'csv', 'parquet', 'jsonl', 'tensorboard'"),
        (("export", "csv", "--steps", "--layers"), "--layers: comes without --steps"),
        (("export", "jsonl", "--steps"), "--steps: of csv and parquet"),
        (("export", "csv", "nowhere"), "nowhere: no such folder"),
        (("export", "csv", "-o", "none/a.csv"), "there is no folder none"),
        (
            ("results", "export", "my runs.parquet", "results/q", "--layers"),
            "has become normlab export parquet results/q -o 'my runs.parquet' --layers",
        ),
        (
            ("results", "export", "bn.csv", "results/q", "--where", "norm=bn"),
            "has become normlab export csv results/q -o bn.csv --where norm=bn",
        ),
        (("results",), "has become normlab export csv -o FILE.csv"),
    ],
)
def test_what_cannot_be_is_one_line(folder: Path, words: tuple[str, ...], told: str) -> None:
    refused = normlab(*words, cwd=folder)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    assert told in refused.stderr
