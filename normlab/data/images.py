"""Real images: cut to size, standardized, put on the device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from normlab.config import Count, Fraction, ImageTensors, Seed, Share, Whole
from normlab.data.damage import by_times
from normlab.data.padding import PaddedSet
from normlab.data.sampling import class_balanced, held_out, noisy_labels
from normlab.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from normlab.config import Config

# Whole numbers, so that sums are exact.
Bytes = NDArray[np.uint8]


class Split(NamedTuple):
    """Images [N, C, H, W], of unsigned bytes or float32, and labels [N] as they are stored."""

    images: NDArray[Any]
    labels: NDArray[Any]


@dataclass(frozen=True)
class Stored:
    """A data set as its files hold it."""

    train: Split
    test: Split | None
    classes: int
    white: int  # the stored number that stands for white


class ImageSet(PaddedSet):
    """A data set of real images.

    `standardize`, with pixels x in [0, 1] and constants of the training subset for both parts:
    `none` x; `binary` 1 where x > ½, else 0; `channel` (x − μ_c)/σ_c; `pixel_mean` x − μ_chw (He
    et al. 2015, 4.2).
    """

    train_size: Count | None
    test_size: Count | None
    test_share: Share | None
    subset: Literal["balanced", "first"]
    seed: Seed
    label_noise: Fraction
    standardize: Literal["none", "binary", "channel", "pixel_mean"]
    crop_padding: Whole
    flip: bool

    @property
    def augmentation(self) -> tuple[int, bool]:
        return self.crop_padding, self.flip

    @property
    def second_moment(self) -> float | None:
        return 1.0 if self.standardize == "channel" else None

    @property
    def samples(self) -> int | None:
        return self.train_size

    @classmethod
    def has_files(cls) -> bool:
        return True

    def check(self, config: "Config") -> None:
        super().check(config)
        if self.is_padded and self.crop_padding:
            raise ValueError(
                f"data.crop_padding={self.crop_padding}: crops would move what "
                f"data.padding={self.padding:g} fills; add data.crop_padding=0"
            )

    def stored(self) -> Stored:
        """What its files hold; raises DataError where they are not to be had, or damaged."""
        raise NotImplementedError

    def load(self, device: "torch.device") -> ImageTensors:
        """Raises ConfigError where a size or the crop padding cannot be, DataError where files are
        missing or damaged and cannot be downloaded."""
        stored = self.stored()
        train, test = self._parts(stored)
        images, labels = self._subset(train, "train", self.train_size)
        test_images, test_labels = self._subset(test, "test", self.test_size)
        labels = noisy_labels(labels, self.label_noise, stored.classes, self.seed)
        least = min(images.shape[2:])
        if self.crop_padding >= least:
            raise ConfigError(
                f"data.crop_padding={self.crop_padding}: {self.title} has images of "
                f"{by_times(images.shape[2:])} pixels; must be below {least}"
            )
        white = stored.white
        if self.standardize == "binary":
            images, test_images = (
                (part > white / 2).astype(np.uint8) for part in (images, test_images)
            )
            white = 1
        constants = standardization(images, self.standardize, white)
        return ImageTensors(
            self.padded(_standardized(images, *constants, device), "train"),
            label_tensor(labels, device),
            self.padded(_standardized(test_images, *constants, device), "test"),
            label_tensor(test_labels, device),
            stored.classes,
        )

    def lacks_test(self) -> ConfigError:
        """The error of a data set without a test part of which none is to be made."""
        return ConfigError(
            f"data.test_share=null: {self.title} has no test part; data.test_share=0.2 makes one "
            "of a fifth of each training class"
        )

    def _parts(self, stored: Stored) -> tuple[Split, Split]:
        """The training and the test part: that of the files, or a share of the training part."""
        if self.test_share is None:
            if stored.test is None:
                raise self.lacks_test()
            return stored.train, stored.test
        images, labels = stored.train
        aside = held_out(labels, self.test_share, self.seed)
        if not aside.any():
            raise ConfigError(
                f"data.test_share={self.test_share:g}: leaves no test sample of the "
                f"{len(labels)} training samples of {self.title}; must be larger"
            )
        return Split(images[~aside], labels[~aside]), Split(images[aside], labels[aside])

    def _subset(self, split: Split, part: str, size: int | None) -> Split:
        images, labels = split
        if size is None:
            return split
        if size > len(labels):
            name = "training" if part == "train" else part
            raise ConfigError(
                f"data.{part}_size={size}: {self.title} has {len(labels)} {name} samples"
            )
        if self.subset == "first":
            return Split(images[:size], labels[:size])
        chosen = class_balanced(labels, size, self.seed)
        return Split(images[chosen], labels[chosen])


def standardization(
    images: NDArray[Any], standardize: str, white: int
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
        # A channel of one colour becomes zero; of floats a rounding is left of its variance.
        several = images.min(axis=(0, 2, 3)) < images.max(axis=(0, 2, 3))
        varies = several & (variance > 0)
        divisor = np.sqrt(variance, out=np.full_like(variance, white), where=varies)
        offset, divisor = offset[:, None, None], divisor[:, None, None]
    return np.asarray(offset, np.float32), np.asarray(divisor, np.float32)


def _standardized(
    images: NDArray[Any], offset: Any, divisor: Any, device: "torch.device"
) -> "Tensor":
    import torch

    # On the CPU, whatever the device: devices round a division differently.
    values: NDArray[np.float32] = np.subtract(images, offset, dtype=np.float32)
    values /= divisor
    return torch.from_numpy(values).to(device)


def label_tensor(labels: NDArray[Any], device: "torch.device") -> "Tensor":
    """Labels as int64 on a device."""
    import torch

    return torch.from_numpy(labels.astype(np.int64)).to(device)
