import pytest
import torch

from normlab.config import compose
from normlab.errors import ConfigError
from normlab.training import Started, available_devices, train
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
        ("training.batch_size=65", "there are 64 training samples; use at most 64"),
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
