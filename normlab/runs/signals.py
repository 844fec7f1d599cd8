"""Ctrl-C and other requests to end, put off until a run can keep what it has."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A terminal and a cluster may send the same request twice within so many seconds.
PATIENCE_SECONDS = 2.0


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """A `stop` for `execute` that a request to end makes true; on leaving, the signal is raised
    again for the handlers of before.

    Until training first asks `stop`, a signal is raised at once, as is another one that comes
    later than `PATIENCE_SECONDS` after the first. For the main thread only.
    """
    received: list[int] = []
    patient_until = -math.inf

    def stop() -> bool:
        nonlocal patient_until
        if not received:
            patient_until = math.inf
        return bool(received)

    def note(number: int, _: object) -> None:
        nonlocal patient_until
        if time.monotonic() > patient_until:
            restore()
            signal.raise_signal(number)
        received.append(number)
        patient_until = min(patient_until, time.monotonic() + PATIENCE_SECONDS)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, note) for number in ending_signals()}
    try:
        yield stop
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Put off requests to end until leaving: a second, impatient Ctrl-C must not cost what the
    first one keeps."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in ending_signals()
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def ending_signals() -> list[int]:
    """The signals that ask this process to end.

    Without those that it ignores, as under nohup and in background shells, and without those that
    another library handles in C, whose handlers Python cannot restore.
    """
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [n for n in numbers if n and signal.getsignal(n) not in (signal.SIG_IGN, None)]
