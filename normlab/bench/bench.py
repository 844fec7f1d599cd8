"""What measuring costs: a training step beside the bare textbook loop, in alternating blocks."""

import importlib.util
import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import Config, compose
from normlab.errors import ConfigError
from normlab.networks import build_model, weight_layers
from normlab.training import (
    SGD,
    Event,
    Progress,
    matrix_products,
    random_stream,
    select_device,
    train,
)

NETS: dict[str, tuple[str, ...]] = {
    "mlp-30": ("model=mlp", "model.depth=30", "model.width=64"),
    "cnn-20": ("model=cnn", "model.depth=20"),
    "resnet-56": ("model=resnet", "model.depth=56"),
    "resnet-20-28": (
        *("model=resnet", "model.depth=20", "model.width=16"),
        *("data=gaussian", "data.size=28", "data.train_size=1024", "data.test_size=128"),
    ),
}
QUICK_NETS = ("mlp-30", "cnn-20")
# A training of so many steps is what the default cadence of the snapshots is spread over.
CADENCE_STEPS = 2000
BLOCK_SECONDS = 0.08
_STEPS = 20_000  # of a benched training, which nobody waits for

# A block: make so many steps and say how many seconds they took.
Block = Callable[[int], float]


@dataclass(frozen=True)
class Timing:
    """A variant's step: its time over that of the bare loop's, and its own."""

    net: str
    threads: int
    variant: str
    ratio: float  # median over rounds of blocks
    low: float  # its quartiles
    high: float
    milliseconds: float


def measure(net: str, threads: int, seconds: float, device: str = "auto") -> Iterator[Timing]:
    """The timings of a net's variants, `seconds` of blocks in all; raises ConfigError.

    Every round makes one block of each variant, in an order drawn anew, and compares it with the
    same round's block of the bare loop. What takes several steps' time, and what leaves threads
    of its own behind, comes in rounds of its own, after the rest.
    """
    cheap = _rounds(dict(VARIANTS[:4]), net, threads, device, 0.6 * seconds)
    rest = _rounds(dict([VARIANTS[0], *VARIANTS[3:]]), net, threads, device, 0.4 * seconds)
    for times in (cheap, rest):
        for name, own in times.items():
            if times is cheap or name not in cheap:
                yield _timing(net, threads, name, own, times["bare"])
    # The snapshots of a default training, spread over its steps; from the two measured above.
    config = bench_config(net, threads, device)
    # Besides the log-spaced ones: steps 0 and last and the end of the first epoch.
    share = (config.probes.snapshots + 3) / CADENCE_STEPS
    every, usual = (statistics.median(rest[name]) for name in ("all, every step", "grad_norm"))
    spread = [step + share * (every - usual) for step in cheap["grad_norm"]]
    yield _timing(net, threads, f"all, {CADENCE_STEPS} steps", spread, cheap["bare"])
    floor = step_flops(config) / product_rate(config)
    share = floor / statistics.median(cheap["bare"])
    yield Timing(net, threads, "floor", share, share, share, 1e3 * floor)


def _rounds(
    variants: Mapping[str, Callable[[str, int, str], Any]],
    net: str,
    threads: int,
    device: str,
    seconds: float,
) -> dict[str, list[float]]:
    """Seconds of a step, by variant, in rounds of a block each."""
    draw = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in variants}
    with ExitStack() as stack:
        # Equal arithmetic on a GPU too, where PyTorch's own convolutions are in TF32.
        stack.enter_context(matrix_products(bench_config(net, threads, device).training.precision))
        blocks = {
            name: stack.enter_context(make(net, threads, device)) for name, make in variants.items()
        }
        for block in blocks.values():
            block(2)
        steps = max(1, round(BLOCK_SECONDS / blocks["bare"](1)))
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends or len(times["bare"]) < 4:
            for name in draw.sample(list(blocks), len(blocks)):
                times[name].append(blocks[name](steps) / steps)
    return times


def _timing(net: str, threads: int, name: str, own: list[float], bare: list[float]) -> Timing:
    ratios = [a / b for a, b in zip(own, bare, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Timing(net, threads, name, median, low, high, 1e3 * statistics.median(own))


def bench_config(net: str, threads: int, device: str, *more: str) -> Config:
    """A net's config, never evaluated; raises ConfigError for a net that is not benched."""
    if net not in NETS:
        raise ConfigError(f"{net}: no such net; choices: {', '.join(NETS)}")
    overrides = [
        *NETS[net],
        *(f"training.steps={_STEPS}", "training.evaluate_every_epochs=1000000"),
        *(f"runtime.threads={threads}", f"runtime.device={device}"),
        *more,
    ]
    return compose(overrides)


# ------------------------------------------------------------------------------ variants


@contextmanager
def _bare(net: str, threads: int, device: str) -> Iterator[Block]:
    step, _ = _textbook(bench_config(net, threads, device))
    yield lambda steps: _timed(step, steps)


@contextmanager
def _item(net: str, threads: int, device: str) -> Iterator[Block]:
    step, model = _textbook(bench_config(net, threads, device))
    weights = [layer.module.weight for layer in weight_layers(model)]

    def measured() -> None:
        step()
        for weight in weights:
            assert weight.grad is not None
            weight.grad.norm().item()

    yield lambda steps: _timed(measured, steps)


def _training(*overrides: str) -> Callable[[str, int, str], Any]:
    """normlab's own loop: batches, schedule, reading the loss and rows of measurements included."""

    @contextmanager
    def variant(net: str, threads: int, device: str) -> Iterator[Block]:
        config = bench_config(net, threads, device, *overrides)
        events: Iterator[Event] = iter(())
        done = 0

        def block(steps: int) -> float:
            nonlocal events, done
            assert config.training.steps is not None
            if done == 0 or done + steps >= config.training.steps:
                events = train(config, progress_seconds=-1)
                done = _advance(events, 1)  # its start is not timed
            began, before = time.perf_counter(), done
            done = _advance(events, done + steps)
            return (time.perf_counter() - began) * steps / (done - before)

        yield block

    return variant


def _advance(events: Iterator[Any], target: int) -> int:
    """Train up to a step; on a GPU to the next reading of the loss."""
    return next(e.step for e in events if isinstance(e, Progress) and e.step >= target)


@contextmanager
def _lightning(net: str, threads: int, device: str) -> Iterator[Block]:
    import logging

    import lightning.pytorch as pl
    from lightning.pytorch.utilities import grad_norm
    from torch.utils.data import DataLoader

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    config = bench_config(net, threads, device)
    model, batches = _model_and_batches(config)

    class Module(pl.LightningModule):  # type: ignore[misc]
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
            return _textbook_optimizer(config, self.parameters())

    class Clock(pl.Callback):  # type: ignore[misc]
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
                accelerator="cpu" if select_device(device).type == "cpu" else "auto",
            )
            loader: Any = DataLoader(batches * 100, batch_size=None)  # type: ignore[arg-type]
            trainer.fit(Module(), loader)
        return clock.ended - clock.started

    with _quiet():
        yield block


@contextmanager
def _wandb(net: str, threads: int, device: str) -> Iterator[Block]:
    import wandb

    step, model = _textbook(bench_config(net, threads, device))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        os.environ["WANDB_SILENT"] = "true"
        run = wandb.init(mode="offline", dir=folder, project="normlab-bench")
        run.watch(model, log="gradients", log_freq=1)

        def measured() -> None:
            step()
            run.log({})

        yield lambda steps: _timed(measured, steps)
        run.finish()


@contextmanager
def _quiet() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


_GRADIENTS = ("probes.measure=[grad_norm]", f"probes.grad_norm_steps={_STEPS}")
# Log-spaced steps so dense that each of the first hundreds is one.
_EVERY = ("training.steps=300", "probes.snapshots=6000")
VARIANTS: list[tuple[str, Callable[[str, int, str], Any]]] = [
    ("bare", _bare),
    ("item", _item),
    ("no probes", _training("probes=none")),
    ("grad_norm", _training(*_GRADIENTS)),
    ("all, every step", _training(*_EVERY)),
    *([("lightning grad_norm", _lightning)] if _installed("lightning") else []),
    *([("wandb.watch", _wandb)] if _installed("wandb") else []),
]


LEGEND = f"""\
bare: the textbook loop on batches that lie ready, torch.optim.SGD, nothing measured. item: with \
.grad.norm().item() of every layer. no probes, grad_norm: normlab's loop, batches, schedule and \
rows included, and every layer's gradient at every step. all, every step: a whole snapshot of the \
probe batch at every step. all, {CADENCE_STEPS} steps: grad_norm and the default snapshots, their \
cost spread over a training of so many steps. floor: the products' and convolutions' operations at \
the rate of a 1024×1024 product. Medians of alternating blocks, ratios to the same round's bare."""


# ------------------------------------------------------------------------- the bare loop


def _textbook(config: Config) -> tuple[Callable[[], None], nn.Module]:
    """A step of the loop that every tutorial has, on batches that lie ready."""
    torch.set_num_threads(config.runtime.threads)
    model, batches = _model_and_batches(config)
    optimizer = _textbook_optimizer(config, model.parameters())
    stream = itertools.cycle(batches)

    def step() -> None:
        images, labels = next(stream)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step, model


def _textbook_optimizer(config: Config, parameters: Any) -> torch.optim.SGD:
    optimizer = config.optimizer
    assert isinstance(optimizer, SGD)  # every benched net's
    return torch.optim.SGD(
        parameters,
        optimizer.lr,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
    )


def _model_and_batches(config: Config) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
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


def _timed(step: Callable[[], object], steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


# ------------------------------------------------------------------ the floor, the profile


def step_flops(config: Config) -> int:
    """Floating-point operations of products and convolutions in a step, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    step, _ = _textbook(config)
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def product_rate(config: Config, size: int = 1024) -> float:
    """Floating-point operations a second of a product of two float32 matrices, the best of ten."""
    torch.set_num_threads(config.runtime.threads)
    device = select_device(config.runtime.device)
    one = torch.randn(size, size, device=device)
    best = min(_timed(lambda: torch.mm(one, one), 1) for _ in range(10))
    return float(2 * size**3 / best)


def profile(net: str, threads: int, device: str, steps: int = 20) -> list[dict[str, Any]]:
    """Where a step's time goes, `grad_norm` of every layer included: operations by own time."""
    from torch.profiler import profile as profiler

    with _training(*_GRADIENTS)(net, threads, device) as block:
        block(3)
        with profiler() as found:
            block(steps)
    events = [(event.key, event.self_cpu_time_total, event.count) for event in found.key_averages()]
    total = sum(own for _, own, _ in events)
    events.sort(key=lambda event: -event[1])
    return [
        {"operation": key, "share": own / total, "calls": count / steps}
        for key, own, count in events[:12]
    ]
