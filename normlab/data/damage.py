"""What a bad data file raises, in one line with its cure."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from normlab.errors import DataError


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a bad file raises into one line with its cure."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise damaged(path, str(error) or "it ends too early") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); must be a file you may read"
        ) from error


def damaged(where: Path | str, what: str) -> DataError:
    """The error for a file that is not what its name says."""
    return DataError(f"{where}: damaged ({what}); delete it and fetch it again")


def by_times(shape: tuple[int, ...]) -> str:
    """A shape as `28×28`."""
    return "×".join(map(str, shape))
