"""The right to run one folder's config, held by one process at a time, on network file systems too.

A lock is the file `lock.json`, made by an exclusive create, which is atomic on local and network
file systems. Its holder writes its progress into it every second, so its modification time is a
heartbeat: a lock without one for `EXPIRES_SECONDS`, or whose process is dead, may be taken over.
"""

import contextlib
import itertools
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from normlab.bounded_files import read_bounded
from normlab.errors import BusyError, check_platform

LOCK_FILE = "lock.json"
HEARTBEAT_SECONDS = 1.0
EXPIRES_SECONDS = 60.0
UNREADABLE = "unreadable"  # in place of the token of a lock that says nothing


class RunLock:
    """Holds a folder's lock from its making to `release`; raises BusyError where another does, and
    ConfigError on Windows.

    What is put into `progress` can be read by others through `read_lock`.
    """

    def __init__(self, folder: Path):
        check_platform()
        self.path = folder / LOCK_FILE
        self.progress: dict[str, Any] = {}
        self._identity = {"token": uuid.uuid4().hex, "machine": machine(), "pid": os.getpid()}
        self._file = self._acquire()
        try:
            self._write(self._file)
        except OSError:  # a full disk: no lock that nobody holds may stay
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            raise
        self._remove_leftovers(self._is_old)
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    @property
    def lost(self) -> bool:
        """Whether the file is no longer this holder's: taken over, or deleted."""
        try:
            return os.fstat(self._file).st_ino != self.path.stat().st_ino
        except OSError:
            return True

    def release(self) -> None:
        """Let others have the folder."""
        self._released.set()
        self._heart.join()
        if not self.lost:
            self._remove_leftovers(lambda left: self._is_old(left) or not self._decides(left))
            self.path.unlink(missing_ok=True)
        os.close(self._file)

    def _acquire(self) -> int:
        folder = self.path.parent
        for _ in range(100):
            with contextlib.suppress(FileExistsError):
                return os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            holder = read_lock(folder) or {}  # empty while its maker has not written it yet
            if self.path.exists():
                if not is_expired(folder, holder) and not _is_of_the_future(folder):
                    break
                return self._take_over(holder)
        raise BusyError(_busy(folder, holder))

    def _take_over(self, holder: Mapping[str, Any]) -> int:
        """Replace a dead holder's file.

        A file named by the dead holder's token is made exclusively, so that of many takers one goes
        on, and another only if that one dies; the token is then read again, so that a late taker
        does not replace the winner.
        """
        folder = self.path.parent
        token = str(holder.get("token", UNREADABLE))
        mine = folder / f".{LOCK_FILE}.{token}.{self._identity['token']}.tmp"
        for attempt in itertools.count():
            step = folder / f".{LOCK_FILE}.{token}.{attempt}.tmp"
            try:
                os.close(os.open(step, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                break
            except FileExistsError:
                if _age(folder, step) < EXPIRES_SECONDS:
                    raise BusyError(
                        f"{folder}: another process is taking it over; wait for its end"
                    ) from None
        file = os.open(mine, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        try:
            winner = read_lock(folder) or {}
            if winner.get("token", UNREADABLE) != token:
                raise BusyError(_busy(folder, winner))
            # Before it is in place: empty it would look like the unreadable file it replaces.
            self._write(file)
            mine.replace(self.path)
        except BaseException:
            os.close(file)
            mine.unlink(missing_ok=True)
            raise
        finally:
            for taken in folder.glob(f".{LOCK_FILE}.{token}.*.tmp"):
                taken.unlink(missing_ok=True)
        return file

    def _remove_leftovers(self, chosen: Callable[[Path], bool]) -> None:
        """Remove files of processes that were killed while they asked for the lock."""
        for left in self.path.parent.glob(f".{LOCK_FILE}.*.tmp"):
            with contextlib.suppress(OSError):  # in a folder of several users, another's
                if chosen(left):
                    left.unlink()

    def _is_old(self, left: Path) -> bool:
        return _age(self.path.parent, left) > EXPIRES_SECONDS

    def _decides(self, left: Path) -> bool:
        """Whether a file decides among processes that take this holder, or an unreadable lock, for
        dead; all others are of locks that are gone, or probes, which their makers need no more."""
        tokens = (self._identity["token"], UNREADABLE)
        return left.name.startswith(tuple(f".{LOCK_FILE}.{token}." for token in tokens))

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            # A full disk or a folder that is gone is for the run's own writes to report.
            with contextlib.suppress(OSError):
                self._write(self._file)

    def _write(self, file: int) -> None:
        # Into the file that is held, not by name: never into another holder's.
        content = json.dumps({**self._identity, "progress": self.progress}).encode()
        os.pwrite(file, content, 0)
        os.truncate(file, len(content))


def read_lock(folder: Path) -> dict[str, Any] | None:
    """A lock's content: token, machine, pid and progress; None where there is no lock to read.

    What a file says that no normlab wrote leads nowhere: a token names files, progress is drawn.
    """
    try:
        content = json.loads(read_bounded(folder / LOCK_FILE))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    token, progress = content.get("token"), content.get("progress")
    if not isinstance(token, str) or not re.fullmatch(r"\w{1,64}", token, re.ASCII):
        content.pop("token", None)
    content["progress"] = {
        key: value
        for key, value in (progress.items() if isinstance(progress, dict) else ())
        if type(value) in (int, float) and 0 <= value < 2**53
    }
    return content


def is_running(folder: Path) -> bool:
    """Whether a live process holds the folder's lock."""
    holder = read_lock(folder)
    return holder is not None and not is_expired(folder, holder)


def is_held(folder: Path) -> bool:
    """Whether the folder's lock could not be taken: a live process holds it, or is making it."""
    held = (folder / LOCK_FILE).exists()
    return held and not is_expired(folder, read_lock(folder) or {})


def is_expired(folder: Path, holder: Mapping[str, Any]) -> bool:
    """Whether a lock's process is dead, or has given no sign of life for `EXPIRES_SECONDS`."""
    if holder.get("machine") == machine() and _is_dead(holder.get("pid")):
        return True
    return _age(folder, folder / LOCK_FILE) > EXPIRES_SECONDS


def _is_dead(process: Any) -> bool:
    """Whether a process of this machine is gone, or was killed and waits for its parent's notice.

    False where it cannot be known.
    """
    try:
        os.kill(int(process), 0)
        state = Path(f"/proc/{int(process)}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except ProcessLookupError:
        return True
    except (OSError, TypeError, ValueError, OverflowError, IndexError):
        return False
    return state in (b"Z", b"X")


def _is_of_the_future(folder: Path) -> bool:
    """Whether the clock was set back since a dead holder's last beat.

    A live one's next beat is of the new time.
    """
    if _age(folder, folder / LOCK_FILE) > -EXPIRES_SECONDS:
        return False
    time.sleep(2.5 * HEARTBEAT_SECONDS)
    return _age(folder, folder / LOCK_FILE) < -EXPIRES_SECONDS


def machine() -> str:
    """A name of this machine, boot and process namespace: where a process number has a meaning."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return "/".join(parts)


def _age(folder: Path, file: Path) -> float:
    """Seconds since a file was written, by the clock of the file system that keeps it.

    By this machine's own clock where the folder cannot be written; 0 for a file that is gone.
    """
    probe = folder / f".{LOCK_FILE}.{uuid.uuid4().hex}.tmp"
    now = time.time()
    with contextlib.suppress(OSError):
        # Asked by its number: a holder that releases its lock may remove the name meanwhile.
        number = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            now = os.fstat(number).st_mtime
        finally:
            os.close(number)
            probe.unlink()
    try:
        return now - file.stat().st_mtime
    except OSError:
        return 0.0


def _busy(folder: Path, holder: Mapping[str, Any]) -> str:
    host = str(holder.get("machine", "another machine")).split("/")[0]
    return f"{folder}: process {holder.get('pid', '?')} on {host} is running it; wait for its end"
