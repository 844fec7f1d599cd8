"""normlab bench-diagnosis"""

import json
from pathlib import Path

import pytest

from tests.cli.invoking import normlab
from tests.conftest import TINY

ONE_WORKER = (*TINY, "launcher.workers=1", "norm=none")  # each takes seconds to start
CASES = [
    {
        "config": [*ONE_WORKER, "optimizer.lr=1e-6"],
        "cause": "rate_too_small",
        "fix": ["optimizer.lr=0.1"],
    },
    {"config": [*ONE_WORKER, "model.init_gain=0", "seed=1"], "cause": "depth"},
]


def test_cases_are_made_judged_and_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(json.dumps(CASES), encoding="utf-8")
    command = ("bench-diagnosis", "own.yaml", "--no-torchmortem")
    done = normlab(*command, cwd=tmp_path, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("as given and with the fix\n3 runs: 3 to make\n")
    assert "case 1 rate_too_small with its fix: " in done.stdout
    # The fix is the first advice, which is not made a second time.
    assert "\nwith the first advice\n2 runs: 1 to make, 1 finished before\n" in done.stdout
    assert "case 2 depth with the advice: " in done.stdout
    assert "cause named  in 1 of 2 (50.0%) that fail" in done.stdout
    assert "case 2: said zero_init, labelled depth: data=gaussian" in done.stdout
    assert "recovers 90% of what the fix brings in 1 of 1 (100.0%)" in done.stdout
    assert len(list(tmp_path.glob("results/diagnosis-own/*/summary.json"))) == 4

    again = normlab(*command, "--format", "json", cwd=tmp_path)
    assert again.stderr.count("0 to make") == 2
    found = json.loads(again.stdout)
    first, second = found["cases"]
    assert (first["said"], first["named"], first["recovers"]) == ("rate_too_small", True, True)
    assert (second["said"], second["named"], second["fixed"]) == ("zero_init", False, None)
    assert found["confusion"] == {
        "rate_too_small": {"rate_too_small": 1},
        "depth": {"zero_init": 1},
    }
    assert found["runs"] == 4
    assert 0 < found["given_seconds"] < found["seconds"]

    matrix = normlab(*command, "--no-tries", cwd=tmp_path).stdout
    assert "first try" not in matrix


def test_a_training_of_two_cases_is_made_once_and_of_no_grid(tmp_path: Path) -> None:
    twice = [CASES[0], {**CASES[0], "cause": "depth"}]
    (tmp_path / "own.yaml").write_text(json.dumps(twice), encoding="utf-8")
    done = normlab("bench-diagnosis", "own.yaml", "--no-torchmortem", cwd=tmp_path)
    assert "2 runs: 2 to make" in done.stdout
    assert "\n1 run: 0 to make, 1 finished before\n" in done.stdout
    assert "grid" not in done.stdout


def test_torchmortem_is_told_of_where_it_is_asked_for_and_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normlab.bench.autopsies.PEER", "no_such_package")
    (tmp_path / "own.yaml").write_text(json.dumps(CASES[1:]), encoding="utf-8")
    command = ("bench-diagnosis", "own.yaml", "--no-tries")
    told = "torchmortem is not installed"
    assert told in normlab(*command, "--torchmortem", cwd=tmp_path).stdout
    assert told not in normlab(*command, cwd=tmp_path).stdout


def test_what_is_no_case_ends_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("- {config: [norm=x], cause: none}", encoding="utf-8")
    done = normlab("bench-diagnosis", "own.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("normlab: own.yaml: case 1: norm=x: no such choice; choices: bn")
    assert normlab("bench-diagnosis", "none.yaml", cwd=tmp_path).returncode == 2
    assert not (tmp_path / "results").exists()
