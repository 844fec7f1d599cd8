"""The installed console script, as a person or another program meets it."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pandas import read_parquet
from pandas.testing import assert_frame_equal

from normlab.config import compose
from normlab.runs import is_final, run_folder
from normlab.runs.locks import RunLock
from normlab.runs.sweeping import BUSY_SECONDS
from tests.conftest import TINY
from tests.tools.processes import NEVER_SECONDS, started, wait_for

SCRIPT = Path(sys.executable).with_name("normlab")
ENDLESS = (*TINY, "training.epochs=100000", "probes.grad_norm_steps=0")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def clean_environment(**changes: str) -> dict[str, str]:
    dropped = ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "NORMLAB_DATA", "TTY_COMPATIBLE")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**kept, "TERM": "xterm-256color", **changes}


def normlab(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *args],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=120,
    )


def in_terminal(
    *args: str, cwd: Path, width: int = 80, interrupt_at: str | None = None
) -> tuple[int, str]:
    """Run in a pseudo-terminal; Ctrl-C is typed once the text is on the screen."""
    child, master = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(cwd)
        os.execve(SCRIPT, [str(SCRIPT), *args], clean_environment(COLUMNS=str(width)))
    output = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # the child closed its end
                break
            if not chunk:
                break
            output += chunk
            if interrupt_at is not None and interrupt_at in output.decode(errors="replace"):
                os.write(master, b"\x03")
                interrupt_at = None
    else:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), output.decode(errors="replace")


# ------------------------------------------------------------------------------------ run


def test_run_then_show_then_run_again(tmp_path: Path) -> None:
    first = normlab("run", *TINY, cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert not CONTROL.search(first.stdout)
    assert "step      8" in first.stdout
    (summary_file,) = tmp_path.glob("results/runs/*/summary.json")
    folder = summary_file.parent.relative_to(tmp_path)
    assert str(folder) in first.stdout
    report = first.stdout[first.stdout.index("δ at step 0") :]

    shown = normlab("show", folder.name[:7], cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, report)
    assert normlab("show", str(folder), cwd=tmp_path).stdout == report

    before = summary_file.stat().st_mtime_ns
    again = normlab("run", *TINY, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.startswith("Finished before")
    assert again.stdout.endswith(report)
    assert summary_file.stat().st_mtime_ns == before

    # Made again by another process, every number is the same.
    tables = [read_parquet(summary_file.with_name(f"{n}.parquet")) for n in ("layers", "metrics")]
    forced = normlab("run", *TINY, "--force", cwd=tmp_path)
    assert forced.returncode == 0
    assert summary_file.stat().st_mtime_ns > before
    for name, table in zip(("layers", "metrics"), tables, strict=True):
        again_table = read_parquet(summary_file.with_name(f"{name}.parquet"))
        timeless = [column for column in table if column != "seconds"]
        assert_frame_equal(table[timeless], again_table[timeless], check_exact=True)


def test_json_is_one_object_and_nothing_else(tmp_path: Path) -> None:
    first = normlab("run", *TINY, "--format", "json", cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    summary = json.loads(first.stdout)
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    assert summary == json.loads(file.read_text(encoding="utf-8"))
    assert summary["status"] == "finished"
    again = normlab("run", *TINY, "--format", "json", cwd=tmp_path)
    assert again.stdout == first.stdout
    shown = normlab("show", summary["run_id"], "--format", "json", cwd=tmp_path)
    assert shown.stdout == first.stdout


def test_cfg_prints_the_config_and_writes_nothing(tmp_path: Path) -> None:
    done = normlab("run", "norm=ln", "model.depth=56", "--cfg", cwd=tmp_path)
    assert done.returncode == 0
    assert "depth: 56" in done.stdout
    assert "name: ln" in done.stdout
    assert not list(tmp_path.iterdir())


def test_diverged_is_a_result(tmp_path: Path) -> None:
    done = normlab("run", *TINY, "norm=none", "optimizer.lr=1e30", cwd=tmp_path)
    assert done.returncode == 0
    assert "verdict  diverged." in done.stdout


def test_config_dir(tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    text = "defaults:\n  - mlp\n  - _self_\nwidth: 5\n"
    (tmp_path / "own" / "model" / "mine.yaml").write_text(text, encoding="utf-8")
    done = normlab("run", "model=mine", "--config-dir", "own", "--cfg", cwd=tmp_path)
    assert done.returncode == 0
    assert "width: 5" in done.stdout


# --------------------------------------------------------------------------------- sweeps

SWEEP = ("sweep", *TINY, "launcher.workers=2")


def test_sweep_then_compare_then_export(tmp_path: Path) -> None:
    grid = (*SWEEP, "norm=none,bn", "model.depth=3,5", "seed=range(2)")
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

    done = normlab(*grid, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert not CONTROL.search(done.stdout)
    assert "8/8  " in done.stdout
    assert "8 runs: 8 finished" in done.stdout
    assert "files: results/runs" in done.stdout
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
    assert normlab("results", "export", "all.parquet", cwd=tmp_path).returncode == 0
    assert len(read_parquet(tmp_path / "all.parquet")) == 8


def test_a_failed_run_makes_the_exit_code_1(tmp_path: Path) -> None:
    done = normlab(*SWEEP, "data.size=1", "zip(seed=1,2; model.width=8,10000000)", cwd=tmp_path)
    assert done.returncode == 1
    assert "out of memory" in done.stdout
    assert "2 runs: 1 finished, 1 failed" in done.stdout
    assert "1 failed" in normlab("ls", cwd=tmp_path).stdout


def test_ctrl_c_in_a_sweep(tmp_path: Path) -> None:
    code, output = in_terminal(
        *SWEEP,
        "zip(seed=1,2,3; training.epochs=2,1000000,1000000)",
        "launcher.workers=1",
        cwd=tmp_path,
        width=100,
        interrupt_at="/4000000",  # the second run is on its way, so the first has ended
    )
    assert code == 130
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert "the same command goes on from here" in output
    assert "Traceback" not in output
    states = [
        json.loads(f.read_text())["status"] for f in tmp_path.glob("results/*/*/summary.json")
    ]
    assert sorted(states) == ["finished", "interrupted"]
    assert not list(tmp_path.glob("results/*/*/lock.json"))


def at_work(root: Path) -> list[int]:
    """The process numbers of the runs that have got past their first step."""
    locks = []
    for file in root.glob("results/*/*/lock.json"):
        with contextlib.suppress(OSError, ValueError):
            locks.append(json.loads(file.read_text()))
    return [lock["pid"] for lock in locks if lock["progress"].get("step", 0) > 0]


def is_gone(process: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("strike", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_sweep_that_is_ended_leaves_no_worker(
    tmp_path: Path, strike: signal.Signals, code: int
) -> None:
    grid = [SCRIPT, *SWEEP, "seed=1,2", "training.epochs=1000000"]
    with started(
        grid, cwd=tmp_path, env=clean_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(lambda: len(at_work(tmp_path)) == 2)
        workers = at_work(tmp_path)
        process.send_signal(strike)
        _, errors = process.communicate(timeout=NEVER_SECONDS)
    assert process.returncode == code
    assert ("the same command goes on from here" in errors) == (strike != signal.SIGKILL)
    wait_for(lambda: all(map(is_gone, workers)))
    files = list(tmp_path.glob("results/*/*/summary.json"))
    assert [json.loads(file.read_text())["status"] for file in files] == ["interrupted"] * 2


def test_a_sweep_says_what_it_leaves_alone(tmp_path: Path) -> None:
    assert normlab(*SWEEP, "seed=1", cwd=tmp_path).returncode == 0
    (file,) = tmp_path.glob("results/*/*/summary.json")
    summary = json.loads(file.read_text())
    file.write_text(json.dumps(summary | {"status": "failed"}))
    left = normlab(*SWEEP, "seed=1", "output.experiment=runs,runs", cwd=tmp_path)
    assert left.returncode == 1
    assert "1 more of the grid would be the same runs again" in left.stdout
    assert "1 failed before and left alone; --retry-failed makes them again" in left.stdout
    assert normlab(*SWEEP, "seed=1", "--retry-failed", cwd=tmp_path).returncode == 0


def test_a_sweep_waits_for_what_another_process_makes(tmp_path: Path) -> None:
    folder = run_folder(compose([*SWEEP[1:], f"output.root='{tmp_path}/results'"]))
    folder.mkdir(parents=True)
    lock = RunLock(folder)
    waiting = "waiting for 1 run that another process is making"
    with started(
        [SCRIPT, *SWEEP],
        cwd=tmp_path,
        env=clean_environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(waiting in line for line in process.stdout)
        time.sleep(2 * BUSY_SECONDS)
        assert not is_final(folder)
        lock.release()
        rest = process.stdout.read()
    assert process.returncode == 0
    assert waiting not in rest
    assert is_final(folder)


def test_two_sweeps_at_once_share_the_work(tmp_path: Path) -> None:
    grid = [SCRIPT, *SWEEP, "seed=range(6)", "training.epochs=20"]
    options = {"cwd": tmp_path, "env": clean_environment(), "stdout": subprocess.PIPE, "text": True}
    with started(grid, **options) as one, started(grid, **options) as two:
        sweeps = [one, two]
        texts = [process.communicate(timeout=NEVER_SECONDS)[0] for process in sweeps]
    assert [process.returncode for process in sweeps] == [0, 0]
    assert all("6 runs: 6 finished" in text for text in texts)
    folders = list(tmp_path.glob("results/runs/*"))
    assert len(folders) == 6
    assert all(len(list(folder.iterdir())) == 5 for folder in folders)  # nothing left behind


# ------------------------------------------------------------------------------ a terminal


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_view(tmp_path: Path, width: int) -> None:
    code, output = in_terminal("run", *TINY, cwd=tmp_path, width=width)
    assert code == 0
    for piece in ("MLP-4 bn on gaussian", "δ at step 0", "verdict", "\x1b[?25h"):
        assert piece in output
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= width


def test_ctrl_c_in_a_terminal(tmp_path: Path) -> None:
    # A snapshot well into training.
    code, output = in_terminal("run", *ENDLESS, cwd=tmp_path, interrupt_at="δ at step 352")
    assert code == 130
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    assert (
        "normlab: interrupted; the same command goes on from there; normlab show results/runs/"
        in output
    )
    assert "Traceback" not in output
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    assert json.loads(file.read_text(encoding="utf-8"))["status"] == "interrupted"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_without_a_terminal(tmp_path: Path, times: int) -> None:
    """An impatient second one costs nothing of what the first one keeps."""
    with started(
        [SCRIPT, "run", *ENDLESS],
        cwd=tmp_path,
        env=clean_environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("step"):
                break
        time.sleep(1)  # into training
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == 130
    assert errors.count("\n") == 1
    assert errors.startswith(
        "normlab: interrupted; the same command goes on from there; normlab show"
    )
    shown = normlab("show", cwd=tmp_path)
    assert shown.returncode == 0
    assert "verdict  interrupted. Stopped at step" in shown.stdout


def test_a_reader_that_has_read_enough_does_not_stop_the_run(tmp_path: Path) -> None:
    """`normlab run | head -1`"""
    with started(
        [SCRIPT, "run", *TINY, "training.epochs=30"],
        cwd=tmp_path,
        env=clean_environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    (file,) = tmp_path.glob("results/runs/*/summary.json")
    assert json.loads(file.read_text(encoding="utf-8"))["status"] == "finished"


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "model.dept=8"], 2, "model.dept=8: no such key; did you mean model.depth?"),
        (["run", "model.depth=21"], 2, "nearest are 20 and 26"),
        (["run", "norm=none,bn"], 2, "one run takes one value"),
        (["run", "--no-such-option"], 2, "No such option"),
        (["run", "--format", "xml"], 2, "xml"),
        (["run", "--config-dir", "nowhere"], 2, "--config-dir=nowhere: no such folder"),
        (["run", *TINY, "runtime.device=cuda:77"], 2, "no such device here"),
        (["run", "data=mnist", "data.root=nowhere"], 2, "data.root=nowhere"),
        (["run", *TINY, "output.root=file"], 2, "cannot be written"),
        (["show", "zzz"], 2, "zzz: no such run"),
        (["sweep", "seed=range(10001)"], 2, "has 10,001 runs, above 10,000; add --yes"),
        (["sweep", "model.depth=8,21", "seed=range(3)"], 2, "run 4 of 6 (model.depth=21 seed=0)"),
        (["sweep", "seed=range(0)"], 2, "no value"),
        (["run", "-m", "seed=1,2", "--format", "json"], 2, "--format json: of one run"),
        (["run", "-m", "seed=1,2", "--cfg"], 2, "--cfg: of one run"),
        (["sweep", "modle=cnn,mlp"], 2, "did you mean model?"),
        (["compare", "nowhere"], 2, "nowhere"),
        (["results", "export", "runs.xml"], 2, "results"),
        (["show"], 2, "no run is here yet"),
        (["no-such-command"], 2, "No such command"),
        (["run", *TINY, "data.size=1", "model.width=10000000"], 3, "out of memory"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "file").write_text("")
    done = normlab(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    # What failed while running is kept as a run; what cannot begin is none.
    assert bool(list(tmp_path.glob("**/summary.json"))) == (code == 3)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = normlab("--debug", "run", "model.depth=21", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


# ------------------------------------------------------------------------- help, info, shell


@pytest.mark.parametrize("command", [[], ["--help"], ["run", "-h"], ["show", "--help"]])
def test_help(tmp_path: Path, command: list[str]) -> None:
    done = normlab(*command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: normlab" in done.stdout
    if command[:1] in (["run"], ["show"]):
        assert f"normlab {command[0]} " in done.stdout.split("Examples")[1]


def test_version_and_module(tmp_path: Path) -> None:
    script = normlab("--version", cwd=tmp_path).stdout
    module = subprocess.run(
        [sys.executable, "-m", "normlab", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert script == module
    assert script.startswith("normlab 0.")


def test_info(tmp_path: Path) -> None:
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "data" / "mnist" / f"{part}-ubyte.gz").touch()
    facts = json.loads(
        normlab(
            "info", "--format", "json", cwd=tmp_path, NORMLAB_DATA=str(tmp_path / "data")
        ).stdout
    )
    assert facts["data"]["mnist"] == str(tmp_path / "data" / "mnist")
    assert facts["data"]["digits"].endswith(".gz")
    assert "cpu" in facts["devices"]
    plain = normlab("info", cwd=tmp_path)
    assert plain.returncode == 0
    assert "data=digits" in plain.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("normlab run norm = b", "bn"),  # bash splits at the equals sign
        ("normlab run mod", "model="),
        ("normlab run model.activation = ta", "tanh"),
    ],
)
def test_bash_completion(tmp_path: Path, line: str, expected: str) -> None:
    words = line.split()
    done = normlab(
        cwd=tmp_path,
        COMP_WORDS="\n".join(words),
        COMP_CWORD=str(len(words) - 1),
        _NORMLAB_COMPLETE="complete_bash",
    )
    assert expected in done.stdout.split()
