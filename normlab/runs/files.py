"""Files that are whole or not there, and JSON that every reader takes."""

import contextlib
import errno
import json
import math
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from normlab.errors import RecordError
from normlab.text import first_line


def to_json(values: Mapping[str, Any]) -> str:
    """Strict JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False)


def to_json_line(values: Mapping[str, Any]) -> str:
    """The same in one line, for files with an object a line."""
    return json.dumps(_finite(values), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a mapping as strict JSON; raises RecordError where it cannot be written."""
    write_text(path, to_json(values) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text whole; raises RecordError where it cannot be written."""
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, push it to the disk, and rename it: whole or not there.

    Raises RecordError where it cannot be written.
    """
    # Process numbers are not enough: several machines may write into one folder.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write(beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        push_to_disk(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def push_to_disk(folder: Path) -> None:
    """Make a folder's names outlast a loss of power, as what was renamed in it does not by itself.

    Does nothing on systems and file systems that cannot.
    """
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def unwritable(path: Path, error: OSError) -> RecordError:
    """The one line for a file or folder that the system refuses to write."""
    if error.errno in (None, errno.ENOENT) and not path.parent.is_dir():  # None: pandas' own words
        return RecordError(f"{path}: there is no folder {path.parent}; make it, or name another")
    # Arrow's own words are about itself.
    reason = os.strerror(error.errno) if error.errno else first_line(error)
    return RecordError(
        f"{path}: cannot be written ({reason}); choose another folder, for runs with output.root=…"
    )
