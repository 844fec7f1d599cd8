from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normlab.config import compose
from normlab.training.schedules import learning_rate


def rates(*overrides: str, steps: int = 100) -> list[float]:
    config = compose(["optimizer.lr=0.5", *overrides])
    return [learning_rate(config, step, steps) for step in range(steps)]


def torch_rates(build: Any, steps: int = 100) -> Iterator[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.5)
    scheduler = build(optimizer)
    for _ in range(steps):
        yield scheduler.get_last_lr()[0]
        optimizer.step()
        scheduler.step()


LR = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("overrides", "build"),
    [
        (["schedule=constant"], lambda o: LR.ConstantLR(o, factor=1.0)),
        (["schedule=multistep"], lambda o: LR.MultiStepLR(o, [50, 75], gamma=0.1)),
        (["schedule=cosine"], lambda o: LR.CosineAnnealingLR(o, 100)),
        (
            ["schedule=cosine", "schedule.final_factor=0.1"],
            lambda o: LR.CosineAnnealingLR(o, 100, eta_min=0.05),
        ),
        (
            ["schedule=constant", "schedule.warmup_steps=20"],
            lambda o: LR.LinearLR(o, 0.1, total_iters=20),
        ),
        (
            ["schedule=constant", "schedule.warmup_steps=20", "schedule.warmup_shape=constant"],
            lambda o: LR.ConstantLR(o, 0.1, total_iters=20),
        ),
    ],
)
def test_schedules_are_pytorchs(overrides: list[str], build: Any) -> None:
    assert rates(*overrides) == pytest.approx(list(torch_rates(build)), rel=1e-9, abs=1e-12)


def test_one_cycle_is_pytorchs() -> None:
    def build(optimizer: torch.optim.Optimizer) -> LR.OneCycleLR:
        return LR.OneCycleLR(
            optimizer,
            max_lr=0.5,
            total_steps=101,
            pct_start=0.3,
            div_factor=25,
            final_div_factor=1e4,
            cycle_momentum=False,
        )

    ours = rates("schedule=onecycle", "schedule.rise=0.3")
    assert ours[0] == pytest.approx(0.5 / 25)
    assert max(ours) == pytest.approx(0.5, rel=1e-3)
    assert ours[-1] == pytest.approx(0.5 * 4e-6, rel=1e-6)
    # PyTorch peaks at step 0.3·total − 1, ours at 0.3·(total − 1): compare the descent's shape.
    theirs = list(torch_rates(build))
    assert ours == pytest.approx(theirs, abs=0.03)


@given(step=st.integers(0, 999), steps=st.integers(1000, 5000))
def test_a_rate_is_never_negative_nor_above_the_peak(step: int, steps: int) -> None:
    for config in ONE_OF_EACH:
        assert 0 <= learning_rate(config, step, steps) <= config.optimizer.lr * (1 + 1e-12)


ONE_OF_EACH = [compose([f"schedule={s}"]) for s in ("constant", "multistep", "cosine", "onecycle")]
