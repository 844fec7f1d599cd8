import pytest

from normlab.config import compose
from tests.conftest import TINY
from tests.training.small_trainings import events_of, measured


def test_update_ratio_is_of_the_real_step() -> None:
    """Plain SGD on a single step: ‖ΔW‖/‖W‖ = lr·‖∇W‖/‖W‖."""
    config = compose(
        [*TINY, "training.steps=1", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    )
    events, _ = events_of(config)
    ratio, gradient, weight = (
        measured(events, probe)[0] for probe in ("update_ratio", "grad_norm", "weight_norm")
    )
    expected = [0.1 * g / w for g, w in zip(gradient, weight, strict=True)]
    assert ratio == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("more", [[], ["norm=none", "model.depth=30", "model.init_gain=8"]])
def test_clipping_bounds_the_step(more: list[str]) -> None:
    """A step of lr · clip_norm, also where the squared norm overflows float32."""
    plain = [*TINY, "training.steps=1", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    plain += [*more, "model.bias=false"]
    _, start = events_of(compose([*plain, "training.steps=0"]))
    _, end = events_of(compose([*plain, "training.clip_norm=0.01"]))
    change = sum(
        (a - b).square().sum()
        for a, b in zip(start.model.parameters(), end.model.parameters(), strict=True)
    )
    assert change.sqrt().item() == pytest.approx(0.1 * 0.01, rel=1e-3)
