"""Faults made for real: each ends in one clear line, and leaves every other file as it was.

What happens, fault by fault, is told by `normlab explain faults`.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from normlab.analysis import read_results
from normlab.config import compose
from normlab.errors import BusyError, ConfigError, RecordError
from normlab.runs import execution as runs
from normlab.runs import is_final, locks, read_run, read_summary, run_folder
from normlab.training import Measurement, Started
from tests.cli import invoking
from tests.conftest import TINY
from tests.runs.support import config_in
from tests.tools.processes import NEVER_SECONDS
from tests.tools.synthetic_results import write_runs

# Nobody, whom permissions bind, which they do not bind root.
NOBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def slow(value):
    """A case that CI alone runs."""
    return pytest.param(value, marks=pytest.mark.slow)


def normlab(*words, cwd, **options):
    done = subprocess.run(
        [sys.executable, "-m", "normlab", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=NEVER_SECONDS,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def in_process(cwd, *words):
    """The command line's exit code and what it printed, in this process."""
    done = invoking.normlab(*words, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def is_one_line(err):
    return err.startswith("normlab: ") and err.count("\n") == 1 and "Traceback" not in err


@pytest.fixture
def place():
    """A folder that anybody may look into, as tmp_path is not."""
    look = [sys.executable, "-c", "import normlab"]
    try:
        subprocess.run(look, check=True, capture_output=True, **NOBODY)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root, whom no permission binds, and nobody else may run this Python")
    folder = Path(tempfile.mkdtemp(prefix="normlab-faults-"))
    folder.chmod(0o777)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)
    shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------ files and disks


@pytest.mark.slow
@pytest.mark.parametrize("size", [500, 20_000, 100_000])
def test_a_full_disk(tmp_path, size):
    """A limit on the size of files fails as a full disk does, in the middle of a write."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    overrides = [*TINY, "model.depth=60", "output.root=cut", "output.weights=true"]
    code, _, err = normlab("run", *overrides, cwd=tmp_path, preexec_fn=limit)
    assert code == RecordError.exit_code, err
    assert is_one_line(err)
    assert "cannot be written (" in err
    assert "File too large" in err
    (folder,) = (tmp_path / "cut" / "runs").iterdir()
    assert not is_final(folder)
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*"))
    for table in folder.glob("*.parquet"):
        assert table.stat().st_size < size
    assert in_process(tmp_path, "run", *overrides)[0] == 0
    assert read_run(folder).summary.status == "finished"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=False)


@pytest.mark.parametrize("left", [slow(0), slow(4096), 40_960, slow(150_000)])
def test_a_real_full_disk(small_disk, tmp_path, left):
    """With so many bytes left: a run that was finished stays whole, and room lets it go on."""
    words = [*TINY, f"output.root={small_disk}", "output.weights=true", "model.depth=60"]
    assert in_process(tmp_path, "run", *words, "seed=1")[0] == 0
    (done,) = (small_disk / "runs").iterdir()
    before = {file.name: file.read_bytes() for file in done.iterdir()}
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - left)
    code, _, err = in_process(tmp_path, "run", *words)
    assert code == RecordError.exit_code, err
    assert is_one_line(err)
    assert "cannot be written (No space left on device)" in err
    assert {file.name: file.read_bytes() for file in done.iterdir()} == before
    folder = run_folder(compose(words))
    assert not is_final(folder)
    assert not list(small_disk.rglob("*.tmp"))
    assert not list(small_disk.rglob("lock.json"))
    ballast.unlink()
    assert in_process(tmp_path, "run", *words)[0] == 0
    assert read_run(folder).summary.status == "finished"


def test_a_folder_without_permission(place):
    closed = place / "closed"
    closed.mkdir(mode=0o555)
    code, _, err = normlab("run", *TINY, f"output.root={closed}", cwd=place, **NOBODY)
    assert code == RecordError.exit_code
    assert is_one_line(err)
    assert "Permission denied" in err
    assert "output.root=" in err
    assert list(closed.iterdir()) == []


PERMISSION_LOST = """
import os, sys
from normlab.config import compose
from normlab.errors import NormlabError
from normlab.runs import execute, run_folder
from normlab.training import Started
config = compose(sys.argv[1:])
try:
    for event in execute(config):
        if isinstance(event, Started):
            run_folder(config).chmod(0o555)
except NormlabError as error:
    sys.exit(f"{error}")
"""


def test_permission_that_is_lost_while_a_run_goes_on(place):
    words = [*TINY, f"output.root={place}/r"]
    done = subprocess.run(
        [sys.executable, "-c", PERMISSION_LOST, *words],
        cwd=place, capture_output=True, text=True, timeout=NEVER_SECONDS, **NOBODY,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written (Permission denied)" in done.stderr.splitlines()[-1]
    folder = run_folder(compose(words))
    assert not is_final(folder)
    assert not list(folder.glob("*.parquet"))


def test_a_folder_that_is_deleted_under_a_run(tmp_path):
    config = config_in(tmp_path)
    with pytest.raises(RecordError, match="took this run over, or deleted it") as caught:  # noqa: PT012
        for event in runs.execute(config):
            if isinstance(event, Measurement):
                shutil.rmtree(run_folder(config), ignore_errors=True)
    assert "\n" not in str(caught.value)
    assert not run_folder(config).exists()


@pytest.mark.slow
def test_out_of_memory_in_the_process(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))

    words = [*TINY, "model.width=100000"]
    code, _, err = normlab("run", *words, cwd=tmp_path, preexec_fn=limit)
    assert code == 3
    assert is_one_line(err)
    assert "out of memory with training.batch_size=16, probes.batch_size=8, model.width=1000" in err
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    summary = read_summary(folder)
    assert summary.status == "failed"
    assert "out of memory" in summary.reason


# -------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_was_set(tmp_path, hours):
    """A dead holder on another machine, whose last beat lies hours off by today's clock."""
    file = tmp_path / locks.LOCK_FILE
    file.write_text(json.dumps({"token": "t", "machine": "elsewhere", "pid": 1}))
    then = time.time() + 3600 * hours
    os.utime(file, (then, then))
    lock = locks.RunLock(tmp_path)
    assert not lock.lost
    lock.release()


def test_a_clock_that_was_set_under_a_live_holder(tmp_path, monkeypatch):
    """Its next beat is of the new time, so that it keeps what it holds."""
    lock = locks.RunLock(tmp_path)
    then = time.time() + 3600
    os.utime(lock.path, (then, then))
    monkeypatch.setattr(locks, "machine", lambda: "elsewhere")
    assert not locks.is_expired(tmp_path, locks.read_lock(tmp_path))
    with pytest.raises(BusyError):
        locks.RunLock(tmp_path)
    assert not lock.lost
    lock.release()


def test_a_run_measures_time_by_no_clock_that_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    *_, last = runs.execute(config_in(tmp_path))
    assert last.summary.seconds > 0


# ------------------------------------------------------------------------ names and places


@pytest.mark.parametrize(
    "name", ["../up", "..", "a/b", "/tmp/x", ".", "a\nb", "x" * 300, "a\0b", "", "~"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    quoted = json.dumps(name)
    code, _, err = in_process(tmp_path, "run", *TINY, f"output.experiment={quoted}")
    if name == "~":  # a name like any other
        assert code == 0
        assert [p.name for p in (tmp_path / "results").iterdir()] == ["~"]
        return
    assert code == 2
    assert is_one_line(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["zwei Wörter", "实验", "x" * 100, "[red]", "é" * 40])
def test_names_of_any_letters_work(tmp_path, name):
    code, _, err = in_process(tmp_path, "run", *TINY, f"output.experiment='{name}'")
    assert (code, err) == (0, "")
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name == name
    assert read_results([tmp_path])[0]["experiment"].tolist() == [name]
    assert in_process(tmp_path, "ls")[0] == 0


# ----------------------------------------------------------------- older and damaged folders


def test_runs_of_an_older_version_are_told_or_read(tmp_path):
    """Tables are read from whatever is there; `show`, which needs all, says what is wrong."""
    good, keyless, bare = write_runs(3, tmp_path, with_tables=True)
    config = (good / "config.yaml").read_text()
    assert "  checkpoint_seconds: 60.0\n" in config  # where a run executes, and how
    (good / "config.yaml").write_text(config.replace("  checkpoint_seconds: 60.0\n", ""))
    assert in_process(tmp_path, "show", str(good))[0] == 0
    config = (keyless / "config.yaml").read_text()
    (keyless / "config.yaml").write_text(config.replace("  subset: balanced\n", ""))
    summary = json.loads((bare / "summary.json").read_text())
    del summary["config"]
    (bare / "summary.json").write_text(json.dumps(summary))
    frame, problems = read_results([tmp_path])
    assert set(frame["run_id"]) == {good.name, keyless.name, bare.name}
    assert problems == []
    code, _, err = in_process(tmp_path, "show", str(keyless))
    assert code in (2, 3)
    assert is_one_line(err)
    assert "data.subset" in err
    assert in_process(tmp_path, "compare", str(tmp_path))[0] == 0


DAMAGES = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "noise": lambda file: file.write_bytes(bytes(range(256)) * 20),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "gone": lambda file: file.unlink(),
    "a list": lambda file: file.write_text("[1, 2]"),
    "nested": lambda file: file.write_text("[" * 100_000),
}
FILES = ("summary.json", "config.yaml", "environment.json", "metrics.parquet", "layers.parquet")


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    for seed in (0, 1):
        list(runs.execute(config_in(root, f"seed={seed}")))
    return root


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "damage", [name if name == "truncated" else slow(name) for name in sorted(DAMAGES)]
)
def test_damaged_runs_are_told_in_a_line_or_left_out(two_runs, tmp_path, file, damage):
    root = tmp_path / "results"
    shutil.copytree(two_runs, root)
    folder = sorted((root / "runs").iterdir())[0]
    DAMAGES[damage](folder / file)
    commands = [
        ["show", str(folder)],
        ["compare", str(root), "--verbose"],
        ["ls", str(root)],
        *(["plot", name, str(root)] for name in ("gradients", "curves", "depth")),
        ["plot", "heatmap", str(folder)],
        ["report", str(root), "-o", str(tmp_path / "page.html")],
        ["export", "csv", str(root), "-o", str(tmp_path / "all.csv")],
    ]
    for words in commands:
        code, _, err = in_process(tmp_path, *words)
        assert code in (0, 2, 3), words
        assert "Traceback" not in err
        assert code == 0 or is_one_line(err), (words, err)
    left = {p.name for p in tmp_path.iterdir()}
    assert left <= {"results", "page.html", "all.csv"}


# ------------------------------------------------------------------------------- extremes


WORKS = {
    "depth 1": ["model.depth=1"],
    "width 1": ["model.width=1"],
    "a learning rate of 0": ["optimizer.lr=0"],
    "0 epochs": ["training.epochs=0"],
    "batch 1, no norm": ["norm=none", "training.batch_size=1"],
    "batch 1, LayerNorm": ["norm=ln", "training.batch_size=1"],
    "batch 1, BatchNorm over a CNN's pixels": [
        *("model=cnn", "model.depth=8", "data.size=8", "norm=bn", "training.batch_size=1"),
    ],
    "two training samples": ["data.train_size=2", "training.batch_size=2", "probes.batch_size=2"],
}


@pytest.mark.parametrize("name", sorted(WORKS))
def test_extremes_that_work(tmp_path, name):
    *_, last = runs.execute(config_in(tmp_path, *WORKS[name]))
    assert last.summary.status == "finished"


@pytest.mark.slow
def test_a_thousand_layers(tmp_path):
    config = config_in(tmp_path, "model.depth=1000", "training.steps=1", "norm=none")
    events = list(runs.execute(config))
    assert events[-1].summary.status == "finished"
    assert next(e.layers for e in events if isinstance(e, Started)) == 1000


def test_a_huge_learning_rate_diverges_and_says_so(tmp_path):
    *_, last = runs.execute(config_in(tmp_path, "optimizer.lr=1e10", "norm=none"))
    assert last.summary.status == last.summary.verdict == "diverged"


REFUSED = {
    "batch larger than the data": (["training.batch_size=65"], "there are 64 training samples"),
    "batch 1 with BatchNorm": (["training.batch_size=1"], "training.batch_size=1"),
    "depth 0": (["model.depth=0"], "model.depth=0"),
    "one class": (["data.classes=1"], "data.classes=1"),
    "no training sample": (["data.train_size=0"], "data.train_size=0"),
    "one training sample": (["data.train_size=1"], "there is 1 training sample;"),
    "a probe batch of 1": (["probes.batch_size=1"], "probes.batch_size=1"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_extremes_that_are_refused_with_the_reason(tmp_path, name):
    overrides, words = REFUSED[name]
    with pytest.raises((ConfigError, RecordError), match=words):
        list(runs.execute(config_in(tmp_path, *overrides)))
    assert list(tmp_path.iterdir()) == []
