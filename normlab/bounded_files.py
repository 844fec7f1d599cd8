"""Files that others may have written, read so that none can hang a command or fill the memory."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

# A named pipe must not wait for a writer, a terminal not become this process's own.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
# Ten times what any text in a run's folder takes; a larger buffer would cost more than reading.
SMALL_BYTES = 1 << 16


def read_bounded(path: str | Path, most_bytes: int = SMALL_BYTES) -> bytes:
    """A regular file's bytes, links followed.

    Raises OSError, and ValueError for a folder, pipe or device, and for more than `most_bytes`.
    """
    file = _opened(path, most_bytes)
    try:
        content = os.read(file, most_bytes + 1)
        # Until its end is met: a file of /proc has no size beforehand.
        while len(content) <= most_bytes and (more := os.read(file, most_bytes + 1)):
            content += more
    finally:
        os.close(file)
    if len(content) > most_bytes:
        raise ValueError(_too_large(path, most_bytes))
    return content


def open_regular(path: str | Path, most_bytes: int) -> BinaryIO:
    """A regular file, open for reading; raises as `read_bounded` does."""
    return os.fdopen(_opened(path, most_bytes), "rb")


def _opened(path: str | Path, most_bytes: int) -> int:
    file = os.open(path, _FLAGS)
    try:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError(f"{Path(path).name} is no regular file")
        if state.st_size > most_bytes:
            raise ValueError(_too_large(path, most_bytes))
    except BaseException:
        os.close(file)
        raise
    return file


def _too_large(path: str | Path, most_bytes: int) -> str:
    return f"{Path(path).name} is too large, above {most_bytes:,} bytes"
