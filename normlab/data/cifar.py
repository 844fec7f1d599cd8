"""CIFAR-10 and CIFAR-100, whose files are pickles that nothing of is executed."""

import math
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from normlab.config import DATA_SETS
from normlab.data.damage import by_times, damaged, reading
from normlab.data.finding import Source
from normlab.data.images import Split, Stored
from normlab.data.known import KnownSet
from normlab.data.pickles import ArrayUnpickler

_PIXELS = (3, 32, 32)


class Batch(NamedTuple):
    """A file of a CIFAR set: its name, its samples, and the labels that each of them has."""

    name: str
    size: int
    classes: dict[bytes, int]  # how many there are, by the key of their labels


class CIFAR(KnownSet):
    """Colour images of 32×32 pixels (Krizhevsky 2009); the last file is the test part."""

    shape = _PIXELS
    batches: ClassVar[tuple[Batch, ...]]

    @classmethod
    def read(cls, path: Path) -> tuple[Split, Split]:
        """From the folder of its Python version or straight from the archive; labels [N], or
        [N, kinds of labels] where a sample has several."""
        parts = cls._read_folder(path) if path.is_dir() else cls._read_archive(path)
        *train, test = (parts[batch.name] for batch in cls.batches)
        images, labels = zip(*train, strict=True)
        return Split(np.concatenate(images), np.concatenate(labels)), test

    @classmethod
    def _read_folder(cls, path: Path) -> dict[str, Split]:
        parts = {}
        for batch in cls.batches:
            file = path / batch.name
            with reading(file), file.open("rb") as stream:
                parts[batch.name] = read_batch(stream, file, batch)
        return parts

    @classmethod
    def _read_archive(cls, path: Path) -> dict[str, Split]:
        parts: dict[str, Split] = {}
        wanted = {batch.name: batch for batch in cls.batches}
        own = cls.source.subfolders[0]
        # Read as a stream, front to back, and nothing is written to disk.
        with reading(path), tarfile.open(path, "r|gz") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                content = archive.extractfile(member) if member.isfile() else None
                if folder == own and name in wanted and content:
                    parts[name] = read_batch(content, f"{path}: {name}", wanted[name])
        for name in wanted:
            if name not in parts:
                raise damaged(path, f"it has no {own}/{name}")
        return parts


def _source(name: str, folder: str, batches: tuple[Batch, ...], archive: str, md5: str) -> Source:
    return Source(
        name,
        (folder, "."),
        tuple(batch.name for batch in batches),
        archive=archive,
        url="https://www.cs.toronto.edu/~kriz/",
        md5=(md5,),
    )


@DATA_SETS.register("cifar10")
class CIFAR10(CIFAR):
    """Ten classes."""

    batches = tuple(
        Batch(name, 10_000, {b"labels": 10})
        for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    )
    train_samples = 50_000
    source = _source(
        *("cifar10", "cifar-10-batches-py", batches),
        *("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    )


@DATA_SETS.register("cifar100")
class CIFAR100(CIFAR):
    """A hundred fine classes, in twenty coarse ones."""

    labels: Literal["fine", "coarse"]

    batches = tuple(
        Batch(name, size, {b"fine_labels": 100, b"coarse_labels": 20})
        for name, size in (("train", 50_000), ("test", 10_000))
    )
    train_samples = 50_000
    source = _source(
        *("cifar100", "cifar-100-python", batches),
        *("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
    )

    def stored(self) -> Stored:
        both = super().stored()
        kinds = self.batches[0].classes
        column = list(kinds).index(f"{self.labels}_labels".encode())
        assert both.test is not None
        train, test = (
            Split(part.images, part.labels[:, column]) for part in (both.train, both.test)
        )
        return Stored(train, test, list(kinds.values())[column], both.white)


def read_batch(stream: IO[bytes], where: Path | str, expected: Batch) -> Split:
    """One pickled batch of colour images of 32×32 pixels."""
    what = "CIFAR batch"
    try:
        batch = ArrayUnpickler(stream, encoding="bytes").load()
    except (EOFError, OSError, zlib.error, tarfile.TarError):
        raise
    except Exception as error:  # a pickle that is none can raise anything
        foreseen = isinstance(error, pickle.UnpicklingError)
        why = " ".join(str(error).split())[:80] if foreseen else "it is no whole pickle"
        raise damaged(where, f"not a {what}: {why}") from error
    images = batch.get(b"data") if isinstance(batch, dict) else None
    size = expected.size
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise damaged(where, f"not a {what}: it has no data of unsigned bytes")
    if images.shape != (size, math.prod(_PIXELS)):
        raise damaged(where, f"its data are {by_times(images.shape)}, not {size}×3072")
    labels = [
        _labels(batch.get(key), key.decode(), where, size, classes)
        for key, classes in expected.classes.items()
    ]
    stacked = labels[0] if len(labels) == 1 else np.stack(labels, axis=1)
    return Split(images.reshape(size, *_PIXELS), stacked)


def _labels(
    labels: Any, name: str, where: Path | str, size: int, classes: int
) -> NDArray[np.uint8]:
    if not isinstance(labels, list) or len(labels) != size:
        raise damaged(where, f"it has no list of {size} {name}")
    if not all(type(label) is int and 0 <= label < classes for label in labels):
        raise damaged(where, f"it has {name} other than 0 to {classes - 1}")
    return np.array(labels, np.uint8)
