"""What a GPU is to be asked first: whether normlab is right on it, repeatable, and how fast.

    python -m tests.tools.gpu right FOLDER      numbers against float64, repetition, resuming
    python -m tests.tools.gpu eager FOLDER      a step kernel by kernel, several runs on one device
    python -m tests.tools.gpu recorded FOLDER   a step as a CUDA graph, against the same without

Each takes under nine minutes and writes a Markdown table into FOLDER as its rows come, so that what
was measured is there if it is cut short. `--device cpu --steps 4` tries the commands without a GPU,
where what a GPU alone has is left out by name.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from normlab.config import NORMS, Config, compose
from normlab.training import Checkpoint, Ended, matrix_products, select_device, train
from normlab.training.devices import gpu_algorithms
from normlab.training.evaluation import evaluate
from normlab.training.graphs import Step, recorder_for
from normlab.training.schedules import learning_rate
from normlab.training.step import Network, Stepped, build_network, training_step
from normlab.training.streams import batches_from

# CIFAR's shape, drawn on the spot.
DATA = ("data=gaussian", "data.channels=3", "data.size=32", "data.train_size=4096")
SMALL = ("data=gaussian", "data.size=8", "data.train_size=512", "data.test_size=64")
NETS = {
    "resnet-20": ("model=resnet", "model.depth=20", "model.width=16", *DATA),
    "resnet-56": ("model=resnet", "model.depth=56", "model.width=16", *DATA),
    "resnet-110": ("model=resnet", "model.depth=110", "model.width=16", *DATA),
    "mlp-30": ("model=mlp", "model.depth=30", "model.width=64", *SMALL),
    "encoder-6": ("model=encoder", "norm=ln", "optimizer=adam", *SMALL),
}
KINDS = {
    "mlp": ("model=mlp", "model.depth=6", "model.width=32", *SMALL),
    "cnn": ("model=cnn", "model.depth=8", "model.width=8", *SMALL),
    "resnet": ("model=resnet", "model.depth=8", "model.width=8", "model.block=pre", *SMALL),
    "encoder": ("model=encoder", "model.depth=2", *SMALL),
    "encoder of 256 tokens": ("model=encoder", "model.depth=2", *SMALL, "data.size=256"),
}
# Allowed relative difference of ‖∂L/∂W‖ from float64's, by precision.
TOLERANCE = {"fp32": 1e-3, "tf32": 3e-2, "bf16": 2e-1}
MARKED = [f"tests/{folder}" for folder in ("networks", "training", "measurement", "watching")]
Row = tuple[str, str]


class Training:
    """A network with its batches and rates, step by step."""

    def __init__(self, device: torch.device, *words: str):
        small = () if on_gpu(device) else SMALL  # a trial of the commands
        self.config = compose([f"runtime.device={device.type}", *words, *small])
        self.dataset = self.config.data.load(device)
        self.network = build_network(self.config, self.dataset)
        per_epoch = len(self.dataset.train_labels) // self.config.training.batch_size
        self.batches = batches_from(self.config, self.dataset, 0, per_epoch)
        self.step = Step(self.config, self.network)

    def make(self, steps: int, *, begin: int = 0) -> Stepped:
        """So many steps; what the last one measured."""
        total = self.config.training.steps or steps
        device = self.dataset.train_images.device
        with gpu_algorithms(device, deterministic=self.config.runtime.deterministic):
            for number in range(begin, begin + steps):
                rate = learning_rate(self.config, number, max(total, begin + steps))
                stepped = self.step(next(self.batches), rate, ratios=False)
        return stepped


def on_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def seconds_a_step(training: Training, steps: int) -> float:
    """The median over five blocks, after what a GPU does once is done."""
    device = training.dataset.train_images.device
    training.make(8)
    blocks = []
    for block in range(5):
        wait_for(device)
        began = time.perf_counter()
        training.make(steps, begin=8 + block * steps)
        wait_for(device)
        blocks.append((time.perf_counter() - began) / steps)
    return statistics.median(blocks)


def wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


# ----------------------------------------------------------------------------------- right


def right(device: torch.device, steps: int, _: Path) -> Iterator[Row]:
    """Numbers, repetition and resuming."""
    yield marked_tests()
    yield from accuracy(device)
    if on_gpu(device):
        yield from waits(device)
    else:
        yield "steps that wait for the device", "a GPU's alone"
    yield from repetition(device, steps)
    for deterministic in ("true", "false"):
        words = (*NETS["resnet-20"], f"runtime.deterministic={deterministic}")
        took = seconds_a_step(Training(device, *words), steps)
        yield f"ResNet-20, ms a step, runtime.deterministic={deterministic}", f"{1e3 * took:.2f}"


def marked_tests() -> Row:
    words = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "gpu", *MARKED]
    done = subprocess.run(words, capture_output=True, text=True)
    return "tests marked gpu", (done.stdout.strip().splitlines() or ["no output"])[-1]


def reference_norms(config: Config, batch: tuple[Tensor, Tensor]) -> list[float]:
    """‖∂L/∂W‖ of every layer in float64 on the CPU, by autograd."""
    from normlab.networks import cross_entropy

    dataset = config.data.load(torch.device("cpu"))
    network = build_network(config, dataset)
    model: nn.Module = network.model.double()
    images, labels = (part.cpu() for part in batch)
    loss = cross_entropy(model(images.double()), labels, config.training.loss)
    weights = [layer.module.weight for layer in network.layers]
    return [float(g.norm()) for g in torch.autograd.grad(loss, weights)]


def accuracy(device: torch.device) -> Iterator[Row]:
    """Every norm and precision: the first step's norms, and whether 20 steps stay finite."""
    precisions = [p for p in TOLERANCE if p != "tf32" or on_gpu(device)]
    for precision in precisions:
        worst, where, broken = 0.0, "", []
        for kind, words in KINDS.items():
            # Weight normalization makes its weight of parameters, which the reference has not.
            for norm in (n for n in NORMS if n != "wn"):
                more = ("norm.groups=4",) if norm == "gn" else ()
                name = f"{kind} {norm}"
                training = Training(
                    device, *words, f"norm={norm}", f"training.precision={precision}", *more
                )
                batch = next(training.batches)
                expected = reference_norms(training.config, batch)
                network = training.network
                first = training_step(training.config, network, batch, 1e-3, ratios=False)
                pairs = zip(first.norms.tolist(), expected, strict=True)
                least = 1e-6 * max(expected)
                error = max(abs(a - b) / max(b, least) for a, b in pairs)
                if error > worst:
                    worst, where = error, name
                if not torch.isfinite(training.make(19).norms).all():
                    broken.append(name)
        verdict = "" if worst <= TOLERANCE[precision] else f", above {TOLERANCE[precision]:g}"
        yield f"‖∂L/∂W‖ against float64, {precision}", f"{worst:.1e} ({where}){verdict}"
        yield f"not finite within 20 steps, {precision}", ", ".join(broken) or "none"


def waits(device: torch.device) -> Iterator[Row]:
    """Whether a step waits for the device, which PyTorch reports where it is asked to."""
    for name, words in KINDS.items():
        training = Training(device, *words, "training.clip_norm=1")
        training.make(3)
        batches = [next(training.batches) for _ in range(2)]
        training.batches = iter(batches)
        torch.cuda.set_sync_debug_mode("error")
        try:
            training.make(2, begin=3)
            found = "none"
        except RuntimeError as error:
            found = str(error).splitlines()[0]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        yield f"steps that wait for the device, {name}", found


def events_of(config: Config, resume: Any = None) -> list[Any]:
    """A training's events; a checkpoint's state is copied, for its weights go on in training."""
    events = train(config, resume=resume, progress_seconds=-1)
    return [copy.deepcopy(e) if isinstance(e, Checkpoint) else e for e in events]


def weights_of(events: Sequence[Any]) -> list[Tensor]:
    (ended,) = (event for event in events if isinstance(event, Ended))
    return [p.detach().cpu() for p in ended.model.parameters()]


def repetition(device: torch.device, steps: int) -> Iterator[Row]:
    """Whether a training gives the same bits twice, and when it goes on from a checkpoint."""
    for kind, own in KINDS.items():
        words = (*own, f"training.steps={2 * steps}", f"runtime.device={device.type}")
        config = compose([*words, "runtime.checkpoint_seconds=1e-9"])
        one, other = events_of(config), events_of(config)
        states = [event.state for event in one if isinstance(event, Checkpoint)]
        resumed = events_of(config, states[len(states) // 2]) if states else other
        for name, again in (("again", other), ("resumed", resumed)):
            pairs = zip(weights_of(one), weights_of(again), strict=True)
            same = all(torch.equal(a, b) for a, b in pairs)
            yield f"{kind}, {2 * steps} steps, {name}", "same bits" if same else "OTHER BITS"


# ----------------------------------------------------------------------------------- eager


def eager(device: torch.device, steps: int, folder: Path) -> Iterator[Row]:
    """Kernel by kernel."""
    for name, words in NETS.items():
        training = Training(device, *words)
        took = seconds_a_step(training, steps)
        launches = launches_of(training) if on_gpu(device) else "a GPU's alone"
        yield f"{name}, ms a step", f"{1e3 * took:.2f}"
        yield f"{name}, kernels a step", launches
        began = time.perf_counter()
        evaluate(training.network.model, training.dataset, training.config.training)
        wait_for(device)
        yield f"{name}, ms an evaluation", f"{1e3 * (time.perf_counter() - began):.1f}"
    for several in (1, 4, 8, 16) if on_gpu(device) else (1,):
        yield from many_runs(device, several, folder, steps)


def launches_of(training: Training) -> str:
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        training.make(1)
        torch.cuda.synchronize()
    return str(sum(event.count for event in found.key_averages() if "Launch" in event.key))


def many_runs(
    device: torch.device, several: int, folder: Path, steps: int, *more: str
) -> Iterator[Row]:
    """Runs a minute of a sweep with so many of them on one device."""
    name = " ".join([f"{several} on one device", *more])
    words = [
        *("normlab", "sweep", *NETS["mlp-30"], f"training.steps={20 * steps}"),
        *(f"seed=range({2 * max(several, 2)})", f"runtime.device={device.type}"),
        *(f"launcher.runs_per_device={several}", f"output.root={folder.resolve() / 'runs'}"),
        *(f"output.experiment={name.replace(' ', '-').replace('=', '-')}", *more),
    ]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    minutes = (time.perf_counter() - began) / 60
    count = 2 * max(several, 2)
    told = f"{count / minutes:.1f}" if done.returncode == 0 else done.stderr.strip()[-200:]
    yield f"runs a minute, start included, {name}", told


# -------------------------------------------------------------------------------- recorded


def recorded(device: torch.device, steps: int, folder: Path) -> Iterator[Row]:
    """As a CUDA graph."""
    if not on_gpu(device):
        yield "a recorded step", "a GPU's alone"
        return
    for name, words in NETS.items():
        plain, graphed = (Training(device, *words) for _ in range(2))
        eager_step = seconds_a_step(plain, steps)
        graphed.step = Step(graphed.config, graphed.network, recorder_for("on", device))
        graphed.make(3)
        wait_for(device)
        began = time.perf_counter()
        graphed.make(1, begin=3)
        wait_for(device)
        yield f"{name}, s to record", f"{time.perf_counter() - began:.3f}"
        took = seconds_a_step(graphed, steps)
        yield f"{name}, ms a step", f"{1e3 * took:.2f}, {eager_step / took:.1f}× as fast as eager"
    yield from same_bits(device)
    for several in (1, 4, 8):
        yield from many_runs(device, several, folder, steps, "runtime.graph=on")


def same_bits(device: torch.device) -> Iterator[Row]:
    """200 steps with a schedule, snapshots and clipping, recorded and not, from one rate tensor."""
    for kind, words in KINDS.items():
        more = ("training.steps=200", "training.clip_norm=0.5", "schedule=cosine")
        one, other = (Training(device, *words, *more) for _ in range(2))
        rate = torch.zeros((), device=device)
        other.step = Step(other.config, other.network, recorder_for("on", device))
        for number in range(200):
            lr = learning_rate(one.config, number, 200)
            rate.fill_(lr)
            training_step(one.config, one.network, next(one.batches), rate, ratios=False)
            other.step(next(other.batches), lr, ratios=number % 50 == 7)
        pairs = zip(tensors(one.network), tensors(other.network), strict=True)
        same = all(torch.equal(a, b) for a, b in pairs)
        yield f"{kind}, 200 steps, recorded against eager", "same bits" if same else "OTHER BITS"
        one = Training(device, *words, *more)
        one.make(200)  # its rate a number, as without a recorder
        pairs = zip(tensors(one.network), tensors(other.network), strict=True)
        apart = max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs)
        yield f"{kind}, 200 steps, recorded against a rate that is a number", f"{apart:.0e} apart"


def tensors(network: Network) -> list[Tensor]:
    return [*network.parameters, *(b for b in network.model.buffers() if b.is_floating_point())]


CALLS: dict[str, Callable[[torch.device, int, Path], Iterator[Row]]] = {
    "right": right,
    "eager": eager,
    "recorded": recorded,
}


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("call", choices=CALLS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=50)
    asked = parser.parse_args(words)
    device = select_device(asked.device)
    asked.folder.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(device) if on_gpu(device) else device.type
    table = asked.folder / f"gpu-{asked.call}.md"
    with table.open("w", encoding="utf-8") as file, matrix_products("fp32"):
        began = time.perf_counter()
        file.write(f"{name}, PyTorch {torch.__version__}\n\n| {asked.call} | |\n|---|---|\n")
        for what, figure in CALLS[asked.call](device, asked.steps, asked.folder):
            line = f"| {what} | {figure.replace('|', '/')} |"
            print(line, flush=True)
            file.write(f"{line}\n")
            file.flush()
        file.write(f"\n{time.perf_counter() - began:.0f} s in all.\n")


if __name__ == "__main__":
    main(sys.argv[1:])
