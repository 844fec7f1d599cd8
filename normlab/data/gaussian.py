"""Random images with random labels: nothing to learn, much to measure."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from normlab.config import DATA_SETS, Count, Fraction, ImageTensors, Seed
from normlab.data.images import label_tensor
from normlab.data.padding import PaddedSet
from normlab.data.sampling import noisy_labels, random_numbers

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@DATA_SETS.register("gaussian")
class Gaussian(PaddedSet):
    """Images of independent N(0, 1) pixels with random labels."""

    channels: Count
    size: Count
    classes: Annotated[int, Field(ge=2, le=10**6)]
    train_size: Count
    test_size: Count
    seed: Seed
    label_noise: Fraction

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.channels, self.size, self.size

    @property
    def second_moment(self) -> float:
        return 1.0

    @property
    def samples(self) -> int:
        return self.train_size

    def load(self, device: "torch.device") -> ImageTensors:
        import torch

        # A stream each, so that a larger set begins with the smaller one, and test never meets
        # train.
        streams = map(random_numbers, np.random.SeedSequence(self.seed).spawn(4))

        def draw(size: int, noise: float) -> "tuple[Tensor, Tensor]":
            shape = (size, self.channels, self.size, self.size)
            images = next(streams).standard_normal(shape).astype(np.float32)
            labels = next(streams).randint(self.classes, size=size)
            labels = noisy_labels(labels, noise, self.classes, self.seed)
            return torch.from_numpy(images).to(device), label_tensor(labels, device)

        images, labels = draw(self.train_size, self.label_noise)
        test_images, test_labels = draw(self.test_size, 0.0)
        return ImageTensors(
            *(self.padded(images, "train"), labels),
            *(self.padded(test_images, "test"), test_labels),
            self.classes,
        )
