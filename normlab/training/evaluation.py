"""Loss and accuracy on whole data sets."""

from collections.abc import Callable
from typing import NamedTuple, overload

import torch
from torch import Tensor, nn

from normlab.config import ImageTensors, Training
from normlab.networks import cross_entropy
from normlab.training.devices import autocast, matrix_products

EVALUATION_BATCH = 500


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
    `stopping`, asked before every batch, says so.
    """
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
            for start in range(0, len(labels), EVALUATION_BATCH):
                if stopping():
                    model.train()
                    return None
                part = slice(start, start + EVALUATION_BATCH)
                x, y = images[part], labels[part]
                logits = model(x).float()
                losses.append(cross_entropy(logits, y, training.loss, reduction="sum"))
                hits.append((logits.argmax(dim=1) == y).sum())
            sums += [torch.stack(losses).sum() / len(labels), torch.stack(hits).sum() / len(labels)]
    model.train()
    return Scores(*torch.stack(sums).tolist())
