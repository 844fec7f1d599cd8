"""Worker processes of this machine, each of which makes one run after another.

Pools of libraries tell neither whether a worker had begun a run when it died, nor why one died as
it started. Here a run that was not begun is given to another worker, and a worker that dies as it
starts is started again.
"""

import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from normlab.config import Config
from normlab.errors import RunError
from normlab.plugins import parcels
from normlab.runs.launchers import with_device
from normlab.runs.launchers.worker_process import Failed, State, Terms, undisturbed_start, work
from normlab.runs.outcomes import Outcome
from normlab.text import error_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

# Of one worker, where each start is ended by a signal before a run is made.
MOST_STARTS = 3
# Between a request to end and SIGKILL.
TERMINATION_SECONDS = 3.0
# What the system sends where memory is short, and what C++ does where it gets none.
SIGNS_OF_MEMORY = ("SIGKILL", "SIGABRT")
# The exit code of a worker that, as it imports the script of its parent, is to start workers.
UNGUARDED = 64


class Lost(NamedTuple):
    """How a worker died that was making a run: the name of a signal, or its exit code."""

    cause: str


class OverTime(NamedTuple):
    """A run that took longer than it may."""

    seconds: float


Result = Outcome | Failed | Lost | OverTime


class Made(NamedTuple):
    """What came of a run that was given to a worker; None where the worker died before it began."""

    config: Config
    result: Result | None


@dataclass
class Worker:
    """The place of a worker process, which is started and started again, always for one device."""

    device: str
    process: "SpawnProcess | None" = None
    link: "Connection | None" = None
    ready: bool = False
    config: Config | None = None  # of the run that it was given
    begun: float | None = None  # when it began that run
    ending: bool = False  # by itself, to be started again
    vain_starts: int = 0  # since it last began a run
    fault: str = ""  # why it is not started any more

    def forget(self) -> None:
        """Close what belongs to a process that has ended."""
        assert self.process is not None
        assert self.link is not None
        self.process.kill()  # where it still ends
        self.process.join()
        self.process.close()
        self.link.close()
        self.process, self.link, self.ready, self.ending = None, None, False, False
        self.config, self.begun = None, None


@dataclass
class Workers:
    """A worker for each of several devices, a device being named once for each of its workers.

    They end their runs when the file `stop` is there; leaving the context ends them themselves.
    """

    devices: Sequence[str]
    stop: Path
    force: bool
    timeout: float | None
    workers: list[Worker] = field(init=False)
    _unsent: list[Made] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.workers = [Worker(device) for device in self.devices]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self.workers)

    @property
    def busy(self) -> bool:
        """Whether a run was given to any of them and has not come back."""
        return bool(self._unsent) or any(worker.config is not None for worker in self.workers)

    def hand_out(self, waiting: deque[Config]) -> None:
        """Give runs that wait to idle workers, and start workers for the others.

        Raises RunError where none can be started any more and none is there.
        """
        for worker in self.workers:
            if waiting and worker.ready and worker.config is None:
                self._give(worker, waiting.popleft())
        coming = sum(
            w.process is not None and w.config is None and not w.ending for w in self.workers
        )
        for worker in self.workers:
            if coming < len(waiting) and worker.process is None and not worker.fault:
                coming += self._start(worker)
        if waiting and all(worker.fault for worker in self.workers):
            raise RunError(
                f"no worker of the sweep could start ({self.workers[0].fault}); "
                "the same command goes on from here"
            )

    def wait(self) -> list[Made]:
        """What has come of the runs, after waiting for news of any worker."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            return unsent
        live = [worker for worker in self.workers if worker.process is not None]
        ends = [w.begun + self.timeout for w in live if self.timeout and w.begun is not None]
        left = max(0.0, min(ends) - time.monotonic()) if ends else None
        connection.wait([w.link for w in live if w.link], left)
        return [made for worker in live if (made := self._hear(worker)) is not None]

    def wait_for_end(self, seconds: float) -> None:
        """Wait for the runs that were begun, at most so long; the other workers end at once."""
        self._end([worker for worker in self.workers if worker.begun is None])
        self._unsent.clear()  # no news of them will come
        deadline = time.monotonic() + seconds
        while self.busy and (left := deadline - time.monotonic()) > 0:
            links = [worker.link for worker in self.workers if worker.link]
            connection.wait(links, left)
            for worker in self.workers:
                self._hear(worker)

    def _give(self, worker: Worker, config: Config) -> None:
        assert worker.link is not None
        try:
            run = pickle.dumps(with_device(config, worker.device))
        except Exception as error:  # a part from outside that has no place in a module
            self._unsent.append(Made(config, Failed(error_line(error))))
            return
        worker.config = config
        try:
            worker.link.send_bytes(run)
        except OSError:  # it has died meanwhile, which `wait` finds
            worker.ready = False

    def _start(self, worker: Worker) -> bool:
        """Start a worker's process, or note why it cannot be."""
        context = get_context("spawn")
        ours, theirs = None, None
        try:
            ours, theirs = context.Pipe()
            terms = Terms(self.stop, os.getpid(), self.force, parcels())
            process = context.Process(target=work, args=(theirs, terms), daemon=True)
            with undisturbed_start():
                process.start()
        except RuntimeError:  # Python's, in a worker that imports its parent's script
            sys.exit(UNGUARDED)
        except OSError as error:  # too many files, processes or too little memory
            worker.fault = os.strerror(error.errno) if error.errno else error_line(error)
            if ours is not None:
                ours.close()
        else:
            worker.process, worker.link = process, ours
        finally:
            if theirs is not None:
                theirs.close()
        return worker.process is not None

    def _hear(self, worker: Worker) -> Made | None:
        """Take in what a worker has said, whether it has died, and its time."""
        if worker.process is None or worker.link is None:
            return None
        config = worker.config
        try:
            while worker.link.poll():
                said = worker.link.recv()
                if said is State.READY:
                    worker.ready = True
                elif said is State.ENDING:
                    worker.ready, worker.ending = False, True
                elif said is State.BEGUN:
                    worker.begun, worker.vain_starts = time.monotonic(), 0
                elif config is None:
                    worker.fault = said.reason
                else:
                    worker.config, worker.begun = None, None
                    return Made(config, said)
        except (EOFError, OSError):
            return self._bury(worker)
        if self.timeout and worker.begun and time.monotonic() > worker.begun + self.timeout:
            assert config is not None
            self._end([worker])
            return Made(config, OverTime(self.timeout))
        return None

    def _bury(self, worker: Worker) -> Made | None:
        """Note how a worker has died that has closed its end of the link."""
        assert worker.process is not None
        worker.process.join(TERMINATION_SECONDS)
        code, config, begun = worker.process.exitcode, worker.config, worker.begun
        ending = worker.ending
        worker.forget()
        cause = _cause_of_death(code)
        if begun is not None and config is not None:
            return Made(config, Lost(cause))
        if ending:
            return None
        worker.vain_starts += 1
        if code == UNGUARDED:
            worker.fault = (
                "a worker imports the script that brings parts of its own, which must make its "
                "sweep under if __name__ == '__main__':"
            )
        if worker.vain_starts == MOST_STARTS or (code or 0) >= 0:  # what fails so fails again
            worker.fault = worker.fault or f"it died ({cause}){guess(cause)}"
        return None if config is None else Made(config, None)

    def _end(self, workers: Sequence[Worker]) -> None:
        """End workers, those that have begun a run by a request first."""
        live = [worker for worker in workers if worker.process is not None]
        for worker in live:
            assert worker.process is not None
            (worker.process.kill if worker.begun is None else worker.process.terminate)()
        deadline = time.monotonic() + TERMINATION_SECONDS
        for worker in live:
            assert worker.process is not None
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.forget()


def guess(cause: str) -> str:
    """`, out of memory perhaps`, where a worker died as it would then."""
    return ", out of memory perhaps" if cause in SIGNS_OF_MEMORY else ""


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
