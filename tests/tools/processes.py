"""Processes that tests start: none outlives its test, and none is judged by the clock."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# A test that waits so long waits for what will never be; a loaded machine is not that slow.
NEVER_SECONDS = 600.0


@contextlib.contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """A `subprocess.Popen` in a session of its own, which is waited for on leaving; whatever has
    happened until then, all that is left of the session is killed."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
            process.wait(NEVER_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + NEVER_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_gone(process: int) -> bool:
    """Whether a process has ended, noticed by its parent or not; needs Linux's /proc."""
    try:
        return " Z " in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True


def children(process: int) -> list[int]:
    """All processes below one; none where there is no /proc."""
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, thread.read_text().split())
    return found + [below for child in found for below in children(child)]


def command_of(process: int) -> str:
    """The command line of a process, empty where it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
