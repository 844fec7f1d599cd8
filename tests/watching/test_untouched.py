"""A training is the same, bit for bit, with a watch and without."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.optim.optimizer as optimizers
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from normlab.watching import Watch
from tests.watching.nets import F, drawn, labels
from tests.watching.oracle import seeded

STEPS = 5
IMAGES = drawn(6, 2, 6, 6)


class Noisy(nn.Module):
    """Statistics, estimates, dropout, a frozen norm, noise of three sources, an input changed in
    place, and a count that is replaced."""

    def __init__(self, reentrant: bool | None):
        super().__init__()
        self.reentrant = reentrant
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.frozen = nn.BatchNorm2d(4)
        self.middle = parametrizations.spectral_norm(nn.Linear(64, 8))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 4)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.1
        x = self.frozen(F.relu(self.norm(self.conv(x)), inplace=True)).flatten(1)
        if self.reentrant is None:
            x = self._middle(x)
        else:
            x = checkpoint(self._middle, x, use_reentrant=self.reentrant)
        self.calls = self.calls + 1
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(dim=0)
        return self.head(x * (1 + 0.1 * random.random() + 0.1 * np.random.rand()))

    def _middle(self, x: Tensor) -> Tensor:
        return self.drop(torch.relu(self.middle(x)))


def everything(model: nn.Module) -> list[Any]:
    """All that a look could change, as values that can be compared."""
    found: list[Any] = [model.state_dict()[key].tolist() for key in model.state_dict()]
    found += [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    found += [module.training for module in model.modules()]
    found += [torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())]
    found += [torch.is_grad_enabled(), torch.get_float32_matmul_precision()]
    return found


def trained(make: Callable[[], nn.Module], begin: Callable[[nn.Module], Any]) -> list[Any]:
    """What there is after every step of a training, and at its end."""
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    model = make()
    watch = begin(model)
    found = [everything(model)]
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(STEPS):
        model.train()
        model.get_submodule("frozen").eval()
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(6, 2, 6, 6)), labels()).backward()
        optimizer.step()
        found.append(everything(model))
        model.eval()  # an evaluation, in which the training ends too
        with torch.no_grad():
            model(IMAGES.clone())
    if watch:
        watch.close()
        rows = watch.frame()
        assert rows["delta_rms"].notna().sum() == (STEPS + 1) * len(watch.weights)
        assert watch.as_run().summary.verdict != "diverged"
    return [*found, everything(model)]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [None, False, True])
def test_nothing_is_changed(reentrant: bool | None, tmp_path: Path) -> None:
    make = seeded(lambda: Noisy(reentrant))
    probe = (IMAGES.clone(), labels(), F.cross_entropy)
    without = trained(make, lambda _: None)
    watched = trained(make, lambda model: Watch(model, probe=probe, out=tmp_path / "run"))
    assert watched == without
    assert torch.equal(probe[0], IMAGES)  # which the network changes in place


def test_noise_is_the_same_in_every_snapshot() -> None:
    model = seeded(lambda: Noisy(None))()
    model.get_submodule("frozen").eval()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Watch(model, probe=(IMAGES.clone(), labels(), F.cross_entropy)) as watch:
        for _ in range(3):
            optimizer.step()
    rows = watch.frame()
    for _, values in rows[rows["delta_rms"] > 0].groupby("name")["delta_rms"]:
        assert len(values) == 4
        assert values.nunique() == 1


def test_a_look_is_in_the_modes_of_training() -> None:
    """At the end too, when the network was evaluated since."""
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.9), nn.Linear(8, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Watch(model, probe=(drawn(6, 3), labels(), F.cross_entropy)) as watch:
        optimizer.step()
        model.eval()
    found = watch.frame().groupby("name")["delta_rms"]
    assert (found.nunique() == 1).all()
    assert (found.count() == 2).all()


def test_inner_hooks_and_flags_of_a_pass_are_gone() -> None:
    model = seeded(lambda: Noisy(None))()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watch(model, probe=(IMAGES.clone(), labels(), F.cross_entropy)):
        optimizer.step()
    assert all(not module._forward_hooks for module in model.modules())
    assert not optimizers._global_optimizer_pre_hooks
    assert not optimizers._global_optimizer_post_hooks
