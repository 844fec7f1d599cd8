"""normlab compare, and which runs it and its like speak of where none are named"""

import json
import os
from pathlib import Path

import pytest

from tests.cli.invoking import normlab
from tests.tools.synthetic_results import write_runs

CHOICE = (
    "of results/synthetic, the latest of 2 experiments; name its folder for another, results for "
    "all of them\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two experiments, of which the one whose files seem the older started last."""
    place = tmp_path_factory.mktemp("two")
    (place / "results" / "reference").mkdir(parents=True)
    for name, started in (("synthetic", "2026-02-01"), ("another", "2026-01-01")):
        for run in write_runs(80, place / "results", name, with_tables=True):
            environment = {"command": [], "started": f"{started}T00:00:00+00:00"}
            (run / "environment.json").write_text(json.dumps(environment))
            seconds = {"synthetic": 1_000_000, "another": 2_000_000}[name]
            for file in (*run.iterdir(), run):
                os.utime(file, (seconds, seconds))
    return place


@pytest.mark.parametrize(
    "words", [("compare",), ("compare", "--baseline", "norm=none"), ("plot", "depth")]
)
def test_without_folders_it_is_of_the_experiment_made_last(
    folder: Path, words: tuple[str, ...]
) -> None:
    answer = normlab(*words, cwd=folder)
    named = normlab(*words, "results/synthetic", cwd=folder)
    assert (answer.returncode, answer.stderr) == (0, CHOICE)
    assert answer.stdout == named.stdout != ""
    assert named.stderr == ""


def test_a_report_too(folder: Path) -> None:
    answer = normlab("report", cwd=folder)
    assert (answer.returncode, answer.stderr) == (0, CHOICE)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "normlab compare results/synthetic" in page
    assert "80 runs: 80 finished" in page


def test_a_condition_may_name_the_experiment_and_a_folder_all_of_them(folder: Path) -> None:
    answer = normlab("compare", "--where", "experiment=another", cwd=folder)
    assert answer.stderr == ""
    assert "80 runs: 80 finished" in answer.stdout
    both = normlab("compare", "results", cwd=folder)
    assert both.stderr == ""
    assert "160 runs: 160 finished; 80 in several folders, counted once" in both.stdout


def test_one_experiment_needs_no_word(folder: Path) -> None:
    for place in ("results/another", "results/synthetic"):
        assert normlab("ls", place, cwd=folder).stderr == ""
    (folder / "alone").mkdir()
    (folder / "alone" / "results").symlink_to(folder / "results" / "another")
    answer = normlab("compare", cwd=folder / "alone")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_any_number_of_columns_will_do(folder: Path) -> None:
    words = ("compare", "results/synthetic", "--rows", "norm,model.residual,optimizer.lr,data")
    wide = normlab(*words, cwd=folder).stdout
    for columns in ("0", "none"):
        assert normlab(*words, cwd=folder, COLUMNS=columns).stdout == wide
    narrow = normlab(*words, cwd=folder, COLUMNS="40").stdout
    assert max(map(len, narrow.splitlines())) <= 40
    assert narrow.count("data digits") == 4 * wide.count("digits")  # a table a depth
    for depth in (8, 20, 56, 110):
        assert f"depth {depth}" in narrow


def test_what_a_table_for_programs_cannot_say_is_said_beside_it(folder: Path) -> None:
    words = ("compare", "results/synthetic", "--rows", "norm", "--cols", "model.depth")
    answer = normlab(*words, "--format", "csv", cwd=folder)
    assert answer.stderr == (
        "runs that differ in model.residual, optimizer.lr share a cell; name it in --rows\n"
    )
    assert len(answer.stdout.splitlines()) == 1 + 3 * 4
    assert normlab(*words, "--format", "md", cwd=folder).stderr == ""
