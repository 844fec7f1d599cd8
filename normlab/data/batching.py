"""The batches of an epoch, augmented on the device."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.config import DataSet, ImageTensors, check_batch_size


def batches(
    dataset: ImageTensors,
    config: DataSet,
    batch_size: int,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: training images [B, C, H, W] and labels [B] in random order, augmented.

    Every batch has exactly B = `batch_size` samples; a last smaller one is left out. With
    `crop_padding` p an image is padded by p zeros on each side and cut back to its size at one of
    the (2p+1)² places; with `flip` it is mirrored left to right with probability ½ (He et al.
    2015, 4.2). Padding comes after standardization, so its zeros are the training mean, as theirs
    are (black with `standardize` none). All of an epoch's randomness is drawn before its first
    batch. Raises ConfigError where the training set is smaller than one batch.
    """
    images, labels = dataset.train_images, dataset.train_labels
    samples, device = len(labels), images.device
    check_batch_size(batch_size, samples)
    padding, flip = config.augmentation

    def draw(choices: int, *shape: int) -> Tensor:
        numbers = torch.randint(choices, shape, generator=generator, device=generator.device)
        return numbers.to(device)

    order = torch.randperm(samples, generator=generator, device=generator.device).to(device)
    corners = draw(2 * padding + 1, 2, samples) if padding else None
    mirrored = draw(2, samples).bool() if flip else None
    for start in range(0, samples - batch_size + 1, batch_size):
        batch = slice(start, start + batch_size)
        chosen = images[order[batch]]
        if corners is not None:
            chosen = _crop(chosen, padding, *corners[:, batch])
        if mirrored is not None:
            chosen = torch.where(mirrored[batch, None, None, None], chosen.flip(3), chosen)
        yield chosen, labels[order[batch]]


def _crop(images: Tensor, padding: int, tops: Tensor, lefts: Tensor) -> Tensor:
    height, width = images.shape[2:]
    # A view of every crop of every padded image; indexing copies the one that is wanted.
    crops = F.pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(len(images), device=images.device), :, tops, lefts]
