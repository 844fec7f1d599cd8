"""The process of a worker: how it is started, and what it does.

It imports PyTorch once, then makes one run after another.
"""

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from multiprocessing import resource_tracker
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from normlab.config import Config
from normlab.plugins import Parcel, load_parcels
from normlab.registry import has_outside_parts
from normlab.runs.outcomes import Outcome
from normlab.text import error_line

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SAFE_PATH = "PYTHONSAFEPATH"
# A terminal sends them to all of its processes; the parent alone decides what they mean.
OF_THE_TERMINAL = [n for n in (signal.SIGINT, getattr(signal, "SIGHUP", None)) if n]


class State(Enum):
    """What a worker says of itself."""

    READY = "ready"
    BEGUN = "begun"
    ENDING = "ending"  # its device is of no more use to it, though to another process


class Failed(NamedTuple):
    """Why a worker could not make a run, or start."""

    reason: str


class Terms(NamedTuple):
    """What holds for all runs of a worker."""

    stop: Path  # they end when this file is there
    parent: int  # the process that started it
    force: bool
    plugins: tuple[Parcel, ...]  # that their configs may have parts of


def work(link: "Connection", terms: Terms) -> None:
    """A worker's part: make the runs that it is given, until the parent is gone."""
    # Pending ones are discarded with it, before they are heard again.
    for number in OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_THE_TERMINAL)
    try:
        from normlab.runs.execution import execute_in_worker  # noqa: F401  # what takes its time

        load_parcels(terms.plugins)
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
            result: Outcome | Failed = _make_run(pickle.loads(run), terms)
        except Exception as error:  # one while it is unpickled is of a part from outside
            result = Failed(error_line(error))
        broken = device_is_broken()
        if broken:
            link.send(State.ENDING)  # before the result, upon which it would get another run
        link.send(result)
        if broken:
            return


def device_is_broken() -> bool:
    """Whether this process can do nothing more on its GPU, as after a failed assertion in a kernel
    or an illegal access, which every later call of CUDA in it repeats."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:  # out of memory is none
        return True
    return False


def _make_run(config: Config, terms: Terms) -> Outcome:
    """One run, until the stop file is there or the parent process is gone."""
    from normlab.runs.execution import execute_in_worker
    from normlab.runs.signals import stop_on_signals

    # A cluster sends SIGTERM to every process of a job: the run keeps a checkpoint, then it ends.
    with stop_on_signals() as asked_to_end:

        def stopped() -> bool:
            return asked_to_end() or os.getppid() != terms.parent or terms.stop.exists()

        return execute_in_worker(config, force=terms.force, stop=stopped)


@contextmanager
def undisturbed_start() -> Iterator[None]:
    """A process started within imports nothing from the current folder, imports the script of this
    one only where it may need it, and is not ended by the terminal before it can say that it does
    not listen to it."""
    with safe_path(), _script_where_needed():
        resource_tracker.ensure_running()  # which would unblock the signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def safe_path() -> Iterator[None]:
    """A Python started within takes no module from the current folder: a file there that is called
    signal.py or types.py is none of Python's."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


@contextmanager
def _script_where_needed() -> Iterator[None]:
    """A process started within imports this one's script only where parts from outside are here
    that no plugin has brought, but perhaps the script.

    Otherwise no script needs to keep its sweep under `if __name__ == "__main__":`, without which a
    worker that imported it would come to the sweep itself.
    """
    if has_outside_parts():
        yield
        return
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")  # of no file, so that there is none to import
    try:
        yield
    finally:
        sys.modules["__main__"] = script
