"""Kill runs and sweeps at random moments, and check that nothing was lost.

    python -m tests.tools.kill 200 FOLDER

makes 200 kills (SIGKILL, workers too), nine in ten of single runs and one in ten of sweeps. After
each: no run that was finished is gone or changed, and none looks finished that is not whole. At the
end every run goes on to its end, and its tables and weights must equal those of runs that were
never killed, bit for bit, with no temporary file and no checkpoint left.
"""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from pandas.testing import assert_frame_equal

from normlab.config import compose
from normlab.errors import RecordError
from normlab.runs import (
    execute,
    is_final,
    read_run,
    read_weights,
    remove_leftovers,
    run_folder,
)
from normlab.training import Started

# Some half a second of training each, with many checkpoints.
NET = (
    *("data=gaussian", "data.train_size=256", "data.test_size=64", "data.size=4"),
    *("training.batch_size=32", "training.epochs=40", "probes.batch_size=16"),
    *("probes.snapshots=20", "probes.grad_norm_steps=50", "model=mlp", "model.depth=6"),
    *("model.width=16", "runtime.device=cpu", "runtime.checkpoint_seconds=0.02"),
    *("output.weights=true", "output.experiment=killed"),
)
RUNS = 4
# Attempts at a run, a tenth of a second apart, while it seems to be held by a killed process.
ATTEMPTS = 6000


class Harness:
    """Reference runs, and the folder in which runs are killed."""

    def __init__(self, folder: Path, seed: int, runs: int = RUNS):
        self.folder = folder
        self.runs = runs
        self.draw = random.Random(seed)
        self.kills = 0  # of processes that were alive
        self.resumed: list[int] = []  # steps that runs went on from
        self.finished: dict[Path, str] = {}  # digests
        self.rounds = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resumed").touch()
        began = time.monotonic()
        self.make_all(folder / "reference")
        self.seconds = (time.monotonic() - began) / runs  # that a run takes here

    def configs(self, root: Path):
        return [compose([*NET, f"output.root='{root}'", f"seed={s}"]) for s in range(self.runs)]

    def make_all(self, root: Path) -> None:
        """Make what is not finished, as a sweep does; again while a killed worker, not yet dead,
        holds its run, or one that was killed as it took a lock over seems to hold it yet: that
        ends after `locks.EXPIRES_SECONDS`."""
        for config in self.configs(root):
            folder = run_folder(config)
            for _ in range(ATTEMPTS):
                remove_leftovers(folder)
                if is_final(folder) and not _left_over(folder):
                    break
                if not is_final(folder):
                    _forked(lambda config=config: self._make(config), None)
                    self._read_resumed()
                time.sleep(0.1)

    @property
    def root(self) -> Path:
        return self.folder / f"round{self.rounds}"

    def kill_runs(self, count: int) -> None:
        """Kill single runs, each after a random part of the time that one takes."""
        for _ in range(count):
            config = self.draw.choice(self._open())
            seconds = self.draw.uniform(0.0, self.seconds)
            self.kills += _forked(lambda config=config: self._make(config), seconds)
            self._read_resumed()
            self._check()

    def kill_sweeps(self, count: int) -> None:
        """Kill sweeps with all their workers."""
        for _ in range(count):
            self._open()
            words = [*NET, f"output.root={self.root}", f"seed=range({self.runs})"]
            sweep = subprocess.Popen(
                [sys.executable, "-m", "normlab", "sweep", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    sweep.wait(self.draw.uniform(3.0, 12.0))
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(sweep.pid, signal.SIGKILL)
            self.kills += sweep.wait() == -signal.SIGKILL
            self._check()

    def finish(self) -> list[str]:
        """Let every run come to its end; what is not as it should be."""
        wrong = []
        for index in range(self.rounds + 1):
            root = self.folder / f"round{index}"
            self.make_all(root)
            for config, twin in zip(
                self.configs(root), self.configs(self.folder / "reference"), strict=True
            ):
                wrong += _differences(run_folder(config), run_folder(twin))
        return wrong

    def _open(self):
        """The runs that are not finished; a new round where all are."""
        unfinished = [c for c in self.configs(self.root) if not is_final(run_folder(c))]
        if not unfinished:
            self.rounds += 1
            unfinished = self.configs(self.root)
        return unfinished

    def _make(self, config) -> None:
        for event in execute(config):
            if isinstance(event, Started):
                with (self.folder / "resumed").open("a") as told:
                    told.write(f"{event.resumed}\n")

    def _read_resumed(self) -> None:
        self.resumed = [int(line) for line in (self.folder / "resumed").read_text().split()]

    def _check(self) -> None:
        for folder, digest in self.finished.items():
            assert _digest(folder) == digest, f"{folder} was finished, and has changed"
        for config in self.configs(self.root):
            folder = run_folder(config)
            if is_final(folder):
                try:
                    read_run(folder)
                except RecordError as error:
                    raise AssertionError(f"looks finished and is not whole: {error}") from error
                self.finished.setdefault(folder, _digest(folder))


def _forked(work, seconds: float | None) -> bool:
    """Do work in a forked process; whether it was killed, after so many seconds."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            work()
        finally:
            os._exit(0)
    try:
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".parquet", ".json", ".yaml", ".pt") and not file.name.startswith("."):
            content.update(file.name.encode() + file.read_bytes())
    return content.hexdigest()


def _left_over(folder: Path) -> list[Path]:
    names = ("checkpoint.pt", "lock.json")
    return [path for path in folder.iterdir() if path.suffix == ".tmp" or path.name in names]


def _differences(folder: Path, twin: Path) -> list[str]:
    one, two = read_run(folder), read_run(twin)
    wrong = [f"{path}: left over" for path in _left_over(folder)]
    try:
        assert_frame_equal(one.metrics.drop(columns="seconds"), two.metrics.drop(columns="seconds"))
        assert_frame_equal(one.layers, two.layers)
    except AssertionError as error:
        wrong.append(f"{folder}: {error}")
    weights, others = read_weights(folder), read_weights(twin)
    if not all(torch.equal(weights[key], others[key]) for key in weights):
        wrong.append(f"{folder}: other weights")
    if one.summary.status != "finished" or one.summary.train_acc != two.summary.train_acc:
        wrong.append(f"{folder}: another summary")
    return wrong


if __name__ == "__main__":
    count, place = int(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(place, ignore_errors=True)
    harness = Harness(place, seed=count)
    while harness.kills < count:
        harness.kill_runs(min(9, count - harness.kills))
        if harness.kills < count:
            harness.kill_sweeps(1)
        print(
            f"{harness.kills} kills, {sum(step > 0 for step in harness.resumed)} starts from a "
            f"checkpoint, {len(harness.finished)} runs finished in between"
        )
    found = harness.finish()
    print(*found, f"{len(found)} faults after {harness.kills} kills", sep="\n")
    sys.exit(bool(found))
