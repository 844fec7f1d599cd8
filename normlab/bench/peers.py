"""The same training by other packages, which are imported where they are installed."""

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from normlab.bench.nets import Case
from normlab.bench.textbook import (
    model_and_batches,
    seconds_of,
    textbook_optimizer,
    textbook_step,
)
from normlab.config import Config
from normlab.training import select_device


@contextmanager
def with_lightning(case: Case) -> Iterator[Callable[[int], float]]:
    """PyTorch Lightning, logging `grad_norm` of every layer before every step."""
    import logging

    import lightning.pytorch as pl
    from torch.utils.data import DataLoader

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    config, device = case.config(), select_device(case.device)
    model, batches = model_and_batches(config)

    class Clock(pl.Callback):
        started = ended = 0.0

        def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 1:  # the first step builds what the rest use
                self.started = time.perf_counter()

        def on_train_batch_end(self, *_: Any) -> None:
            self.ended = time.perf_counter()

    def block(steps: int) -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            trainer = pl.Trainer(
                max_steps=steps + 1,
                log_every_n_steps=1,
                logger=pl.loggers.CSVLogger(folder),
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[clock],
                accelerator="cpu" if device.type == "cpu" else "auto",
                devices=[device.index or 0] if device.type == "cuda" else 1,
            )
            loader: Any = DataLoader(batches * 100, batch_size=None)  # type: ignore[arg-type]
            trainer.fit(_lightning_module(config, model), loader)
        return clock.ended - clock.started

    with _no_warnings():
        yield block


def _lightning_module(config: Config, model: nn.Module) -> Any:
    """The network with its loss and optimizer as Lightning wants them."""
    import lightning.pytorch as pl
    from lightning.pytorch.utilities import grad_norm

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, _: int) -> Tensor:
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def on_before_optimizer_step(self, _: Any) -> None:
            self.log_dict(grad_norm(self, norm_type=2))

        def configure_optimizers(self) -> Any:
            return textbook_optimizer(config, self.parameters())

    return Module()


@contextmanager
def with_wandb(case: Case) -> Iterator[Callable[[int], float]]:
    """The textbook loop under wandb.watch, offline, logging every gradient at every step."""
    import wandb

    step, model = textbook_step(case.config())
    with tempfile.TemporaryDirectory() as folder, _no_warnings():
        os.environ["WANDB_SILENT"] = "true"
        run = wandb.init(mode="offline", dir=folder, project="normlab-bench")
        run.watch(model, log="gradients", log_freq=1)

        def measured() -> None:
            step()
            run.log({})

        yield lambda steps: seconds_of(measured, steps, select_device(case.device))
        run.finish()


@contextmanager
def with_torchmortem(case: Case) -> Iterator[Callable[[int], float]]:
    """The textbook loop under torchmortem's Autopsy, at its own cadence."""
    import logging

    from torchmortem import Autopsy

    logging.getLogger("torchmortem").setLevel(logging.CRITICAL)
    config = case.config()
    model, batches = model_and_batches(config)
    optimizer = textbook_optimizer(config, model.parameters())
    stream = itertools.cycle(batches)
    with _no_warnings(), Autopsy(model, optimizer=optimizer) as autopsy:

        def step() -> None:
            images, labels = next(stream)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            autopsy.step(loss=loss.item())

        yield lambda steps: seconds_of(step, steps, select_device(case.device))


@contextmanager
def _no_warnings() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
