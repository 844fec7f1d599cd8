"""normlab doctor and normlab run --doctor"""

import json
from pathlib import Path

from normlab.api import run_to_try
from tests.cli.invoking import normlab
from tests.conftest import TINY
from tests.runs.support import config_in, write_run

# Of trials that one worker makes: each takes seconds to start.
SLOW_RATE = (*TINY, "launcher.workers=1", "norm=none", "optimizer.lr=1e-6")


def test_advice_is_tried_once_and_what_it_brought_is_told(tmp_path: Path) -> None:
    done = normlab("run", *SLOW_RATE, "--doctor", cwd=tmp_path, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert "verdict  undertrained" in done.stdout
    assert "2 runs: 2 to make" in done.stdout
    (given,) = tmp_path.glob("results/runs/*")
    trials = list(tmp_path.glob("results/doctor/*/summary.json"))
    assert len(trials) == 2
    table = done.stdout[done.stdout.index(f"{given.name}, MLP-4") :]
    assert max(map(len, table.split("next ")[0].splitlines())) <= 80
    assert table.splitlines()[4].startswith("as given")
    assert "rate_too_small" in table.splitlines()[4]
    assert " best 0." in table
    assert table.count("best") == 1
    advised = json.loads((given / "summary.json").read_text())["try"]
    command = table.splitlines()[-1]
    kept = [word for word in SLOW_RATE if not word.startswith("optimizer.lr")]
    assert command.split()[:-1] == ["next", "normlab", "run", *kept]
    assert command.split()[-1] in advised

    # The latest run is still the one to which it belongs; nothing is made again.
    before = {file: file.stat().st_mtime_ns for file in trials}
    again = normlab("doctor", cwd=tmp_path, COLUMNS="80")
    assert again.stdout == f"2 runs: 0 to make, 2 finished before\n\n{table}"
    assert before == {file: file.stat().st_mtime_ns for file in trials}

    found = json.loads(normlab("doctor", given.name, "--format", "json", cwd=tmp_path).stdout)
    assert (found["run"], found["cause"]) == (given.name, "rate_too_small")
    assert f"next   {found['next']}" == command
    rows = found["trials"]
    assert [row["advice"] for row in rows] == [None, *advised]
    assert rows[0]["cause"] == "rate_too_small"
    assert [row["best"] for row in rows].count(True) == 1


def test_trials_of_other_steps_begin_with_the_given_settings(tmp_path: Path) -> None:
    assert normlab("run", *SLOW_RATE, cwd=tmp_path).returncode == 0
    done = normlab("doctor", "--steps", "3", "--format", "json", cwd=tmp_path)
    assert done.returncode == 0
    assert "3 runs: 3 to make" in done.stderr
    rows = json.loads(done.stdout)["trials"]
    assert [row["steps"] for row in rows] == [3, 3, 3]
    assert rows[0]["advice"] is None


def test_where_nothing_is_to_be_tried_a_line_says_so(tmp_path: Path) -> None:
    assert normlab("run", *SLOW_RATE, cwd=tmp_path).returncode == 0
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "cause": None, "try": []}))
    done = normlab("doctor", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{told['run_id']}, {told['name']}: no cause was recorded, as the run was made by an older "
        "version; normlab run … --force makes it again\n"
    )
    file.write_text(json.dumps({**told, "cause": "none"}))
    done = normlab("doctor", "--format", "json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (done.returncode, found["trials"], found["next"]) == (0, [], None)
    assert "nothing is wrong with it" in found["sentence"] in done.stderr.replace("\n", "")
    assert not (tmp_path / "results" / "doctor").exists()


def test_the_latest_run_is_no_trial_and_none_of_a_benchmark(tmp_path: Path) -> None:
    given = write_run(config_in(tmp_path, "seed=1"))
    for experiment in ("doctor", "diagnosis-own"):
        write_run(config_in(tmp_path, "seed=2", f"output.experiment={experiment}"))
    assert run_to_try(root=tmp_path).folder == given
    own = write_run(config_in(tmp_path, "seed=3", "output.experiment=own-diagnosis"))
    assert run_to_try(root=tmp_path).folder == own


def test_no_such_run(tmp_path: Path) -> None:
    done = normlab("doctor", "abc", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("normlab: abc: no such run")
    assert normlab("doctor", cwd=tmp_path).stderr.endswith("normlab run makes one\n")


def test_it_is_of_one_run_that_is_made(tmp_path: Path) -> None:
    for option in ("-m", "--cfg"):
        done = normlab("run", *TINY, "--doctor", option, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (
            *(2, "normlab: --doctor: of one run that is made; leave out -m and --cfg\n"),
        )
