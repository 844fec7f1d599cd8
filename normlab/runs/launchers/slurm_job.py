"""A job of a Slurm cluster: a share of a sweep's runs, made in worker processes of its node.

It writes a line for the outcome of each run into a file of its own, which the sweep reads.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from normlab.config import run_id
from normlab.errors import NormlabError
from normlab.runs.launchers.local import LocalLauncher
from normlab.runs.launchers.packed import Packed
from normlab.runs.outcomes import Outcome

POLL_SECONDS = 0.5
STOP_FILE = "stop"


@dataclass(frozen=True)
class Job:
    """What a job is given."""

    number: int
    run_ids: Sequence[str]
    packed: Packed  # the configs of these runs
    workers: LocalLauncher
    folder: Path  # of the sweep, for all its jobs
    command: Sequence[str]  # what started the sweep
    force: bool

    @property
    def outcomes_file(self) -> Path:
        """Where the job writes the outcomes of its runs."""
        return outcomes_file(self.folder, self.number)


def outcomes_file(folder: Path, number: int) -> Path:
    """Where a job of a sweep writes the outcomes of its runs."""
    return folder / f"{number}.jsonl"


def work(job: Job) -> None:
    """Make a job's runs, except those whose outcome it wrote before it was started again."""
    sys.argv = list(job.command)  # for environment.json, in place of submitit's own
    stop, ended = job.folder / STOP_FILE, threading.Event()

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once: the runs need time to end
        raise KeyboardInterrupt

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if stop.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    before = signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=watch, daemon=True).start()
    try:
        _make_runs(job)
    except KeyboardInterrupt:
        if not stop.exists():
            raise
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)


def _make_runs(job: Job) -> None:
    written, _ = read_outcomes(job.outcomes_file, 0)
    known = {outcome.run_id for outcome in written if outcome.status != "interrupted"}
    left = [identity for identity in job.run_ids if identity not in known]
    if not left:
        return
    try:
        configs = [config for config in job.packed.unpacked() if run_id(config) in left]
    except NormlabError as error:  # of a plugin, which is not the same here
        for identity in left:
            _write(job, Outcome(identity, "failed", str(error)))
        return
    with contextlib.closing(job.workers.launch(configs, force=job.force)) as outcomes:
        for outcome in outcomes:
            _write(job, outcome)


def _write(job: Job, outcome: Outcome) -> None:
    with job.outcomes_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(outcome)) + "\n")


def read_outcomes(file: Path, start: int) -> tuple[list[Outcome], int]:
    """The outcomes in the whole lines of a job's file from an offset on, and the next offset."""
    try:
        with file.open("rb") as lines:
            lines.seek(start)
            text = lines.read()
    except FileNotFoundError:
        return [], start
    whole = text[: text.rfind(b"\n") + 1]
    return [Outcome(**json.loads(line)) for line in whole.splitlines()], start + len(whole)
