import math

import pytest
import torch

from normlab.config import compose
from normlab.training.streams import batches_from
from tests.conftest import TINY
from tests.training.small_trainings import CPU, evaluations, events_of, measured


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


def test_what_clipping_leaves_is_of_the_whole_gradient() -> None:
    """min(1, clip_norm/‖g‖), g the gradient of all parameters of the step before an evaluation."""
    plain = [*TINY, "training.steps=4", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    plain += ["schedule=constant", "norm=none"]  # four steps an epoch, evaluated at 0 and 4
    first, *_, last = evaluations(events_of(compose([*plain, "training.clip_norm=0.25"]))[0])
    assert math.isnan(first["clip_factor"])
    starts = [
        events_of(compose([*plain, "training.clip_norm=0.25", f"training.steps={steps}"]))[1].model
        for steps in (3, 4)
    ]
    change = sum(
        (a - b).double().square().sum()
        for a, b in zip(*(start.parameters() for start in starts), strict=True)
    )
    assert change.sqrt().item() == pytest.approx(0.1 * 0.25, rel=1e-3)  # the step was clipped
    free = [*plain, "training.clip_norm=0.25", "training.steps=3"]
    config = compose(free)
    source = batches_from(config, config.data.load(CPU), 3, 4)
    model, (images, labels) = starts[0], next(source)
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    norm = sum(g.double().square().sum() for g in gradients).sqrt().item()
    assert last["clip_factor"] == pytest.approx(0.25 / norm, rel=1e-4)
    unclipped = evaluations(events_of(compose([*plain, "training.clip_norm=1e9"]))[0])[-1]
    assert unclipped["clip_factor"] == 1
    assert math.isnan(evaluations(events_of(compose(plain))[0])[-1]["clip_factor"])
