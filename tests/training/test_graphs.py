"""A recorded step against the plain one, without a GPU: what a recorder would have run again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from normlab.config import NORMS, PROBES, Config, ImageTensors, ParameterGroup, compose
from normlab.errors import ConfigError
from normlab.measurement import snapshot
from normlab.networks.norm_modules import HashedNumbers
from normlab.training import train
from normlab.training.graphs import WARM_UP, Step
from normlab.training.schedules import learning_rate
from normlab.training.step import Network, Stepped, build_network, training_step
from normlab.training.streams import batches_from, draw_probe_batch
from tests.conftest import TINY, TINY_DATA
from tests.training.small_trainings import TINY_CNN

CPU = torch.device("cpu")
STEPS = 9


class Recording(TorchDispatchMode):
    """Every operation with its arguments, as a CUDA graph keeps kernels: numbers as they were,
    tensors by their place. A number that is read back has no place in one."""

    READ_BACK = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in self.READ_BACK:
            raise AssertionError(f"{func} reads from the device")
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result


class CpuGraph:
    """A recorder that runs recorded operations again one by one, into the tensors of the first
    time; recording itself leaves the network as it was."""

    def __init__(self, network: Network) -> None:
        self.network, self.recording = network, Recording()

    @contextmanager
    def running(self) -> Iterator[None]:
        yield

    def record(self, compute: Callable[[], Stepped]) -> Stepped:
        state = persistent(self.network)
        before = [tensor.detach().clone() for tensor in state]
        with self.recording:
            found = compute()
        with torch.no_grad():
            for tensor, value in zip(state, before, strict=True):
                tensor.copy_(value)
        return found

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, result in self.recording.operations:
                again = func(*args, **kwargs)
                for place, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
                        place.copy_(value.reshape(place.shape))  # squeezed in place since


def persistent(network: Network) -> list[Tensor]:
    """All that a step changes: weights, running statistics, what the optimizer remembers."""
    memory = [
        tensor
        for group in network.groups
        for tensor in (*group.momenta, *group.squares, *group.steps)
        if tensor is not None
    ]
    return [*network.parameters, *network.model.buffers(), *memory]


class Training:
    """A network with its batches and rates, step by step."""

    def __init__(self, *overrides: str):
        self.config: Config = compose([*overrides, f"training.steps={STEPS}", "training.epochs=1"])
        self.dataset = self.config.data.load(CPU)
        self.network = build_network(self.config, self.dataset)
        self.batches = batches_from(self.config, self.dataset, 0, 4)
        self.rate = torch.zeros(())

    def made(self, step: int) -> tuple[tuple[Tensor, Tensor], float]:
        return next(self.batches), learning_rate(self.config, step, STEPS)

    def plain(self, step: int, *, ratios: bool = False) -> Stepped:
        batch, rate = self.made(step)
        self.rate.fill_(rate)
        return training_step(self.config, self.network, batch, self.rate, ratios=ratios)


NETS = {
    "mlp ln": (*TINY, "norm=ln", "optimizer.nesterov=true"),
    "mlp bn noise": (*TINY, "norm=bn", "norm.noise=0.5"),
    "mlp wn adam": (*TINY, "norm=wn", "optimizer=adam", "training.clip_norm=0.1"),
    "cnn bn": (*TINY_CNN, "norm=bn", "optimizer.decay=weights", "training.clip_norm=0.1"),
    "resnet gn adamw": (*TINY_CNN, "model.residual=true", "norm=gn", "optimizer=adamw"),
    "cnn in bf16": (*TINY_CNN, "norm=in", "training.precision=bf16"),
    "encoder": (*TINY, "model=encoder", "model.heads=2", "norm=ln", "optimizer=adam"),
    "padded encoder bf16": (
        *(*TINY, "model=encoder", "model.heads=2", "norm=bn", "data.padding=0.5"),
        "training.precision=bf16",
    ),
}


def differences(net: str) -> list[str]:
    """Where a recorded training differs from a plain one, bit for bit; a step with relative updates
    among the replayed ones."""
    one, other = Training(*NETS[net]), Training(*NETS[net])
    step = Step(other.config, other.network, CpuGraph(other.network))
    found = []
    for number in range(STEPS):
        ratios = number == WARM_UP + 2
        expected = one.plain(number, ratios=ratios)
        batch, rate = other.made(number)
        recorded = step(batch, rate, ratios=ratios)
        for name, value in vars(expected).items():
            same = getattr(recorded, name)
            if not (same is value or torch.equal(same, value)):
                found.append(f"{name} at step {number}")
    states = zip(persistent(one.network), persistent(other.network), strict=True)
    return found + [f"state {i}" for i, (a, b) in enumerate(states) if not torch.equal(a, b)]


@pytest.mark.parametrize("net", NETS)
def test_a_recorded_step_is_the_plain_one(net: str) -> None:
    assert differences(net) == []


def test_a_recording_of_the_first_step_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its optimizer remembers nothing yet, which is another computation."""
    monkeypatch.setattr("normlab.training.graphs.WARM_UP", 0)
    assert differences("mlp ln")


def test_a_number_in_a_recording_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that is no tensor stays what it was."""

    def with_number(config: Config, network: Network, batch: Any, lr: Any, **more: Any) -> Stepped:
        return training_step(config, network, batch, float(lr), **more)

    monkeypatch.setattr("normlab.training.graphs.training_step", with_number)
    with pytest.raises(AssertionError, match="reads from the device"):
        differences("mlp ln")


def described(recording: Recording, lasting: set[int]) -> list[Any]:
    """Operations as text: shapes and types of tensors, places of those that last, numbers."""

    def text(value: Any) -> Any:
        if isinstance(value, Tensor):
            place = value.data_ptr() if value.data_ptr() in lasting else None
            return tuple(value.shape), value.dtype, place
        return repr(value)  # NaN is like NaN

    return [
        (str(func), [text(leaf) for leaf in tree_leaves((args, kwargs))])
        for func, args, kwargs, _ in recording.operations
    ]


SAME = ["mlp bn noise", "mlp wn adam", "padded encoder bf16"]


@pytest.mark.parametrize(
    "net", [net if net in SAME else pytest.param(net, marks=pytest.mark.slow) for net in NETS]
)
def test_every_step_from_the_second_on_is_the_same_computation(net: str) -> None:
    training = Training(*NETS[net])
    training.plain(0)
    lasting = {tensor.data_ptr() for tensor in (*persistent(training.network), training.rate)}
    found = []
    for number in range(1, 5):
        batch, rate = training.made(number)
        training.rate.fill_(rate)
        with Recording() as recording:
            training_step(training.config, training.network, batch, training.rate, ratios=False)
        found.append(described(recording, lasting))
    assert len(found[0]) > 20
    assert all(other == found[0] for other in found[1:])


def test_only_a_gpu_records() -> None:
    with pytest.raises(ConfigError, match=r"^runtime.graph=on: needs an NVIDIA GPU, this runs on"):
        next(iter(train(compose([*TINY, "runtime.graph=on"]))))


# ----------------------------------------------------------------- without a device of its own

META = torch.device("meta")
BLOCKS = {
    "mlp": ("model=mlp", "model.depth=3", "model.width=8"),
    "residual mlp": ("model=mlp", "model.depth=3", "model.width=8", "model.residual=true"),
    "cnn": ("model=cnn", "model.depth=8", "model.width=4"),
    "resnet pre": ("model=resnet", "model.depth=8", "model.width=4", "model.block=pre"),
    "resnet B": ("model=resnet", "model.depth=8", "model.width=4", "model.shortcut=B"),
    "encoder": ("model=encoder", "model.depth=2", "model.width=8", "model.heads=2"),
    "padded encoder": (
        *("model=encoder", "model.depth=2", "model.width=8", "model.heads=2"),
        *("data.padding=0.5", "data.padding_content=noise"),
    ),
}
MEASURES = "probes.measure=[delta_rms,mean_delta,weight_norm,act_std,dead_fraction,sample_cosine]"


class OffHost(TorchDispatchMode):
    """Refuses whatever makes a tensor on the host: its copy to a device would wait for it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) and leaf.device == CPU for leaf in tree_leaves(result)):
            raise AssertionError(f"{func} makes a tensor on the host")
        return result


def made_on_meta(*overrides: str) -> Stepped:
    """Two steps of a training all of whose tensors are on a device that holds no numbers: a tensor
    of another one would be refused, and so would any number that is read back."""
    config = compose([*TINY_DATA, MEASURES, "data.size=8", *overrides])
    whole = config.data.load(CPU)
    there = {n: v.to(META) if isinstance(v, Tensor) else v for n, v in vars(whole).items()}
    dataset = ImageTensors(**there)
    network = build_network(config, dataset)
    batches = batches_from(config, dataset, 0, 4)
    for _ in range(2):
        batch = next(batches)
        with OffHost():
            stepped = training_step(config, network, batch, 0.1, ratios=True)
    probe = draw_probe_batch(config, dataset)
    names = [name for name in config.probes.measure if PROBES[name].measure]
    measured = snapshot(network.model, network.layers, probe, names)
    assert measured.device == META
    assert {value.device for value in vars(stepped).values() if value is not None} == {META}
    return stepped


@pytest.fixture
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which knows no such device; what it does to a step, the recorded one in bf16 shows, as others
    show what PyTorch's fused updates do, which know none either."""
    monkeypatch.setattr("normlab.training.step.autocast", lambda *_: nullcontext())


@pytest.mark.usefixtures("_no_autocast")
@pytest.mark.parametrize(
    "block", [b if b == "resnet pre" else pytest.param(b, marks=pytest.mark.slow) for b in BLOCKS]
)
def test_no_step_or_snapshot_needs_another_device(block: str) -> None:
    for norm in NORMS:
        groups = ("norm.groups=2",) if norm == "gn" else ()
        made_on_meta(*BLOCKS[block], f"norm={norm}", *groups)


@pytest.mark.usefixtures("_no_autocast")
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_nor_does_adam_where_its_update_is_fused(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; unfused, its step counts would be read back. SGD knows no such device."""
    monkeypatch.setattr(ParameterGroup, "fused", True)
    made_on_meta(*BLOCKS["cnn"], "norm=bn", f"optimizer={optimizer}")
    monkeypatch.setattr(ParameterGroup, "fused", False)
    with pytest.raises((RuntimeError, AssertionError), match="meta"):
        made_on_meta(*BLOCKS["cnn"], "norm=bn", f"optimizer={optimizer}")


@pytest.mark.usefixtures("_no_autocast")
def test_nor_does_clipping_or_noise() -> None:
    made = made_on_meta(*BLOCKS["cnn"], "norm=bn", "norm.noise=0.5", "training.clip_norm=1")
    assert made.clip_factor is not None


@pytest.mark.usefixtures("_no_autocast")
def test_a_host_tensor_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn_on_host(self: HashedNumbers, *shape: int) -> Tensor:  # noqa: ARG001
        return torch.rand(shape)

    monkeypatch.setattr(HashedNumbers, "uniform", drawn_on_host)
    with pytest.raises(AssertionError, match="makes a tensor on the host"):
        made_on_meta(*BLOCKS["cnn"], "norm=bn", "norm.noise=0.5")
