"""Real images: found or downloaded, cut to size, standardized, put on the device."""

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from normlab.config import Count, DataSet, ImageTensors, Seed, Whole
from normlab.data.damage import reading
from normlab.data.finding import Source, find, locate_in, search_places
from normlab.data.sampling import class_balanced
from normlab.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Images [N, C, H, W] and labels [N] as they are stored: whole numbers, so that sums are exact.
Bytes = NDArray[np.uint8]
Split = tuple[Bytes, Bytes]
Stamp = tuple[str, int, int]


class ImageSet(DataSet):
    """A data set of real images.

    `standardize`, with pixels x in [0, 1] and constants of the training subset for both parts:
    `none` x; `binary` 1 where x > ½, else 0; `channel` (x − μ_c)/σ_c; `pixel_mean` x − μ_chw (He
    et al. 2015, 4.2).
    """

    root: str | None
    train_size: Count | None
    test_size: Count | None
    subset: Literal["balanced", "first"]
    seed: Seed
    standardize: Literal["none", "binary", "channel", "pixel_mean"]
    crop_padding: Whole
    flip: bool

    source: ClassVar[Source]
    white: ClassVar[int] = 255  # the stored number that stands for white
    classes: ClassVar[int] = 10
    shape: ClassVar[tuple[int, int, int]]  # channels, height and width of an image

    @property
    def augmentation(self) -> tuple[int, bool]:
        return self.crop_padding, self.flip

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.shape

    @property
    def second_moment(self) -> float | None:
        return 1.0 if self.standardize == "channel" else None

    @property
    def samples(self) -> int | None:
        return self.train_size

    @classmethod
    def has_files(cls) -> bool:
        return True

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

    def load(self, device: "torch.device") -> ImageTensors:
        """Raises ConfigError where a size or the crop padding cannot be, DataError where files are
        missing or damaged and cannot be downloaded."""
        train, test = self._stored()
        images, labels = self._subset(train, "train", self.train_size)
        test_images, test_labels = self._subset(test, "test", self.test_size)
        if self.crop_padding >= images.shape[-1]:
            raise ConfigError(
                f"data.crop_padding={self.crop_padding}: {self.name} has images of "
                f"{images.shape[-1]}×{images.shape[-1]} pixels; must be below {images.shape[-1]}"
            )
        white = self.white
        if self.standardize == "binary":
            images, test_images = (
                (part > white / 2).astype(np.uint8) for part in (images, test_images)
            )
            white = 1
        constants = standardization(images, self.standardize, white)
        return ImageTensors(
            _standardized(images, *constants, device),
            label_tensor(labels, device),
            _standardized(test_images, *constants, device),
            label_tensor(test_labels, device),
            self.classes,
        )

    def fetch(self) -> None:
        self.find(self.root)

    def content(self) -> str:
        """Of the images and labels alone, however they are packed; the same for every subset."""
        return _content_once(type(self), *self._place())

    def _stored(self) -> tuple[Split, Split]:
        return _read_once(type(self), *self._place())

    def _place(self) -> tuple[Path, tuple[Stamp, ...]]:
        path = self.find(self.root)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return path, tuple(_stamp(file) for file in files)

    def _subset(self, split: Split, part: str, size: int | None) -> Split:
        images, labels = split
        if size is None:
            return split
        if size > len(labels):
            name = "training" if part == "train" else part
            raise ConfigError(
                f"data.{part}_size={size}: {self.name} has {len(labels)} {name} samples"
            )
        if self.subset == "first":
            return images[:size], labels[:size]
        chosen = class_balanced(labels, size, self.seed)
        return images[chosen], labels[chosen]


@functools.lru_cache(maxsize=1)  # a sweep's worker makes many runs on one data set
def _read_once(
    kind: type[ImageSet],
    path: Path,
    stamps: tuple[Stamp, ...],  # noqa: ARG001  changed files are read again
) -> tuple[Split, Split]:
    return kind.read(path)


@functools.lru_cache(maxsize=8)
def _content_once(kind: type[ImageSet], path: Path, stamps: tuple[Stamp, ...]) -> str:
    found = hashlib.sha256()
    for split in _read_once(kind, path, stamps):
        for part in split:
            found.update(str((part.shape, part.dtype)).encode())
            found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()[:16]


def _stamp(file: Path) -> Stamp:
    """What changes when a file does: its name, size and time."""
    with reading(file):
        status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


def standardization(
    images: Bytes, standardize: str, white: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What to subtract from stored pixels and then to divide by, as broadcasting arrays."""
    offset: Any = 0
    divisor: Any = white
    if standardize == "pixel_mean":
        offset = images.mean(axis=0, dtype=np.float64)
    elif standardize == "channel":
        # Sums of whole numbers are exact in float64; no float copy of the images is made.
        offset = images.mean(axis=(0, 2, 3), dtype=np.float64)
        squares = np.einsum("nchw,nchw->c", images, images, dtype=np.float64)
        variance = squares / (images.size / images.shape[1]) - offset**2
        # A channel of one colour becomes zero.
        divisor = np.sqrt(variance, out=np.full_like(variance, white), where=variance > 0)
        offset, divisor = offset[:, None, None], divisor[:, None, None]
    return np.asarray(offset, np.float32), np.asarray(divisor, np.float32)


def _standardized(images: Bytes, offset: Any, divisor: Any, device: "torch.device") -> "Tensor":
    import torch

    # On the CPU, whatever the device: devices round a division differently.
    values: NDArray[np.float32] = np.subtract(images, offset, dtype=np.float32)
    values /= divisor
    return torch.from_numpy(values).to(device)


def label_tensor(labels: NDArray[Any], device: "torch.device") -> "Tensor":
    """Labels as int64 on a device."""
    import torch

    return torch.from_numpy(labels.astype(np.int64)).to(device)
