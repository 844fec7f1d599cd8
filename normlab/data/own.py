"""A person's own images: what their files hold names a run, where they lie does not."""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from normlab.config import Count
from normlab.data.images import ImageSet, Stored
from normlab.data.known import hash_of, stamp
from normlab.data.sampling import held_out
from normlab.errors import ConfigError, DataError

Hash = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
# Where the system does not say how much memory there is.
USUAL_MEMORY = 16 << 30


class OwnSet(ImageSet):
    """Images and labels of any number of classes, in files that `data.file` or `data.root` names.

    The hash and the shape that are null in configs/ are written into a config as it is composed,
    so that a run is named by what its data hold. A hash that is given has to be that of the files.
    """

    sha256: Hash | None
    shape: Annotated[tuple[Count, Count, Count], Field(strict=False)] | None

    outside_identity = frozenset({"file", "root"})
    told_by_files = ("sha256", "shape")
    place_key: ClassVar[str]  # the setting that says where they lie
    place_wanted: ClassVar[str]  # what it may be set to, in words

    @classmethod
    def has_files(cls) -> bool:
        return False  # none that could be found without being told where

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        return self.shape

    @property
    def place(self) -> Path:
        """Where it lies, absolute; raises ConfigError where that is not said."""
        given: str | None = getattr(self, self.place_key)
        if given is None:
            raise ConfigError(
                f"data.{self.place_key}=null: where the data lie; "
                f"add data.{self.place_key}={self.place_wanted}"
            )
        try:
            return Path(given).expanduser().absolute()
        except RuntimeError as error:
            raise DataError(f"{self.placed}: there is no such home folder") from error

    @property
    def placed(self) -> str:
        """Where it lies as the setting that says so."""
        return f"data.{self.place_key}={getattr(self, self.place_key)}"

    @property
    def title(self) -> str:
        return self.place.stem if getattr(self, self.place_key) else self.name

    def pinned(self) -> Self:
        reader, stamps = self._reader(), self._stamps()
        found = _told_once(reader, stamps)
        content = _hash_once(reader, stamps)
        self._check_hash(content)
        if not found.tested and self.test_share is None:
            raise self.lacks_test()
        place = {self.place_key: str(self.place)}  # the same from wherever a worker is started
        return self.model_copy(update={**place, "sha256": content, **found.settings})

    def check_folder(self) -> None:
        """Raise DataError where its place is no folder."""
        if self.place.is_file():
            raise DataError(
                f"{self.placed}: is a file; name its folder, data.{self.place_key}="
                f"{Path(getattr(self, self.place_key)).parent}"
            )
        if not self.place.is_dir():
            raise DataError(f"{self.placed}: there is no such folder")

    def without_told(self, changed: set[str]) -> Self:
        reading = type(self).model_fields.keys() - ImageSet.model_fields.keys()
        if not changed & (reading - set(self.told_by_files)):
            return self
        return self.model_copy(update=dict.fromkeys(self.told_by_files))

    def stored(self) -> Stored:
        reader, stamps = self._reader(), self._stamps()
        self._check_hash(_hash_once(reader, stamps))
        return _read_once(reader, stamps)

    def training_samples(self) -> int:
        labels = self.training_labels()
        count = len(labels)
        if self.test_share is not None:
            count -= int(held_out(labels, self.test_share, self.seed).sum())
        return min(count, self.train_size or count)

    def training_labels(self) -> NDArray[np.int64]:
        """The labels of the training part, before a test part is made of it; raises DataError."""
        return self.stored().train.labels

    def content(self) -> str:
        return _hash_once(self._reader(), self._stamps())

    def read(self) -> Stored:
        """What the files hold; raises DataError."""
        raise NotImplementedError

    def hash(self) -> str:
        """16 hexadecimal digits of what the files hold, wherever they lie."""
        stored = _read_once(self._reader(), self._stamps())
        return hash_of(*filter(None, (stored.train, stored.test)))

    def told(self) -> "Told":
        """What the files say of settings that are null."""
        raise NotImplementedError

    def files(self) -> list[Path]:
        """All that is read; raises DataError where it is not there."""
        raise NotImplementedError

    def _check_hash(self, content: str) -> None:
        if self.sha256 not in (None, content):
            raise DataError(
                f"data.sha256={self.sha256}: {self.placed} holds other images or labels "
                f"({content}); bring back those of before, or leave data.sha256 out"
            )

    def _reader(self) -> Self:
        """The same without what reading does not depend on."""
        beside = {*ImageSet.model_fields, *self.told_by_files}
        place = {self.place_key: str(self.place)}
        return self.model_copy(update={**dict.fromkeys(beside), **place})

    def _stamps(self) -> str:
        """What changes when a file does: a hash of names, sizes and times."""
        found = hashlib.sha256()
        for file in self.files():
            found.update(repr((str(file.parent), *stamp(file))).encode())
        return found.hexdigest()


class Told(NamedTuple):
    """What files say before all of them is read."""

    settings: Mapping[str, Any]  # values of settings that may be null
    tested: bool  # whether they have a test part


# The files are read again where their stamps have changed.


@functools.lru_cache(maxsize=1)  # a sweep's worker makes many runs on one data set
def _read_once(reader: OwnSet, stamps: str) -> Stored:  # noqa: ARG001
    return reader.read()


@functools.lru_cache(maxsize=8)
def _hash_once(reader: OwnSet, stamps: str) -> str:  # noqa: ARG001
    return reader.hash()


@functools.lru_cache(maxsize=8)
def _told_once(reader: OwnSet, stamps: str) -> Told:  # noqa: ARG001
    return reader.told()


def numbered(
    train: NDArray[Any], test: NDArray[Any] | None, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None, int]:
    """Labels of both parts as numbers from 0 on, in the order of the training labels sorted, and
    how many classes there are; raises DataError for less than two, or one that only the test part
    has."""
    classes, numbers = np.unique(train, return_inverse=True)
    if len(classes) < 2:
        only = f"only the class {classes[0]}" if len(classes) else "no sample"
        raise DataError(f"{where}: the training part has {only}; must have two classes or more")
    found: NDArray[np.int64] | None = None
    if test is not None:
        strange = np.setdiff1d(test, classes)
        if len(strange):
            raise DataError(
                f"{where}: the test part has the class {strange[0]}, of which the training part "
                "has no sample"
            )
        found = np.searchsorted(classes, test).astype(np.int64)
    return numbers.reshape(-1).astype(np.int64), found, len(classes)


def check_memory(size: int, where: str, cure: str) -> None:
    """Raise DataError for images that take more bytes than half of this machine's memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = USUAL_MEMORY
    if size > memory // 2:
        raise DataError(
            f"{where}: its images take {size / 1e9:.1f} GB, above half of this machine's memory; "
            f"{cure}"
        )
