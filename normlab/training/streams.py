"""What is random in a training, each a pure function of the seed, its purpose and the epoch."""

import hashlib
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from normlab.config import Config, DataSet, ImageTensors
from normlab.data import batches
from normlab.measurement import ProbeBatch


def random_stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """An independent random stream, a pure function of its name.

    It lies on the CPU, so that a seed means the same weights and batches on every device.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def load_data(data: DataSet, device: torch.device) -> ImageTensors:
    """A data set on a device; on a GPU it stays there for the process's next run of the same data.

    Raises DataError where its files are damaged or missing.
    """
    if device.type == "cpu":
        return data.load(device)
    key = data, data.content(), device
    if key not in _on_device:
        _on_device.clear()  # before another one takes memory, too
        _on_device[key] = data.load(device)
    return _on_device[key]


# The data set that a GPU had last, by its settings and what its files held.
_on_device: dict[tuple[DataSet, str | None, torch.device], ImageTensors] = {}


def batches_from(
    config: Config, dataset: ImageTensors, first: int, steps_per_epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of step `first` and of all that follow."""
    skipped = first % steps_per_epoch
    for epoch in itertools.count(first // steps_per_epoch):
        stream = random_stream(config.seed, "batches", epoch)
        made = batches(dataset, config.data, config.training.batch_size, stream)
        yield from itertools.islice(made, skipped, None)
        skipped = 0


def draw_probe_batch(config: Config, dataset: ImageTensors) -> ProbeBatch:
    """`probes.batch_size` training samples, drawn once and never augmented."""
    order = torch.randperm(len(dataset.train_labels), generator=random_stream(config.seed, "probe"))
    chosen = order[: config.probes.batch_size].to(dataset.train_labels.device)
    images, labels = dataset.train_images[chosen], dataset.train_labels[chosen]
    return ProbeBatch(images, labels, config.training.loss)
