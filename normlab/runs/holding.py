"""A run's folder made, locked and put in order, before anything is written into it."""

import contextlib
import errno
from pathlib import Path

from normlab.config import Config
from normlab.errors import NormlabError, RecordError
from normlab.runs.files import unwritable
from normlab.runs.folder import CHECKPOINT_FILE, is_final, run_folder
from normlab.runs.locks import LOCK_FILE, RunLock
from normlab.runs.replacing import replacement_of, settle
from normlab.runs.tables import TABLES, stream_file


def hold(config: Config) -> RunLock:
    """The lock of a config's folder, which is made where it is not there.

    What a killed process left is put in order. Raises BusyError where another process has the
    lock, RecordError where the folder cannot be written or is a link that leads out of the results.
    """
    folder = run_folder(config)
    check_within(folder, Path(config.output.root))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        settle(folder)
    except BaseException:
        lock.release()
        raise
    return lock


def check_within(folder: Path, root: Path) -> None:
    """Raise RecordError where a folder is a link that leads out of the results folder."""
    try:
        leads_out = folder.is_symlink() and not folder.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        # RuntimeError, in older versions of Python: a link in a circle.
        if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
            raise RecordError(f"{folder}: a link that leads nowhere; remove it") from error
        raise unwritable(folder, error) from error
    if leads_out:
        raise RecordError(
            f"{folder}: a link that leads out of {root}, to {folder.resolve()}, where nothing is "
            "written; remove it, or choose another folder with output.root=…"
        )


def remove_leftovers(folder: Path) -> None:
    """Put in order what a process left that was killed after a run was whole.

    A finished run has neither lock, checkpoint nor unfinished tables, and a replacement that is
    whole takes its place. A folder that cannot be written, or that another process is at, stays as
    it is.
    """
    with contextlib.suppress(OSError, NormlabError):
        check_within(folder, folder.parents[1])
        unfinished = [folder / CHECKPOINT_FILE, *(stream_file(folder, name) for name in TABLES)]
        left = [folder / LOCK_FILE, replacement_of(folder), *unfinished]
        if not any(file.exists() for file in left) and not any(folder.glob(f".{LOCK_FILE}.*.tmp")):
            return
        if is_final(folder) or is_final(replacement_of(folder)):
            lock = RunLock(folder)
            try:
                settle(folder)
                if is_final(folder):
                    for file in unfinished:
                        file.unlink(missing_ok=True)
            finally:
                lock.release()
