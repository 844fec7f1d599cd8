"""Worker processes of this machine: each imports PyTorch once, then makes one run after another.

Pools of libraries tell neither whether a worker had begun a run when it died, nor why one died as
it started. Here a run that was not begun is given to another worker, and a worker that dies as it
starts is started again.
"""

import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from multiprocessing import connection, get_context, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from normlab.config import Config
from normlab.errors import RunError
from normlab.runs.launchers import with_device
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
# A file in the current folder that is called signal.py or types.py is no module of Python's.
SAFE_PATH = "PYTHONSAFEPATH"
# A terminal sends them to all of its processes; the parent alone decides what they mean.
OF_THE_TERMINAL = [n for n in (signal.SIGINT, getattr(signal, "SIGHUP", None)) if n]


class State(Enum):
    """What a worker says of itself."""

    READY = "ready"
    BEGUN = "begun"


class Failed(NamedTuple):
    """Why a worker could not make a run, or start."""

    reason: str


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
        self.process, self.link, self.ready = None, None, False
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
        coming = sum(w.process is not None and w.config is None for w in self.workers)
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
            process = context.Process(
                target=work, args=(theirs, self.stop, os.getpid(), self.force), daemon=True
            )
            with _undisturbed_start():
                process.start()
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
        worker.forget()
        cause = _cause_of_death(code)
        if begun is not None and config is not None:
            return Made(config, Lost(cause))
        worker.vain_starts += 1
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


def work(link: "Connection", stop: Path, parent: int, force: bool) -> None:
    """A worker's part: make the runs that it is given, until the parent is gone."""
    # Pending ones are discarded with it, before they are heard again.
    for number in OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_THE_TERMINAL)
    try:
        from normlab.runs.execution import execute_in_worker  # noqa: F401  # what takes its time
    except Exception as error:
        link.send(Failed(error_line(error)))
        return
    link.send(State.READY)
    while True:
        try:
            run = link.recv_bytes()
        except (EOFError, OSError):
            return
        link.send(State.BEGUN)
        try:
            result: Outcome | Failed = _make_run(pickle.loads(run), stop, parent, force=force)
        except Exception as error:  # one while it is unpickled is of a part from outside
            result = Failed(error_line(error))
        link.send(result)


def _make_run(config: Config, stop: Path, parent: int, *, force: bool) -> Outcome:
    """One run, until the stop file is there or the parent process is gone."""
    from normlab.runs.execution import execute_in_worker
    from normlab.runs.signals import stop_on_signals

    # A cluster sends SIGTERM to every process of a job: the run keeps a checkpoint, then it ends.
    with stop_on_signals() as asked_to_end:

        def stopped() -> bool:
            return asked_to_end() or os.getppid() != parent or stop.exists()

        return execute_in_worker(config, force=force, stop=stopped)


@contextmanager
def _undisturbed_start() -> Iterator[None]:
    """A process started within imports nothing from the current folder, and is not ended by the
    terminal before it can say that it does not listen to it."""
    with _environment(SAFE_PATH, "1"):
        resource_tracker.ensure_running()  # which would unblock the signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment has a value."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"
