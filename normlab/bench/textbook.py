"""The loop that every tutorial has, with which others are compared."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import Config
from normlab.networks import build_model
from normlab.training import SGD, random_stream, select_device

Step = Callable[[], None]


def textbook_step(config: Config) -> tuple[Step, nn.Module]:
    """A step of the textbook loop on batches that lie ready, and the network that it trains."""
    torch.set_num_threads(config.runtime.threads)
    model, batches = model_and_batches(config)
    optimizer = textbook_optimizer(config, model.parameters())
    stream = itertools.cycle(batches)

    def step() -> None:
        images, labels = next(stream)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step, model


def textbook_optimizer(config: Config, parameters: Any) -> torch.optim.SGD:
    """PyTorch's SGD with the settings of a config."""
    optimizer = config.optimizer
    assert isinstance(optimizer, SGD)  # every benched net's
    return torch.optim.SGD(
        parameters,
        optimizer.lr,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
    )


def model_and_batches(config: Config) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    """The network on its device, in train mode, and its whole batches of images and labels."""
    device = select_device(config.runtime.device)
    dataset = config.data.load(device)
    model = build_model(config, dataset.shape, dataset.classes, random_stream(0, "init"))
    size = config.training.batch_size
    images, labels = (
        torch.split(dataset.train_images, size),
        torch.split(dataset.train_labels, size),
    )
    whole = [(x, y) for x, y in zip(images, labels, strict=True) if len(y) == size]
    return model.to(device).train(), whole


def seconds_of(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """The seconds that so many steps take on a device, which is waited for before and after."""
    _wait_for(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    _wait_for(device)
    return time.perf_counter() - began


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
