import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from normlab.config import compose
from normlab.errors import ConfigError
from normlab.training import Started, available_devices, matrix_products, select_device, train
from normlab.training.devices import gpu_algorithms, make_current
from tests.conftest import TINY
from tests.training.small_trainings import TINY_CNN, evaluations, events_of, measured


def test_bf16_trains_and_is_measured_in_fp32() -> None:
    exact, _ = events_of(compose(TINY_CNN))
    coarse, ended = events_of(compose([*TINY_CNN, "training.precision=bf16"]))
    assert all(p.dtype == torch.float32 for p in ended.model.parameters())
    assert measured(exact, "delta_rms")[0] == measured(coarse, "delta_rms")[0]
    assert measured(exact, "grad_norm")[0] != measured(coarse, "grad_norm")[0]
    assert measured(exact, "grad_norm")[0] == pytest.approx(
        measured(coarse, "grad_norm")[0], rel=0.1
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.precision=tf32", "needs an NVIDIA GPU, this runs on cpu"),
        (
            "training.batch_size=65",
            "there are 64 training samples; use at most training.b.*=64",
        ),
        ("runtime.device=cuda:99", "no such device here; choices: auto, cpu"),
    ],
)
def test_refused_before_anything_starts(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        next(iter(train(compose([*TINY, override]))))


def test_auto_takes_the_best_device() -> None:
    started = next(iter(train(compose([*TINY, "runtime.device=auto"]))))
    assert isinstance(started, Started)
    order = [d for d in ("cuda", "mps", "cpu") if d in available_devices()]
    assert started.device == order[0]


SWITCHES = (
    *("cuda.matmul", "mkldnn.matmul", "mkldnn.conv", "cudnn.conv", "cudnn.rnn"),
    *("cudnn", "mkldnn", ""),
)


def switch_of(name: str) -> Any:
    """One of PyTorch's newer switches; those of fewer words are inherited by the others."""
    return functools.reduce(getattr, filter(None, name.split(".")), torch.backends)


@pytest.fixture
def switches() -> Iterator[None]:
    """All of them as before, afterwards."""
    before = {name: switch_of(name).fp32_precision for name in SWITCHES}
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    for name in reversed(SWITCHES):
        switch_of(name).fp32_precision = before[name]
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.usefixtures("switches")
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize(
    "host",
    [
        {},
        {"cuda.matmul": "tf32"},
        {"cudnn.conv": "ieee"},
        {"cuda.matmul": "tf32", "cudnn.conv": "ieee", "mkldnn.conv": "bf16"},
        {"mkldnn.conv": "bf16"},
        {"cudnn": "tf32"},
        {"": "tf32"},
    ],
    ids=str,
)
def test_products_are_as_asked_whatever_the_program_has_set(
    host: dict[str, str], precision: str
) -> None:
    """With PyTorch's newer switches, of which some contradict the older ones."""
    for name, value in host.items():
        switch_of(name).fp32_precision = value
    before = {name: switch_of(name).fp32_precision for name in SWITCHES}
    for _ in range(2):
        with matrix_products(precision):
            within = {name: switch_of(name).fp32_precision for name in SWITCHES[:4]}
            used = {"tf32"} if precision == "tf32" else {"none", "ieee"}
            assert {within["cuda.matmul"], within["cudnn.conv"]} <= used
            assert precision == "tf32" or set(within.values()) <= used
        after = {name: switch_of(name).fp32_precision for name in SWITCHES}
        exact = {name for name in SWITCHES if "none" in (before[name], after[name])}
        assert {n: after[n] for n in SWITCHES if n not in exact} == {
            n: before[n] for n in SWITCHES if n not in exact
        }
        assert all({before[name], after[name]} <= {"none", "ieee"} for name in exact)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("overrides", [TINY, TINY_CNN])
def test_a_gpu_gives_the_cpus_numbers(overrides: tuple[str, ...]) -> None:
    on_cpu, _ = events_of(compose(overrides))
    on_gpu, _ = events_of(compose([*overrides, "runtime.device=cuda"]))
    for one, two in zip(evaluations(on_cpu), evaluations(on_gpu), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-2)
    for probe in ("delta_rms", "grad_norm", "weight_norm"):
        assert measured(on_gpu, probe)[0] == pytest.approx(measured(on_cpu, probe)[0], rel=1e-4)


@pytest.mark.parametrize(("name", "chosen"), [("auto", []), ("cuda", []), ("cuda:1", [1])])
def test_a_gpu_named_by_its_number_is_the_process_s_own(
    monkeypatch: pytest.MonkeyPatch, name: str, chosen: list[int]
) -> None:
    """One that is not is PyTorch's current one."""
    found: list[int] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch._C._cuda_setDevice", found.append, raising=False)
    make_current(select_device(name))
    assert found == chosen


def test_repeatable_algorithms_are_a_gpus_alone_and_undone() -> None:
    def switches() -> list[bool]:
        cuda: Any = torch.backends.cuda
        sdp = (cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.cudnn_sdp_enabled)
        return [torch.backends.cudnn.deterministic, *(enabled() for enabled in sdp)]

    before = switches()
    assert before == [False, True, True, True]  # PyTorch's own
    with gpu_algorithms(torch.device("cuda"), deterministic=True):
        assert switches() == [True, False, False, False]
    assert switches() == before
    for device, deterministic in (("cuda", False), ("cpu", True)):
        with gpu_algorithms(torch.device(device), deterministic=deterministic):
            assert switches() == before
