"""The installed program as a process: signals, pipes, terminals, exit codes, completion."""

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

from normlab.config import compose
from normlab.runs import is_final, run_folder
from normlab.runs.locks import RunLock
from normlab.runs.sweeping import BUSY_SECONDS
from tests.cli.invoking import UNSET
from tests.conftest import TINY, replacing
from tests.tools.processes import NEVER_SECONDS, is_gone, started, wait_for
from tests.tools.synthetic_results import write_runs

SCRIPT = Path(sys.executable).with_name("normlab")
ENDLESS = (*TINY, "training.epochs=100000", "probes.grad_norm_steps=0")
SWEEP = ("sweep", *TINY, "launcher.workers=2")
# The program, but for how long it waits for runs that it has asked to stop.
PATIENT = (
    *(sys.executable, "-c"),
    f"from normlab.runs.launchers import local; local.STOP_SECONDS = {NEVER_SECONDS}; "
    "from normlab.cli import main; main()",
)


def clean_environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in UNSET}
    return {**kept, "TERM": "xterm-256color", **changes}


def normlab(*args: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *args],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=NEVER_SECONDS,
    )


def in_terminal(
    *args: str, cwd: Path, width: int = 80, interrupt_at: str | None = None
) -> tuple[int, str]:
    """Run in a pseudo-terminal; Ctrl-C is typed once the text is on the screen."""
    child, master = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(cwd)
        program = list(map(str, PATIENT if args[0] == "sweep" else (SCRIPT,)))
        os.execve(program[0], [*program, *args], clean_environment(COLUMNS=str(width)))
    output, status = b"", None
    deadline = time.monotonic() + NEVER_SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.1)[0]:
                continue
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
            raise AssertionError("waited in vain")
        wait_for(lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        _, status = os.waitpid(child, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # it leads a session of its own
        if status is None:
            os.waitpid(child, 0)
        os.close(master)
    return os.waitstatus_to_exitcode(status), output.decode(errors="replace")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", *TINY], 0),
        (["run", "model.dept=8"], 2),
        (["no-such-command"], 2),
        (["run", *TINY, "data.size=1", "model.width=10000000"], 3),
    ],
)
def test_the_exit_code_is_the_process_own(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = normlab(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.count("\n") == (code > 0)


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = normlab("--debug", "run", "model.depth=21", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_version_and_module(tmp_path: Path) -> None:
    script = normlab("--version", cwd=tmp_path).stdout
    module = subprocess.run(
        [sys.executable, "-m", "normlab", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert script == module
    assert script.startswith("normlab 0.")


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


@pytest.mark.slow
def test_ctrl_c_in_a_sweep(tmp_path: Path) -> None:
    code, output = in_terminal(
        *replacing(
            SWEEP, "zip(seed=1,2,3; training.epochs=2,1000000,1000000)", "launcher.workers=1"
        ),
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


def heed_all_signals() -> None:
    """In a child: signals that the tests themselves were started to ignore, as nohup does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("strike", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_that_is_ended_leaves_no_worker(
    tmp_path: Path, strike: signal.Signals, code: int
) -> None:
    grid = [*PATIENT, *replacing(SWEEP, "seed=1,2", "training.epochs=1000000")]
    with started(
        grid,
        cwd=tmp_path,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_all_signals,
    ) as process:
        wait_for(lambda: len(at_work(tmp_path)) == 2)
        workers = at_work(tmp_path)
        process.send_signal(strike)
        _, errors = process.communicate(timeout=NEVER_SECONDS)
        wait_for(lambda: all(map(is_gone, workers)))
    assert process.returncode == code
    assert ("the same command goes on from here" in errors) == (strike != signal.SIGKILL)
    files = list(tmp_path.glob("results/*/*/summary.json"))
    assert [json.loads(file.read_text())["status"] for file in files] == ["interrupted"] * 2


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_sweeps_at_once_share_the_work(tmp_path: Path) -> None:
    grid = [SCRIPT, *replacing(SWEEP, "launcher.workers=1", "seed=range(6)", "training.epochs=20")]
    options = {"cwd": tmp_path, "env": clean_environment(), "stdout": subprocess.PIPE, "text": True}
    with started(grid, **options) as one, started(grid, **options) as two:
        sweeps = [one, two]
        texts = [process.communicate(timeout=NEVER_SECONDS)[0] for process in sweeps]
    assert [process.returncode for process in sweeps] == [0, 0]
    assert all("6 runs: 6 finished" in text for text in texts)
    folders = list(tmp_path.glob("results/runs/*"))
    assert len(folders) == 6
    assert all(len(list(folder.iterdir())) == 5 for folder in folders)  # nothing left behind


@pytest.mark.parametrize("width", [80, pytest.param(120, marks=pytest.mark.slow)])
def test_the_live_view(tmp_path: Path, width: int) -> None:
    code, output = in_terminal("run", *TINY, cwd=tmp_path, width=width)
    assert code == 0
    pieces = ("reading the settings", "MLP-4 bn on gaussian: loading PyTorch", "δ at step 0")
    for piece in (*pieces, "verdict", "\x1b[?25h"):
        assert piece in output
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= width


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ls"], "reading runs"),
        (["compare"], "reading runs"),
        (["show"], "reading the run"),
        ([*SWEEP, "--dry-run"], "planning"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_terminal_is_told_at_once_what_is_waited_for(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    write_runs(3, tmp_path / "results" / "mine")
    _, output = in_terminal(*arguments, cwd=tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).strip()
    assert plain[2:].startswith(text)  # behind the first of the dots
    assert output.rindex(text) < output.index("\x1b[?25h")  # and nothing of it stays
    done = normlab(*arguments, cwd=tmp_path)
    assert text not in done.stdout + done.stderr
    if arguments == ["ls"]:
        assert text not in in_terminal("ls", "--format", "json", cwd=tmp_path)[1]


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


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
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
        wait_for(lambda: at_work(tmp_path))
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
