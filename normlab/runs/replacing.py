"""A finished run made again: the new one lies beside the old until it is whole and takes its place.

All of it is done by the holder of the folder's lock. Where a process is killed while it exchanges
them, the next holder goes on with it.
"""

import contextlib
import shutil
from pathlib import Path

from normlab.runs.files import push_to_disk, unwritable
from normlab.runs.folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    is_final,
)
from normlab.runs.provenance import ENVIRONMENT_FILE
from normlab.runs.summary import SUMMARY_FILE
from normlab.runs.tables import TABLES, stream_file, table_file

_NEW = ".new"


def replacement_of(folder: Path) -> Path:
    """Where a run is made that is to replace the finished one of a folder."""
    return folder / _NEW


def working_folder(folder: Path, *, force: bool) -> Path:
    """Where a start writes a run's files: beside a finished run that it is to replace."""
    return replacement_of(folder) if force and is_final(folder) else folder


def make_replacement(folder: Path) -> Path:
    """The folder beside a finished run, made where it is not there; raises RecordError."""
    new = replacement_of(folder)
    try:
        if new.is_symlink():  # it would lead elsewhere
            new.unlink()
        new.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(new, error) from error
    return new


def settle(folder: Path) -> None:
    """Put a replacement that is whole in its place; drop one that is not and cannot go on.

    A finished run with neither stays as it is. Raises RecordError.
    """
    new = replacement_of(folder)
    if not new.is_symlink() and is_final(new):
        _exchange(folder)
    elif not (is_final(folder) and (new / CHECKPOINT_FILE).exists()):
        _drop_replacement(folder)


def _exchange(folder: Path) -> None:
    """Put the new run, which is whole, in the place of the old one; raises RecordError.

    The old summary goes first and the new one comes last, so that none ever lies beside another
    run's tables.
    """
    new = replacement_of(folder)
    optional = [folder / name for name in (WEIGHTS_FILE, STATE_FILE, CHECKPOINT_FILE)]
    optional += [stream_file(folder, name) for name in TABLES]
    moved = [folder / CONFIG_FILE, folder / ENVIRONMENT_FILE]
    moved += [table_file(folder, name) for name in TABLES]
    try:
        (folder / SUMMARY_FILE).unlink(missing_ok=True)
        push_to_disk(folder)
        if (new / CONFIG_FILE).exists():  # the first to be moved: nothing here is the new run's yet
            for file in optional:
                if not (new / file.name).exists():
                    file.unlink(missing_ok=True)
        for file in (*moved, *optional, folder / SUMMARY_FILE):
            if (new / file.name).exists():
                (new / file.name).replace(file)
                push_to_disk(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    _drop_replacement(folder)


def _drop_replacement(folder: Path) -> None:
    """Remove what has been made of a replacement."""
    new = replacement_of(folder)
    with contextlib.suppress(OSError):
        if new.is_symlink():
            new.unlink()
        else:
            shutil.rmtree(new)
