"""What torchmortem says of a training: its findings of some weight, each as the nearest cause."""

import importlib.util
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from normlab.config import Config, ImageTensors
from normlab.data import batches
from normlab.networks import build_model, cross_entropy
from normlab.training import SGD, Adam, random_stream, select_device

PEER = "torchmortem"
# The beginning of a finding's title, and the cause that it comes nearest to.
_CAUSES = {
    "Vanishing gradients": "vanishing_at_init",
    "Activation saturation": "vanishing_at_init",
    "Gradient stalling": "vanishing_at_init",
    "Exploding gradients": "exploding_at_init",
    "Update ratio too low": "rate_too_small",
    "Stagnant weight norms": "rate_too_small",
    "Update ratio too high": "rate_too_large",
    "Weight norm explosion": "rate_too_large",
    "Training divergence": "rate_too_large",
    "Dead units": "rate_too_large",
    "High gradient noise": "batch_too_small",
    "Rank collapse": "collapsed",
}


def is_installed() -> bool:
    """Whether torchmortem can be imported."""
    return importlib.util.find_spec(PEER) is not None


def causes_said(config: Config) -> list[str]:
    """Train as a config says, as far as PyTorch's own optimizers do, and return the causes of
    torchmortem's warnings, the weightiest first; `none` alone where it warns of nothing.

    A finding that comes near to no cause is `unknown`.
    """
    from torchmortem import Autopsy, Severity

    logging.getLogger(PEER).setLevel(logging.CRITICAL)
    torch.set_num_threads(config.runtime.threads)
    dataset = config.data.load(select_device(config.runtime.device))
    stream = random_stream(config.seed, "init")
    model = build_model(config, dataset.shape, dataset.classes, stream).train()
    model = model.to(dataset.train_images.device)
    optimizer = _optimizer(config, model)
    steps = _steps(config, dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        autopsy = Autopsy(model, optimizer=optimizer)
        with autopsy:
            for step, batch in zip(range(steps), _batches(config, dataset), strict=False):
                factor = config.schedule.factor(step, steps)
                loss = _train(config, model, optimizer, batch, config.optimizer.lr * factor)
                autopsy.step(loss=loss)
                if not math.isfinite(loss):
                    break
        report = autopsy.get_report()
    warned = [f.title for f in report.findings if f.severity >= Severity.WARNING] if report else []
    return list(dict.fromkeys(map(_cause_of, warned))) or ["none"]


def _cause_of(title: str) -> str:
    return next((cause for words, cause in _CAUSES.items() if title.startswith(words)), "unknown")


def _steps(config: Config, dataset: ImageTensors) -> int:
    training = config.training
    if training.steps is not None:
        return training.steps
    return (training.epochs or 0) * (len(dataset.train_labels) // training.batch_size)


def _batches(config: Config, dataset: ImageTensors) -> Iterator[tuple[Tensor, Tensor]]:
    """Those of normlab's own training, epoch after epoch."""
    epoch = 0
    while True:
        stream = random_stream(config.seed, "batches", epoch)
        yield from batches(dataset, config.data, config.training.batch_size, stream)
        epoch += 1


def _train(
    config: Config,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    lr: float,
) -> float:
    """One step, and its loss."""
    images, labels = batch
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss = cross_entropy(model(images), labels, config.training.loss)
    loss.backward()  # type: ignore[no-untyped-call]
    if config.training.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.training.clip_norm)
    optimizer.step()
    return loss.item()


def _optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """PyTorch's own optimizer with a config's settings."""
    own: Any = config.optimizer
    spared = own.decay == "weights"
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in model.parameters() if (spared and p.ndim < 2) == apart],
            "weight_decay": 0.0 if apart else own.weight_decay,
        }
        for apart in (False, True)
    ]
    groups = [group for group in groups if group["params"]]
    if isinstance(own, SGD):
        return torch.optim.SGD(groups, own.lr, momentum=own.momentum, nesterov=own.nesterov)
    assert isinstance(own, Adam)  # normlab has no others
    kind = torch.optim.AdamW if own.decoupled else torch.optim.Adam
    return kind(groups, own.lr, betas=(own.beta1, own.beta2), eps=own.eps)
