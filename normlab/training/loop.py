"""The training loop: one generator, read from top to bottom."""

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from normlab.config import PROBES, Config, Training
from normlab.data import Dataset, batches
from normlab.errors import ConfigError
from normlab.measurement import (
    gradient_norms,
    snapshot,
    train_mode_loss,
    update_ratios,
    watched_weights,
)
from normlab.networks import WeightLayer, build_model, cross_entropy, weight_layers
from normlab.training.optimizers import ParameterGroup, parameter_groups, update
from normlab.training.schedules import learning_rate

EVALUATION_BATCH = 500
PROGRESS_SECONDS = 0.1
# Training steps between two readings of the loss, for which the CPU waits for a GPU.
READ_EVERY = {"cpu": 1, "gpu": 50}


@dataclass(frozen=True)
class Started:
    """The network and the data stand; training begins."""

    device: str
    parameters: int
    layers: int
    classes: int
    steps: int
    steps_per_epoch: int
    resumed: int = 0  # the step that it goes on from


@dataclass(frozen=True)
class Progress:
    """A sign of life between measurements, about every `PROGRESS_SECONDS`."""

    step: int
    batch_loss: float


@dataclass(frozen=True)
class Evaluation:
    """A row of metrics.parquet."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """Rows of layers.parquet, one a layer, all of one step."""

    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on from here: tensors and numbers, to be kept at once.

    The batches, the augmentation and the learning rate are functions of seed and step, so that
    nothing random is in it.
    """

    state: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """The last event: `finished`, or `diverged` at the step of a loss or gradient not finite."""

    status: str
    step: int
    model: nn.Module


Event = Started | Progress | Evaluation | Measurement | Checkpoint | Ended


@dataclass(frozen=True)
class Network:
    """A network in training: its model, and what the optimizer remembers."""

    model: nn.Module
    layers: list[WeightLayer]
    parameters: list[nn.Parameter]
    groups: list[ParameterGroup]


@dataclass(frozen=True)
class Stepped:
    """What a training step measures of itself, still on the device."""

    loss: Tensor  # NaN where the gradient was not finite
    norms: Tensor  # [layers] ‖∂L/∂W‖, before clipping
    ratios: Tensor | None  # [layers] ‖ΔW‖/‖W‖, where asked for


def train(
    config: Config,
    *,
    resume: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress_seconds: float = PROGRESS_SECONDS,
) -> Iterator[Event]:
    """Train the network that a config names and yield what happens.

    A row with step s is about the weights after s optimizer steps: its evaluation, its snapshot,
    and the gradient and update of the training step taken from there (the last row has neither).
    A run that diverges ends with an evaluation of its broken weights. Diverging is judged in train
    mode alone: in eval mode a fresh BatchNorm net may overflow, as its running statistics are not
    yet those of its data. Sets the process's number of threads. Raises ConfigError for a device or
    batch size that cannot be, DataError for damaged data.

    A Checkpoint comes every `runtime.checkpoint_seconds`, and before a training that `stop` ends
    between two steps, without an Ended. With a checkpoint's state as `resume` it goes on from
    there, and on a CPU yields the same as one that was never stopped.
    """
    device = select_device(config.runtime.device)
    precision = config.training.precision
    _check_precision(precision, device)
    torch.set_num_threads(config.runtime.threads)
    dataset = config.data.load(device)
    steps_per_epoch = _steps_per_epoch(config, dataset)
    steps = total_steps(config, steps_per_epoch)

    network = build_network(config, dataset)
    model, layers = network.model, network.layers
    probe_images, probe_labels = _probe_batch(config, dataset)
    probes = [name for name in config.probes.measure if PROBES[name].measure]
    snapshot_steps = snapshot_schedule(config, steps, steps_per_epoch)
    update_steps = snapshot_steps if "update_ratio" in config.probes.measure else frozenset()
    gradient_steps = gradient_schedule(config, steps, snapshot_steps)
    evaluation_stride = config.training.evaluate_every_epochs * steps_per_epoch
    read_every = READ_EVERY["cpu" if device.type == "cpu" else "gpu"]

    first = restore(network, resume) if resume else 0

    yield Started(
        device=str(device),
        parameters=sum(p.numel() for p in network.parameters),
        layers=len(layers),
        classes=dataset.classes,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        resumed=first,
    )
    shown = saved = time.perf_counter()
    started = shown - (resume["seconds"] if resume else 0.0)
    stream = _epochs(config, dataset, first, steps_per_epoch)
    batch_loss = resume["batch_loss"] if resume else math.nan
    unread: list[Tensor] = []  # losses still on the device, NaN where a gradient was not finite

    def first_broken(steps_done: int) -> int | None:
        """Read the losses back; the first training step whose loss or gradient was not finite."""
        nonlocal batch_loss
        losses = torch.stack(unread).tolist() if unread else []
        batch_loss = losses[-1] if losses else batch_loss
        unread.clear()
        broken = (age for age, loss in enumerate(losses) if not math.isfinite(loss))
        return next((steps_done - len(losses) + age for age in broken), None)

    def evaluated(step: int) -> Evaluation:
        row = {
            "step": step,
            "epoch": step / steps_per_epoch,
            **evaluate(model, dataset, config.training),
            "batch_loss": batch_loss,
            "lr": learning_rate(config, min(step, steps - 1), steps) if steps else math.nan,
            "seconds": time.perf_counter() - started,
        }
        return Evaluation(row)

    for step in range(first, steps + 1):
        evaluating = step % evaluation_stride == 0 or step == steps
        if evaluating or step in snapshot_steps:
            broken = first_broken(step)
            if broken is None and step == steps:  # no training step tells of the last update
                last = train_mode_loss(model, probe_images, probe_labels, config.training.loss)
                broken = None if math.isfinite(last.item()) else steps
            if broken is not None:
                yield evaluated(step)
                yield Ended("diverged", broken, model)
                return
        if evaluating:
            yield evaluated(step)

        columns: dict[str, Tensor] = {}
        if step in snapshot_steps and probes:
            with matrix_products("fp32"):
                measured = snapshot(
                    model, layers, probe_images, probe_labels, probes, config.training.loss
                )
            columns = dict(zip(probes, measured.unbind(dim=1), strict=True))
        if step == steps:
            if columns:
                yield Measurement(_rows(step, layers, columns))
            break

        images, labels = next(stream)
        rate = learning_rate(config, step, steps)
        stepped = training_step(config, network, images, labels, rate, ratios=step in update_steps)
        unread.append(stepped.loss)
        if step in gradient_steps:
            columns["grad_norm"] = stepped.norms
        if stepped.ratios is not None:
            columns["update_ratio"] = stepped.ratios

        if columns or len(unread) == read_every or step + 1 == steps:
            broken = first_broken(step + 1)
            if columns and (broken is None or broken == step):
                yield Measurement(_rows(step, layers, columns))
            if broken is not None:
                yield evaluated(step + 1)
                yield Ended("diverged", broken, model)
                return
            if (now := time.perf_counter()) - shown > progress_seconds:
                shown = now
                stopping, every = stop(), config.runtime.checkpoint_seconds
                yield Progress(step + 1, batch_loss)
                if every and (stopping or now - saved > every):
                    saved = now
                    yield Checkpoint(_state(network, step + 1, batch_loss, now - started))
                if stopping:
                    return

    yield Ended("finished", steps, model)


# ------------------------------------------------------------------------ the training step


def build_network(config: Config, dataset: Dataset) -> Network:
    """The network that a config names, on the data's device, in train mode."""
    device = dataset.train_images.device
    model = build_model(config, dataset.shape, dataset.classes, random_stream(config.seed, "init"))
    model = model.to(device).train()
    parameters = list(model.parameters())
    groups = parameter_groups(config.optimizer, parameters)
    return Network(model, weight_layers(model), parameters, groups)


def _state(network: Network, step: int, batch_loss: float, seconds: float) -> dict[str, Any]:
    return {
        "step": step,
        "batch_loss": batch_loss,
        "seconds": seconds,
        "model": network.model.state_dict(),
        "optimizer": [
            {"momenta": group.momenta, "squares": group.squares, "steps": group.steps}
            for group in network.groups
        ],
    }


def restore(network: Network, state: Mapping[str, Any]) -> int:
    """Give a network the weights and the optimizer's memory of a checkpoint; the step it is at."""
    network.model.load_state_dict(state["model"])
    for group, memory in zip(network.groups, state["optimizer"], strict=True):
        device = group.parameters[0].device
        group.momenta = [None if m is None else m.to(device) for m in memory["momenta"]]
        group.squares = [square.to(device) for square in memory["squares"]]
        group.steps = [steps.to(device) for steps in memory["steps"]]
    return int(state["step"])


def training_step(
    config: Config, network: Network, images: Tensor, labels: Tensor, lr: float, *, ratios: bool
) -> Stepped:
    """One optimizer step on a batch, which measures every layer's gradient on the way."""
    device, precision = images.device, config.training.precision
    layers, parameters = network.layers, network.parameters
    for parameter in parameters:
        parameter.grad = None
    with watched_weights(layers) as weights, matrix_products(precision):
        with autocast(precision, device):
            loss = cross_entropy(network.model(images), labels, config.training.loss)
        loss.backward()  # type: ignore[no-untyped-call]
    norms = gradient_norms(weights)
    finite = norms.isfinite().all()
    if config.training.clip_norm is not None:
        # PyTorch's own total norm overflows float32 just where clipping is needed most.
        total = gradient_norms(parameters).norm()
        nn.utils.clip_grads_with_norm_(parameters, config.training.clip_norm, total)
    before = [w.detach().clone() for w in weights] if ratios else []
    update(config.optimizer, network.groups, lr)
    after = [layer.module.weight for layer in layers] if ratios else []
    return Stepped(
        loss=torch.where(finite, loss.detach(), torch.nan),
        norms=norms,
        ratios=update_ratios(before, after) if ratios else None,
    )


# --------------------------------------------------------------------------- evaluation


def evaluate(model: nn.Module, dataset: Dataset, training: Training) -> dict[str, float]:
    """Mean loss and accuracy on the un-augmented training set and the test set.

    In eval mode: BatchNorm uses its running statistics. Read back from the device once.
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
                part = slice(start, start + EVALUATION_BATCH)
                x, y = images[part], labels[part]
                logits = model(x).float()
                losses.append(cross_entropy(logits, y, training.loss, reduction="sum"))
                hits.append((logits.argmax(dim=1) == y).sum())
            sums += [torch.stack(losses).sum() / len(labels), torch.stack(hits).sum() / len(labels)]
    model.train()
    values = torch.stack(sums).tolist()
    return dict(zip(("train_loss", "train_acc", "test_loss", "test_acc"), values, strict=True))


# ------------------------------------------------------------------------------ schedules


def total_steps(config: Config, steps_per_epoch: int) -> int:
    """The length of a training in optimizer steps."""
    if config.training.steps is not None:
        return config.training.steps
    assert config.training.epochs is not None  # Config refuses it
    return config.training.epochs * steps_per_epoch


def snapshot_schedule(config: Config, steps: int, steps_per_epoch: int) -> frozenset[int]:
    """Steps 0 and last, the end of the first epoch, and `probes.snapshots` log-spaced between."""
    if not config.probes.measure:
        return frozenset()
    spaced = np.geomspace(1, max(steps, 1), config.probes.snapshots).round().astype(int).tolist()
    return frozenset({0, steps, *spaced, steps_per_epoch} & set(range(steps + 1)))


def gradient_schedule(config: Config, steps: int, snapshots: frozenset[int]) -> frozenset[int]:
    """The snapshots' steps and at most `probes.grad_norm_steps` evenly spread ones."""
    if "grad_norm" not in config.probes.measure:
        return frozenset()
    at_most = config.probes.grad_norm_steps
    even = range(0, steps, math.ceil(steps / at_most)) if at_most and steps else ()
    return snapshots.union(even)


# ------------------------------------------------------------------- data and randomness


def random_stream(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """An independent random stream, a pure function of its name.

    It lies on the CPU, so that a seed means the same weights and batches on every device.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def _epochs(
    config: Config, dataset: Dataset, first: int, steps_per_epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of step `first` and of all that follow."""
    skipped = first % steps_per_epoch
    for epoch in itertools.count(first // steps_per_epoch):
        stream = random_stream(config.seed, "batches", epoch)
        made = batches(dataset, config.data, config.training.batch_size, stream)
        yield from itertools.islice(made, skipped, None)
        skipped = 0


def _probe_batch(config: Config, dataset: Dataset) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(dataset.train_labels), generator=random_stream(config.seed, "probe"))
    chosen = order[: config.probes.batch_size].to(dataset.train_labels.device)
    return dataset.train_images[chosen], dataset.train_labels[chosen]


def _steps_per_epoch(config: Config, dataset: Dataset) -> int:
    samples, batch = len(dataset.train_labels), config.training.batch_size
    if batch > samples:
        raise ConfigError(
            f"training.batch_size={batch}: there are {samples} training samples; "
            f"use at most {samples}"
        )
    return samples // batch


# ---------------------------------------------------------------- device and precision


def select_device(name: str) -> torch.device:
    """The device of `runtime.device`; auto is cuda, then mps, then cpu. Raises ConfigError."""
    have = available_devices()
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if d in have))
    if name not in have:
        raise ConfigError(
            f"runtime.device={name}: no such device here; choices: auto, {', '.join(have)}"
        )
    return torch.device(name)


def available_devices() -> list[str]:
    """The names that `runtime.device` takes on this machine."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cpu"]
    if gpus:
        names += ["cuda", *(f"cuda:{index}" for index in range(gpus))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError(
            f"training.precision=tf32: needs an NVIDIA GPU, this runs on {device.type}; "
            "choices here: fp32, bf16"
        )


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Products and convolutions in TF32 where `precision` is tf32, else exact; undone on leaving.

    A backward pass must lie within, since it makes products of its own.
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # PyTorch's own default is on
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """PyTorch's autocast to bfloat16 where `precision` is bf16; for forward passes only."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _rows(step: int, layers: list[WeightLayer], columns: dict[str, Tensor]) -> list[dict[str, Any]]:
    values = {name: column.tolist() for name, column in columns.items()}
    return [
        {
            "step": step,
            "layer": layer.index,
            "name": layer.name,
            "kind": layer.kind,
            **{name: column[position] for name, column in values.items()},
        }
        for position, layer in enumerate(layers)
    ]
