"""normlab sweep, and what can be asked of its results"""

import json
import re
from pathlib import Path

import pytest
from pandas import read_parquet

from normlab.cli.commands import sweep as sweep_command
from normlab.errors import InterruptedRunError
from tests.cli.invoking import normlab
from tests.conftest import TINY, replacing

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
SWEEP = ("sweep", *TINY, "launcher.workers=2")


def test_a_dry_run_lists_the_runs_and_writes_nothing(tmp_path: Path) -> None:
    grid = replacing(SWEEP, "norm=none,bn", "model.depth=3,5", "seed=range(2)")
    plan = normlab(*grid, "--dry-run", cwd=tmp_path)
    told, *listed = plan.stdout.splitlines()
    assert (plan.returncode, told) == (0, "8 runs: 8 to make")
    varied = (
        {f"norm={n}", f"depth={d}", f"seed={s}"}
        for n in ("none", "bn")
        for d in (3, 5)
        for s in (0, 1)
    )
    assert sorted(map(sorted, map(str.split, listed))) == sorted(map(sorted, varied))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_sweep_then_compare_then_export(tmp_path: Path) -> None:
    grid = replacing(SWEEP, "norm=none,bn", "model.depth=3,5", "seed=range(2)")
    done = normlab(*grid, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not CONTROL.search(done.stdout)
    assert "8/8  " in done.stdout
    assert "8 runs: 8 finished" in done.stdout
    assert "files  results/runs\nnext   normlab plot gradients results/runs\n" in done.stdout
    again = normlab("run", "-m", *grid[1:], cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.startswith("8 runs: 0 to make, 8 finished before")

    rows = json.loads(normlab("compare", "--format", "json", cwd=tmp_path).stdout)
    assert len(rows) == 4
    assert {"norm", "model.depth", "metric", "mean", "low", "high", "n"} <= set(rows[0])
    summaries = [json.loads(f.read_text()) for f in tmp_path.glob("results/runs/*/summary.json")]
    for row in rows:
        cell = [
            s["train_acc"]
            for s in summaries
            if s["config"]["norm"]["name"] == row["norm"]
            and s["config"]["model"]["depth"] == row["model.depth"]
        ]
        assert row["n"] == len(cell) == 2
        assert row["mean"] == pytest.approx(sum(cell) / 2)
    assert "8 runs: 8 finished" in normlab("compare", cwd=tmp_path).stdout
    paired = normlab("compare", "--baseline", "norm=none", "--format", "json", cwd=tmp_path)
    assert [row["n"] for row in json.loads(paired.stdout)] == [2, 2]
    assert "8 runs: 8 finished" in normlab("ls", cwd=tmp_path).stdout
    assert normlab("export", "parquet", "-o", "all.parquet", cwd=tmp_path).returncode == 0
    assert len(read_parquet(tmp_path / "all.parquet")) == 8


def test_a_failed_run_makes_the_exit_code_1(tmp_path: Path) -> None:
    grid = replacing(TINY, "data.size=1", "zip(seed=1,2; model.width=8,10000000)")
    done = normlab("sweep", *grid, "launcher.workers=1", cwd=tmp_path)
    assert done.returncode == 1
    assert "out of memory" in done.stdout
    assert "2 runs: 1 finished, 1 failed" in done.stdout
    assert "1 failed" in normlab("ls", cwd=tmp_path).stdout


def test_a_sweep_says_what_it_leaves_alone(tmp_path: Path) -> None:
    assert normlab("run", *TINY, "seed=1", cwd=tmp_path).returncode == 0
    (file,) = tmp_path.glob("results/*/*/summary.json")
    summary = json.loads(file.read_text())
    file.write_text(json.dumps(summary | {"status": "failed"}))
    left = normlab("sweep", *TINY, "seed=1", "output.experiment=runs,runs", cwd=tmp_path)
    assert left.returncode == 1
    assert "1 point of the grid left out, with the same values as another" in left.stdout
    assert "1 failed before and left alone; --retry-failed makes them again" in left.stdout
    again = normlab("sweep", *TINY, "seed=1", "--retry-failed", "--dry-run", cwd=tmp_path)
    assert again.stdout.startswith("1 run: 1 to make")


@pytest.mark.slow
def test_a_failed_run_is_made_again_when_asked(tmp_path: Path) -> None:
    test_a_sweep_says_what_it_leaves_alone(tmp_path)
    again = normlab("sweep", *TINY, "seed=1", "--retry-failed", cwd=tmp_path)
    assert again.returncode == 0
    assert "1 run: 1 finished" in again.stdout


def test_a_sweep_that_is_interrupted_says_what_has_come_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    assert normlab("run", *TINY, "seed=1", cwd=tmp_path).returncode == 0
    monkeypatch.setattr("normlab.api.run_plan", interrupted)
    ended = normlab("sweep", *TINY, "seed=1,2", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (
        InterruptedRunError.exit_code,
        "normlab: interrupted; the same command goes on from here\n",
    )
    assert "1 run: 1 finished; 1 of 2 not begun" in ended.stdout
    assert "No conclusions are drawn from a part" in ended.stdout
    assert re.search(r"^MLP-4 .* 1/2$", ended.stdout, re.MULTILINE)
    for conclusion in ("gradient", "Depth", "±", "bold"):
        assert conclusion not in ended.stdout


def test_a_page_is_written_at_the_end(tmp_path: Path) -> None:
    """About the sweep's own runs only."""
    for seed in (1, 2):
        assert normlab("run", *TINY, f"seed={seed}", cwd=tmp_path).returncode == 0
    done = normlab("sweep", *TINY, "seed=1,1", "--report", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "written to page.html" in done.stdout
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    kept = [file.parent.name for file in tmp_path.glob("results/*/*/summary.json")]
    assert len(kept) == 2
    assert "1 run: 1 finished" in page
    refused = normlab("sweep", *TINY, "--report", "page.pdf", "--dry-run", cwd=tmp_path)
    assert refused.returncode == 2


def test_a_large_grid_is_refused_unless_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_command, "MOST_RUNS", 3)
    grid = ("sweep", *TINY, "seed=range(4)", "--dry-run")
    refused = normlab(*grid, cwd=tmp_path)
    assert refused.returncode == 2
    assert "has 4 runs, above 3; add --yes" in refused.stderr
    assert normlab(*grid, "--yes", cwd=tmp_path).stdout.startswith("4 runs: 4 to make")
