"""normlab plot, report, compare, ls and export, of runs that are there"""

from pathlib import Path

import pytest
from pandas import read_csv

from normlab.show import PICTURES
from tests.cli.invoking import normlab
from tests.conftest import TINY
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dozen runs of convolutional nets in results/synthetic, two of MLPs beside."""
    place = tmp_path_factory.mktemp("plots")
    write_runs(12, place / "results", with_tables=True)
    for depth in (4, 6):
        made = normlab("run", *TINY, "norm=none", f"model.depth={depth}", cwd=place)
        assert made.returncode == 0, made.stderr
    return place


@pytest.mark.parametrize("name", list(PICTURES))
def test_a_picture_in_the_terminal_and_in_a_file(folder: Path, name: str) -> None:
    keys = ["model.depth", "norm"] if name == "phase" else []
    runs = {"theory": ["results/runs"], "heatmap": []}.get(name, [*keys, "results/synthetic"])
    drawn = normlab("plot", name, *runs, cwd=folder)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert 0 < max(map(len, drawn.stdout.splitlines())) <= 120
    file = normlab("plot", name, *runs, "-o", f"{name}.svg", cwd=folder)
    assert (file.returncode, file.stdout) == (0, f"written to {name}.svg\n")
    assert (folder / f"{name}.svg").read_text().startswith("<svg")


def test_what_cannot_be_drawn_is_one_line(folder: Path) -> None:
    refused = normlab("plot", "depth", "results/synthetic", "-o", "depth.gif", cwd=folder)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert ".png, .svg, .pdf, .html" in refused.stderr
    several = normlab("plot", "heatmap", "results/synthetic", cwd=folder)
    assert "a heatmap is of one run, and these are 12" in several.stderr


def test_options_of_a_picture(folder: Path) -> None:
    words = ("results/synthetic", "--x", "norm", "--metric", "test_error", "--title", "Which norm?")
    drawn = normlab("plot", "depth", *words, "--size", "900x400", "-o", "norms.svg", cwd=folder)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    picture = (folder / "norms.svg").read_text()
    assert "Which norm?" in picture
    assert "test error" in picture
    for wrong, told in (
        (("phase", "results/synthetic"), "plot phase: name 2 keys before the runs, as in"),
        (("heatmap", "--metric", "test_acc"), "plot heatmap takes none; plot curves and plot"),
        (("depth", "--size", "900", "-o", "a.svg"), "--size 900: give width and height in pixels"),
    ):
        refused = normlab("plot", *wrong, cwd=folder)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert told in refused.stderr


def test_a_report(folder: Path) -> None:
    done = normlab("report", "results/synthetic", "-o", "page.html", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("written to page.html (")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "12 runs" in page


def test_runs_are_listed_compared_and_exported(folder: Path) -> None:
    listed = normlab("ls", "--limit", "3", "--where", "norm=ln", cwd=folder)
    assert listed.returncode == 0
    assert "finished" in listed.stdout
    compared = normlab("compare", "--metric", "train_acc,test_acc", "--format", "csv", cwd=folder)
    assert {"train_acc", "test_acc"} <= set(compared.stdout.replace("\n", ",").split(","))
    exported = normlab("export", "csv", "--where", "norm=ln", cwd=folder)
    frame = read_csv(folder / "runs.csv")
    assert set(frame["norm"]) == {"ln"}
    assert exported.stdout == f"{len(frame)} runs written to runs.csv\n"


def test_folders_that_are_no_runs_are_counted_or_named(tmp_path: Path) -> None:
    write_runs(2, tmp_path / "results")
    for name in ("one", "two"):
        (tmp_path / "results" / name / "summary.json").mkdir(parents=True)
    counted = normlab("ls", cwd=tmp_path)
    assert counted.stderr == "2 folders left out as no sound run; --verbose names them\n"
    named = normlab("ls", "--verbose", cwd=tmp_path)
    assert [line.split(":")[0] for line in named.stderr.splitlines()] == [
        "results/one",
        "results/two",
    ]
