import contextlib
import errno
import json
import math
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from normlab.errors import BusyError, ConfigError
from normlab.runs import is_running, locks, read_lock
from normlab.runs.locks import RunLock, is_held
from tests.cli.invoking import normlab
from tests.runs.support import killed_at
from tests.tools.processes import NEVER_SECONDS, wait_for


def is_running_it(folder: Path, process: int | str, host: str) -> str:
    """The pattern of what a BusyError says."""
    said = f"{folder}: process {process} on {host} is running it; wait for its end"
    return f"^{re.escape(said)}$"


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    assert is_running(tmp_path)
    with pytest.raises(BusyError, match=is_running_it(tmp_path, os.getpid(), socket.gethostname())):
        RunLock(tmp_path)
    lock.release()
    assert not is_running(tmp_path)
    RunLock(tmp_path).release()
    assert not list(tmp_path.iterdir())


def test_windows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a question whether a process lives would end it."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigError, match="Windows: normlab runs on Linux and macOS"):
        RunLock(tmp_path)
    done = normlab("info", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "normlab: Windows: normlab runs on Linux and macOS; use it within WSL\n"
    assert not list(tmp_path.iterdir())


def test_progress_is_read_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    lock = RunLock(tmp_path)
    lock.progress |= {"step": 12345}
    wait_for(lambda: (read_lock(tmp_path) or {}).get("progress") == {"step": 12345})
    before = (tmp_path / "lock.json").stat().st_mtime_ns
    wait_for(lambda: (tmp_path / "lock.json").stat().st_mtime_ns > before)
    lock.release()


def test_a_beat_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk that has room again later."""
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", 0.01)
    lock, write, failed = RunLock(tmp_path), os.pwrite, threading.Event()

    def fail_once(file: int, *values: Any) -> int:
        if not failed.is_set() and os.path.samestat(os.fstat(file), lock.path.stat()):
            failed.set()
            raise OSError(errno.ENOSPC, "full")
        return write(file, *values)

    monkeypatch.setattr(os, "pwrite", fail_once)
    assert failed.wait(NEVER_SECONDS)
    lock.progress["step"] = 1
    wait_for(lambda: (read_lock(tmp_path) or {}).get("progress") == {"step": 1})
    lock.release()


def test_a_lock_keeps_no_process_from_ending(tmp_path: Path) -> None:
    before = threading.enumerate()
    lock = RunLock(tmp_path)
    (heart,) = (thread for thread in threading.enumerate() if thread not in before)
    assert heart.daemon
    lock.release()
    assert not heart.is_alive()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    def killed() -> None:
        RunLock(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)

    assert killed_at(0, (), killed)
    assert (tmp_path / "lock.json").exists()
    assert not is_running(tmp_path)
    assert not is_held(tmp_path)
    RunLock(tmp_path).release()


@pytest.mark.parametrize("before", ["nothing", "dead"])
def test_a_full_disk_leaves_no_lock_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Whether or not another removes the files meanwhile."""
    opened: list[int] = []
    write = os.pwrite
    for removes in (False, True):
        if before == "dead":
            dead_lock(tmp_path, pid=NO_PROCESS, machine=locks.machine(), age=0)
        there = set(tmp_path.iterdir())

        def full(file: int, *values: Any, removes: bool = removes) -> int:
            files = [left.stat() for left in tmp_path.iterdir()]
            if not any(os.path.samestat(os.fstat(file), left) for left in files):
                return write(file, *values)  # another test's lock, which still beats
            opened.append(file)
            for left in tmp_path.iterdir() if removes else ():
                left.unlink()
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match=r"^\[Errno 28\] full$"):
            RunLock(tmp_path)
        assert set(tmp_path.iterdir()) == (set() if removes else there)
    for file in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


def dead_lock(folder: Path, *, pid: int, machine: str, age: float) -> None:
    """What a holder leaves that was killed so many seconds ago."""
    file = folder / "lock.json"
    file.write_text(json.dumps({"token": "dead", "machine": machine, "pid": pid, "progress": {}}))
    then = time.time() - age
    os.utime(file, (then, then))


def unreadable_lock(folder: Path) -> None:
    """What a holder leaves that was killed while it wrote, long enough ago."""
    (folder / "lock.json").write_bytes(b"{half")
    then = time.time() - locks.EXPIRES_SECONDS - 5
    os.utime(folder / "lock.json", (then, then))


NO_PROCESS = 2**22 + 1  # above Linux's largest process number


@pytest.mark.parametrize(
    ("alive", "here", "age", "free"),
    [
        (False, True, 0, True),  # its process is dead
        (True, True, 0, False),
        (False, False, 1, False),  # on another machine, and it has just given a sign of life
        (True, False, locks.EXPIRES_SECONDS + 5, True),  # it has given none for long
    ],
)
def test_a_dead_holders_lock_is_taken_over(
    tmp_path: Path, alive: bool, here: bool, age: float, free: bool
) -> None:
    pid, machine = os.getpid() if alive else NO_PROCESS, locks.machine() if here else "elsewhere"
    dead_lock(tmp_path, pid=pid, machine=machine, age=age)
    if free:
        lock = RunLock(tmp_path)
        assert (read_lock(tmp_path) or {})["pid"] == os.getpid()
        lock.release()
        assert not list(tmp_path.iterdir())
    else:
        with pytest.raises(BusyError):
            RunLock(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_killed_process_that_its_parent_has_not_noticed_is_dead(tmp_path: Path) -> None:
    renamed = "open('/proc/self/comm', 'w').write('a) S (b'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", renamed], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        dead_lock(tmp_path, pid=holder.pid, machine=locks.machine(), age=0)
        assert is_running(tmp_path)
        holder.kill()
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and not collected
        os.kill(holder.pid, 0)
        assert not is_running(tmp_path)
        RunLock(tmp_path).release()


def test_what_processes_left_that_died_while_they_asked_goes_with_the_lock(tmp_path: Path) -> None:
    """A run may be made within a second after the kill, and nobody comes to its folder again."""
    lock = RunLock(tmp_path)
    probe, taker = (tmp_path / f".lock.json.{name}.tmp" for name in ("0a1b", "dead.0"))
    for file in (probe, taker):
        file.touch()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_what_decides_among_takers_stays_while_it_is_young(tmp_path: Path) -> None:
    """Those who take this holder, or an unreadable lock, for dead may be at work just now."""
    lock = RunLock(tmp_path)
    token = json.loads(lock.path.read_text())["token"]
    young = {tmp_path / f".lock.json.{name}.0.tmp" for name in (token, "unreadable")}
    for file in young:
        file.touch()
    lock.release()
    assert set(tmp_path.iterdir()) == young
    then = time.time() - locks.EXPIRES_SECONDS - 5
    for file in young:
        os.utime(file, (then, then))
    RunLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_an_age_is_told_though_another_removes_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a holder does who releases its lock meanwhile; this machine's clock is not asked then."""
    file, opened = tmp_path / "lock.json", os.open
    file.touch()

    def open_and_lose(path: Path, *flags: int) -> int:
        number = opened(path, *flags)
        Path(path).unlink()
        return number

    monkeypatch.setattr(os, "open", open_and_lose)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert abs(locks._age(tmp_path, file)) < locks.EXPIRES_SECONDS


def test_what_cannot_be_taken_away_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's file in a folder of many."""
    old, unlink = tmp_path / ".lock.json.old.tmp", Path.unlink
    old.touch()
    os.utime(old, (1, 1))

    def refuse(file: Path, missing_ok: bool = False) -> None:
        if file == old:
            raise PermissionError
        unlink(file, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    RunLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == [old]


def test_an_unreadable_lock_is_held_until_it_expires(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    (tmp_path / "lock.json").write_bytes(b"{half")
    assert is_held(tmp_path)
    with pytest.raises(BusyError, match=is_running_it(tmp_path, "?", "another machine")):
        RunLock(tmp_path)
    unreadable_lock(tmp_path)
    assert not is_held(tmp_path)
    RunLock(tmp_path).release()


def test_a_lock_that_is_taken_over_names_its_holder_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one would be taken for the unreadable one, and taken over once more."""
    seen: list[str] = []
    replace = Path.replace

    def watched(source: Path, target: Path) -> Path:
        seen.append(source.read_text())
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", watched)
    unreadable_lock(tmp_path)
    RunLock(tmp_path).release()
    assert [json.loads(text)["pid"] for text in seen] == [os.getpid()]


def test_a_lock_expires_in_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError
        return real(path, flags, *mode)

    real = os.open
    monkeypatch.setattr(os, "open", refuse)
    dead_lock(tmp_path, pid=1, machine="elsewhere", age=1)
    assert is_running(tmp_path)
    dead_lock(tmp_path, pid=1, machine="elsewhere", age=locks.EXPIRES_SECONDS + 5)
    assert not is_running(tmp_path)


def test_a_holder_knows_that_it_was_taken_over(tmp_path: Path) -> None:
    slow = RunLock(tmp_path)
    assert not slow.lost
    (tmp_path / "lock.json").unlink()
    assert slow.lost
    other = RunLock(tmp_path)
    assert slow.lost
    assert not other.lost
    slow.release()  # which must not take the other's lock away
    assert is_running(tmp_path)
    other.release()


def _claim(folder: Path, barrier: Any, won: Path) -> None:
    barrier.wait(NEVER_SECONDS)
    with contextlib.suppress(BusyError):
        RunLock(folder)
        (won / str(os.getpid())).touch()
    barrier.wait(NEVER_SECONDS)
    os._exit(0)  # the winner dies holding it


@pytest.mark.parametrize("before", ["nothing", "dead", "unreadable"])
def test_of_many_at_once_one_wins(tmp_path: Path, before: str) -> None:
    folder, won = tmp_path / "run", tmp_path / "won"
    folder.mkdir()
    won.mkdir()
    if before == "dead":
        dead_lock(folder, pid=NO_PROCESS, machine=locks.machine(), age=100)
    elif before == "unreadable":
        unreadable_lock(folder)
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    barrier = context.Barrier(8)
    processes = [context.Process(target=_claim, args=(folder, barrier, won)) for _ in range(8)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(list(won.iterdir())) == 1


def test_a_late_taker_does_not_replace_the_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another takes the dead holder's lock while this one has found it dead and has not taken it.

    The winner has gone on by then: what it left to decide among takers is gone.
    """
    dead_lock(tmp_path, pid=NO_PROCESS, machine=locks.machine(), age=0)
    opened = os.open

    def open_late(path: Path, *flags: int) -> int:
        if str(path).endswith(".lock.json.dead.0.tmp"):
            winner = {"token": "winner", "machine": "elsewhere", "pid": 1, "progress": {}}
            (tmp_path / "lock.json").write_text(json.dumps(winner))
        return opened(path, *flags)

    monkeypatch.setattr(os, "open", open_late)
    with pytest.raises(BusyError, match=is_running_it(tmp_path, 1, "elsewhere")):
        RunLock(tmp_path)
    assert (read_lock(tmp_path) or {})["token"] == "winner"
    assert {file.name for file in tmp_path.iterdir()} == {"lock.json"}


def test_one_that_asks_while_another_takes_a_dead_holders_lock_is_told(tmp_path: Path) -> None:
    """Until that one has been at it for a minute, and so is dead too."""
    dead_lock(tmp_path, pid=NO_PROCESS, machine=locks.machine(), age=0)
    taker = tmp_path / ".lock.json.dead.0.tmp"
    taker.touch()
    there = set(tmp_path.iterdir())
    with pytest.raises(BusyError, match=r": another process is taking it over; wait for its end$"):
        RunLock(tmp_path)
    assert set(tmp_path.iterdir()) == there
    then = time.time() - locks.EXPIRES_SECONDS - 5
    os.utime(taker, (then, then))
    RunLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_what_another_removes_at_the_same_moment_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def too_late(file: Path, missing_ok: bool = False) -> None:
        unlink(file)
        unlink(file, missing_ok)

    monkeypatch.setattr(Path, "unlink", too_late)
    dead_lock(tmp_path, pid=NO_PROCESS, machine=locks.machine(), age=0)
    RunLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_an_age_is_by_the_file_systems_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose own clock is an hour ahead must not take live locks for dead ones."""
    dead_lock(tmp_path, pid=1, machine="elsewhere", age=0)
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)
    assert is_running(tmp_path)


def test_a_lock_lasts_a_minute_and_beats_sixty_times_in_it(tmp_path: Path) -> None:
    """On a network file system a beat may come half a minute late."""
    dead_lock(tmp_path, pid=1, machine="elsewhere", age=50)
    assert is_running(tmp_path)
    dead_lock(tmp_path, pid=1, machine="elsewhere", age=70)
    assert not is_running(tmp_path)
    assert locks.HEARTBEAT_SECONDS == 1


def test_a_lock_of_today_is_judged_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_lock(tmp_path, pid=1, machine="elsewhere", age=1)
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(BusyError, match=is_running_it(tmp_path, 1, "elsewhere")):
        RunLock(tmp_path)
    assert waited == []


@pytest.mark.parametrize("process", [None, "x", 2**70, [1], 1.5])
def test_a_process_of_which_nothing_can_be_known_lives(tmp_path: Path, process: Any) -> None:
    dead_lock(tmp_path, pid=process, machine=locks.machine(), age=1)
    assert is_running(tmp_path)


def test_a_process_of_another_user_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    dead_lock(tmp_path, pid=NO_PROCESS, machine=locks.machine(), age=1)
    assert is_running(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_machines_name_is_of_its_boot_and_of_the_process_namespace() -> None:
    """After a boot, and in another container, a process number is another's."""
    host, boot, namespace = locks.machine().split("/")
    assert host == socket.gethostname()
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert str(Path("/proc/self/ns/pid").readlink()) == f"pid:[{namespace}]"


def test_a_machine_without_proc_is_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert locks.machine() == socket.gethostname()


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("token", "a" * 64, True),
        ("token", "a" * 65, False),
        ("token", "", False),
        ("token", "../up", False),
        ("token", "é", False),
        ("token", "a\n", False),
        ("token", 1, False),
        ("step", 0, True),
        ("step", 2**53 - 1, True),
        ("step", 2**53, False),
        ("step", -1, False),
        ("step", 0.5, True),
        ("step", math.nan, False),
        ("step", True, False),
        ("step", "1", False),
    ],
)
def test_of_what_a_lock_says_only_what_normlab_may_have_written_is_read(
    tmp_path: Path, key: str, value: Any, kept: bool
) -> None:
    """Tokens become names of files, and progress is drawn."""
    said = {"token": "dead", "progress": {}, "pid": 1}
    said |= {key: value} if key == "token" else {"progress": {key: value}}
    (tmp_path / "lock.json").write_text(json.dumps(said))
    if not kept and key == "token":
        del said["token"]
    elif not kept:
        said["progress"] = {}
    assert read_lock(tmp_path) == said


@pytest.mark.parametrize("content", ["", "[1]", "{", "1", "[" * 20_000, "x" * 100_000])
def test_what_is_no_lock_is_read_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock.json").write_text(content)
    assert read_lock(tmp_path) is None


def test_progress_that_is_no_mapping_is_none_at_all(tmp_path: Path) -> None:
    for progress in ([1], "x", None):
        (tmp_path / "lock.json").write_text(json.dumps({"progress": progress}))
        assert read_lock(tmp_path) == {"progress": {}}
