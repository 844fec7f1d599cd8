"""Samples of different lengths: the rows behind a sample's own are filled, and a mask says so."""

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import model_validator

from normlab.config import DataSet, OpenFraction, Seed
from normlab.data.sampling import random_numbers
from normlab.errors import ConfigError
from normlab.text import plural

if TYPE_CHECKING:
    from torch import Tensor

    from normlab.config import Config

# Of the streams of data.seed, beside those of images, labels and noise in them.
_LENGTHS = {"train": 5, "test": 6}
_CONTENTS = {"train": 7, "test": 8}


class PaddedSet(DataSet):
    """A data set whose samples may be cut to random lengths.

    With `padding` p each sample of H rows keeps its first L, L uniform from (1−p)H, rounded up, to
    H and at least 1. The rows behind are filled, once standardized, with zeros or with N(0, 1).
    Lengths and content are drawn with data.seed.
    """

    padding: OpenFraction
    padding_content: Literal["zeros", "noise"]
    seed: Seed

    @model_validator(mode="before")
    @classmethod
    def _without_padding_no_content(cls, values: Any) -> Any:
        # So that a run whose content is of no padding is the same run; a typo is refused.
        content = values.get("padding_content", "noise") if isinstance(values, dict) else None
        if content == "noise" and values.get("padding") == 0:
            return {**values, "padding_content": "zeros"}
        return values

    @property
    def is_padded(self) -> bool:
        return self.padding > 0

    def least_rows(self, height: int) -> int:
        # Rounded, since (1 − 0.7)·10 is above 3.
        return max(1, math.ceil(round((1 - self.padding) * height, 9)))

    def check(self, config: "Config") -> None:
        if self.is_padded and not config.model.takes_padding:
            raise ValueError(
                f"data.padding={self.padding:g}: model={config.model.name} has no mask for it; "
                "use model=encoder, or data.padding=0"
            )
        shape = config.data.image_shape
        if shape is not None and (fault := self._fault_of_height(shape[1])):
            raise ValueError(fault)

    def _fault_of_height(self, height: int) -> str:
        if not self.is_padded or self.least_rows(height) < height:
            return ""
        least = math.ceil(1000 / height) / 1000
        fix = f"use at least {least:g}" if height > 1 else "use data.padding=0"
        return (
            f"data.padding={self.padding:g}: {self.padding:g} of {plural(height, 'row')} is less "
            f"than a row; {fix}"
        )

    def padded(self, images: "Tensor", part: Literal["train", "test"]) -> "Tensor":
        """Images [N, C, H, W] filled behind their lengths, with one more channel, the last: 1 at
        real pixels, 0 in padding. As they are without padding.

        Raises ConfigError where padding is less than a row.
        """
        import torch

        if not self.is_padded:
            return images
        count, _, height, _ = images.shape
        if fault := self._fault_of_height(height):
            raise ConfigError(fault)
        numbers = _stream(self.seed, _LENGTHS[part])
        lengths = numbers.randint(self.least_rows(height), height + 1, size=count)
        rows = np.arange(height) < lengths[:, None]
        real = torch.from_numpy(rows).to(images.device)[:, None, :, None]
        content = torch.zeros((), dtype=images.dtype, device=images.device)
        if self.padding_content == "noise":
            drawn = _stream(self.seed, _CONTENTS[part]).standard_normal(tuple(images.shape))
            content = torch.from_numpy(drawn.astype(np.float32)).to(images)
        filled = torch.where(real, images, content)
        return torch.cat([filled, real.expand_as(images[:, :1]).to(images)], dim=1)


def _stream(seed: int, key: int) -> np.random.RandomState:
    return random_numbers(np.random.SeedSequence(seed, spawn_key=(key,)))
