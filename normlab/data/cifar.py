"""CIFAR-10, whose files are pickles that nothing of is executed."""

import math
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from normlab.config import DATA_SETS
from normlab.data.damage import by_times, damaged, reading
from normlab.data.finding import Source
from normlab.data.images import ImageSet, Split
from normlab.data.pickles import ArrayUnpickler

_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_FOLDER = "cifar-10-batches-py"


@DATA_SETS.register("cifar10")
class CIFAR10(ImageSet):
    """Colour images of 32×32 pixels in ten classes (Krizhevsky 2009)."""

    shape = (3, 32, 32)
    source = Source(
        "cifar10",
        (_FOLDER, "."),
        _BATCHES,
        archive="cifar-10-python.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/",
        md5=("c58f30108f718f92721af3b95e74349a",),
    )

    @classmethod
    def read(cls, path: Path) -> tuple[Split, Split]:
        """From the folder of its Python version or straight from the archive."""
        parts = _read_folder(path) if path.is_dir() else _read_archive(path)
        *train, test = (parts[name] for name in _BATCHES)
        images, labels = zip(*train, strict=True)
        return (np.concatenate(images), np.concatenate(labels)), test


def _read_folder(path: Path) -> dict[str, Split]:
    parts = {}
    for name in _BATCHES:
        with reading(path / name), (path / name).open("rb") as stream:
            parts[name] = read_batch(stream, path / name)
    return parts


def _read_archive(path: Path) -> dict[str, Split]:
    parts: dict[str, Split] = {}
    # Read as a stream, front to back, and nothing is written to disk.
    with reading(path), tarfile.open(path, "r|gz") as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            content = archive.extractfile(member) if member.isfile() else None
            if folder == _FOLDER and name in _BATCHES and content:
                parts[name] = read_batch(content, f"{path}: {name}")
    for name in _BATCHES:
        if name not in parts:
            raise damaged(path, f"it has no {_FOLDER}/{name}")
    return parts


def read_batch(stream: IO[bytes], where: Path | str, size: int = 10_000) -> Split:
    """One pickled batch of `size` colour images of 32×32 pixels (Krizhevsky 2009)."""
    try:
        batch = ArrayUnpickler(stream, encoding="bytes").load()
    except (EOFError, OSError, zlib.error, tarfile.TarError):
        raise
    except Exception as error:  # a pickle that is none can raise anything
        foreseen = isinstance(error, pickle.UnpicklingError)
        what = " ".join(str(error).split())[:80] if foreseen else "it is no whole pickle"
        raise damaged(where, f"not a CIFAR-10 batch: {what}") from error
    images, labels = (
        (batch.get(key) for key in (b"data", b"labels")) if isinstance(batch, dict) else (None,) * 2
    )
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise damaged(where, "not a CIFAR-10 batch: it has no data of unsigned bytes")
    if images.shape != (size, math.prod(CIFAR10.shape)):
        raise damaged(where, f"its data are {by_times(images.shape)}, not {size}×3072")
    if not isinstance(labels, list) or len(labels) != size:
        raise damaged(where, f"it has no list of {size} labels")
    if not all(type(label) is int and 0 <= label < CIFAR10.classes for label in labels):
        raise damaged(where, "it has labels other than 0 to 9")
    return images.reshape(size, *CIFAR10.shape), np.array(labels, np.uint8)
