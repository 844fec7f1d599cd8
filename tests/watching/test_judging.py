"""What a watch says of networks: verdicts, causes, and what it leaves open."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.runs import Summary
from normlab.watching import Watch, WatchWarning

F = nn.functional


def plain(depth: int, activation: type[nn.Module] = nn.ReLU, width: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [m for _ in range(depth) for m in (nn.Linear(width, width), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, 3))


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    return x, x[:, :3].argmax(1)


def said(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    steps: int,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    batch: tuple[Tensor, Tensor] | None = None,
) -> Summary:
    x, y = batch or data()
    with Watch(model, probe=(x, y, loss)) as watch:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return watch.as_run().summary


def test_one_that_learns() -> None:
    model = plain(2)
    found = said(model, torch.optim.Adam(model.parameters(), 0.01), 60)
    assert (found.verdict, found.cause) == ("learns", "none")
    assert found.reason.startswith("The probe batch's loss went from 1.08 to ")


def test_a_gradient_that_vanishes_to_the_end_though_the_output_learns_a_mean() -> None:
    model = plain(12, nn.Sigmoid)
    x, _ = data()
    batch = x, 100 + x[:, :3]
    found = said(model, torch.optim.Adam(model.parameters(), 0.5), 200, F.mse_loss, batch)
    assert found.reason.startswith("The probe batch's loss went from 9.99e+03 to ")
    assert (found.verdict, found.cause) == ("vanishing", "vanishing_at_init")


def test_a_loss_below_zero_falls_too() -> None:
    model = nn.Linear(16, 3)
    batch = data()[0], torch.full((64,), -1.0)

    def negative(output: Tensor, offset: Tensor) -> Tensor:
        return (output.pow(2).mean(1) + offset - 3).mean() - output[:, 0].mean()

    found = said(model, torch.optim.SGD(model.parameters(), 1.0), 40, negative, batch)
    assert found.verdict == "learns"


@pytest.mark.parametrize(("rate", "cause"), [(1e-7, "rate_too_small"), (3e-3, "too_short")])
def test_weights_that_hardly_move_while_the_loss_stays(rate: float, cause: str) -> None:
    model = plain(2)
    found = said(model, torch.optim.Adam(model.parameters(), rate), 4)
    assert (found.verdict, found.cause) == ("undertrained", cause)
    assert found.evidence[-1].figure == "sum of ‖ΔW‖/‖W‖ over all steps"


def test_a_loss_that_cannot_fall_is_no_failure() -> None:
    """Labels that nothing tells."""
    model = plain(2)
    batch = torch.randn(4096, 16), torch.arange(4096) % 3
    found = said(model, torch.optim.SGD(model.parameters(), 0.5), 60, batch=batch)
    assert (found.verdict, found.cause) == ("healthy", "none")


def test_a_step_that_is_not_finite() -> None:
    model = plain(3)
    found = said(model, torch.optim.SGD(model.parameters(), 1e30), 5)
    assert (found.status, found.verdict, found.cause) == ("diverged", "diverged", "rate_too_large")
    assert found.reason.startswith("A gradient was not finite at step ")
    assert "At the end" not in found.reason


def test_statistics_that_lag() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16, momentum=1e-6), nn.ReLU())
    model.append(nn.Linear(16, 3))
    nn.init.constant_(model[0].bias, 10.0)  # a mean that the running one does not come to
    found = said(model, torch.optim.Adam(model.parameters(), 0.05), 150)
    assert (found.verdict, found.cause) == ("learns", "stale_statistics")
    assert found.reason.endswith("BatchNorm's running statistics do not keep up with the weights.")
    model[1].momentum = 0.1
    again = said(model, torch.optim.Adam(model.parameters(), 1e-3), 150)
    assert again.cause != "stale_statistics"


def test_before_the_first_step() -> None:
    watch = Watch(plain(2), probe=(*data(), F.cross_entropy))
    so_far = watch.as_run().summary
    with pytest.warns(WatchWarning, match="has seen no optimizer"):
        watch.close()
    assert so_far.reason == "Nothing is measured yet, as no optimizer has stepped."
    assert so_far.verdict is None


class Branch(nn.Module):
    def __init__(self, zero: bool) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(16, 16), nn.Linear(16, 16)
        if zero:
            nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(torch.relu(self.into(x)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("zero", [False, True])
def test_a_branch_that_begins_at_zero_is_no_lost_gradient(zero: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(Branch(zero) for _ in range(4)), nn.Linear(16, 3))
    found = said(model, torch.optim.SGD(model.parameters(), 0.1), 1)
    assert found.verdict_init == "healthy"
    assert found.gradient_ratio_init is not None
    assert 0.3 < found.gradient_ratio_init < 3
    assert math.isfinite(found.gradient_factor_init or math.nan)
