"""Data sets that are published: found where they usually lie, or downloaded."""

import functools
import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from normlab.data.damage import reading
from normlab.data.finding import Source, find, locate_in, search_places
from normlab.data.images import ImageSet, Split, Stored

Stamp = tuple[str, int, int]


class KnownSet(ImageSet):
    """A published data set, of one shape and so many classes."""

    root: str | None

    source: ClassVar[Source]
    train_samples: ClassVar[int | None] = None
    white: ClassVar[int] = 255
    classes: ClassVar[int] = 10
    shape: ClassVar[tuple[int, int, int]]  # channels, height and width of an image

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.shape

    def training_samples(self) -> int | None:
        return self.samples or self.train_samples

    @classmethod
    def locate(cls, root: str | None = None) -> Path | None:
        return locate_in(cls.source, cls.places(root))

    @classmethod
    def places(cls, root: str | None = None) -> list[Path]:
        """The folders where it is looked for, in order."""
        return search_places(cls.source, root)

    @classmethod
    def find(cls, root: str | None) -> Path:
        """Where it lies, downloaded if need be; raises DataError."""
        return find(cls.source, root)

    @classmethod
    def read(cls, path: Path) -> tuple[Split, Split]:
        """Training and test part as they are stored; raises DataError for damaged files."""
        raise NotImplementedError

    def stored(self) -> Stored:
        return Stored(*_read_once(type(self), *self._place()), self.classes, self.white)

    def fetch(self) -> None:
        self.find(self.root)

    def content(self) -> str:
        """Of the images and labels alone, however they are packed; the same for every subset."""
        return _content_once(type(self), *self._place())

    def _place(self) -> tuple[Path, tuple[Stamp, ...]]:
        path = self.find(self.root)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return path, tuple(stamp(file) for file in files)


@functools.lru_cache(maxsize=1)  # a sweep's worker makes many runs on one data set
def _read_once(
    kind: type[KnownSet],
    path: Path,
    stamps: tuple[Stamp, ...],  # noqa: ARG001  changed files are read again
) -> tuple[Split, Split]:
    return kind.read(path)


@functools.lru_cache(maxsize=8)
def _content_once(kind: type[KnownSet], path: Path, stamps: tuple[Stamp, ...]) -> str:
    return hash_of(*_read_once(kind, path, stamps))


def hash_of(*splits: Split) -> str:
    """16 hexadecimal digits of images and labels, as they are stored."""
    found = hashlib.sha256()
    for split in splits:
        for part in split:
            found.update(str((part.shape, part.dtype)).encode())
            found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()[:16]


def stamp(file: Path) -> Stamp:
    """What changes when a file does: its name, size and time."""
    with reading(file):
        status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns
