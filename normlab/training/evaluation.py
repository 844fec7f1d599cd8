"""Loss and accuracy on whole data sets."""

from collections.abc import Callable
from typing import NamedTuple, overload

import torch
from torch import Tensor, nn

from normlab.config import ImageTensors, Training
from normlab.networks import cross_entropy
from normlab.training.devices import autocast, matrix_products

# Samples that are evaluated together: on a GPU so many that its time is not that of launches.
EVALUATION_BATCH = {"cpu": 500, "gpu": 5000}


class Scores(NamedTuple):
    """Mean loss, and accuracy as a fraction, on the training and the test set."""

    train_loss: float
    train_acc: float
    test_loss: float
    test_acc: float


@overload
def evaluate(model: nn.Module, dataset: ImageTensors, training: Training) -> Scores: ...


@overload
def evaluate(
    model: nn.Module, dataset: ImageTensors, training: Training, stopping: Callable[[], bool]
) -> Scores | None: ...


def evaluate(
    model: nn.Module,
    dataset: ImageTensors,
    training: Training,
    stopping: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """Mean loss and accuracy on the un-augmented training set and the test set.

    In eval mode: BatchNorm uses its running statistics. Read back from the device once. None where
    `stopping`, asked before every batch, says so. Where a GPU's memory is too small for its usual
    batches they are halved.
    """
    size = _usual_batch(dataset.train_images.device)
    while True:
        try:
            return _scores(model, dataset, training, stopping, size)
        except torch.OutOfMemoryError:
            if size <= EVALUATION_BATCH["cpu"]:
                raise
            size //= 2
        finally:
            model.train()


def _usual_batch(device: torch.device) -> int:
    return EVALUATION_BATCH["cpu" if device.type == "cpu" else "gpu"]


def _scores(
    model: nn.Module,
    dataset: ImageTensors,
    training: Training,
    stopping: Callable[[], bool],
    size: int,
) -> Scores | None:
    """The scores by batches of so many samples; the model stays in eval mode."""
    model.eval()
    sums: list[Tensor] = []
    sets = (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    )
    device = dataset.train_images.device
    precision = training.precision
    with torch.no_grad(), matrix_products(precision), autocast(precision, device):
        for images, labels in sets:
            losses, hits = [], []
            for start in range(0, len(labels), size):
                if stopping():
                    return None
                part = slice(start, start + size)
                x, y = images[part], labels[part]
                logits = model(x).float()
                losses.append(cross_entropy(logits, y, training.loss, reduction="sum"))
                hits.append((logits.argmax(dim=1) == y).sum())
            sums += [torch.stack(losses).sum() / len(labels), torch.stack(hits).sum() / len(labels)]
    return Scores(*torch.stack(sums).tolist())
