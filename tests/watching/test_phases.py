"""Several optimizers, frozen layers, and networks that keep a state of their own."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normlab.errors import ConfigError
from normlab.watching import Watch

F = nn.functional


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def batch() -> tuple[Tensor, Tensor]:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    return x, x[:, :3].argmax(1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """A step, and the norms of the weights' gradients before it."""
    x, y = batch()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    norms = [p.grad.norm().item() for p in model.parameters() if p.ndim > 1 and p.grad is not None]
    optimizer.step()
    return norms


@pytest.mark.parametrize("phases", [[20, 30], [7] * 6])
def test_steps_are_counted_across_optimizers_of_the_same_weights(phases: list[int]) -> None:
    model, expected = net(), []
    with Watch(model, probe=(*batch(), F.cross_entropy)) as watch:
        for count in phases:
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            expected += [step(model, optimizer) for _ in range(count)]
        assert watch.step == sum(phases)
    rows = watch.frame()
    assert not rows.duplicated(["step", "layer"]).any()
    found = rows.pivot(index="step", columns="layer", values="grad_norm").dropna().to_numpy()
    assert found.tolist() == [pytest.approx(norms, rel=1e-6) for norms in expected]
    sampled = rows.dropna(subset=["delta_rms"])["step"].unique().tolist()
    assert sampled[-1] == sum(phases)
    assert {16, 23, 32} <= set(sampled)


@pytest.mark.parametrize("foreach", [False, True, None])
@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_leaves_the_norms_as_they_were(foreach: bool | None, nesterov: bool) -> None:
    model = net()
    optimizer = torch.optim.SGD(
        model.parameters(), 0.1, momentum=0.9, nesterov=nesterov, foreach=foreach
    )
    with Watch(model) as watch:
        expected = [step(model, optimizer) for _ in range(6)]
    found = watch.frame().pivot(index="step", columns="layer", values="grad_norm").to_numpy()
    assert found.tolist() == [pytest.approx(norms, rel=1e-6) for norms in expected]


def test_a_closure_under_nesterov_with_foreach_is_refused() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, foreach=True)

    def closure() -> Tensor:
        optimizer.zero_grad()
        x, y = batch()
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with pytest.warns(UserWarning, match="give it foreach=False"), Watch(model):
        optimizer.step(closure)  # type: ignore[arg-type]


def test_a_layer_that_is_frozen_on_the_way() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Watch(model, probe=(*batch(), F.cross_entropy)) as watch:
        for number in range(12):
            if number == 5:
                model[0].requires_grad_(False)
            step(model, optimizer)
    summary = watch.as_run().summary
    assert (summary.status, summary.steps) == ("finished", 12)
    last = watch.frame().query("step == 12")
    assert last["delta_rms"].isna().tolist() == [True, False, False]


class Keeping(nn.Module):
    """A hidden state, a count and noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.hidden: Any = None
        self.count = 0
        self.mean = torch.zeros(3)
        self.noise = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        if self.hidden is not None:
            y = y + 0.1 * self.hidden
        self.hidden = y.detach()
        self.count += 1
        self.mean.mul_(0.9).add_(0.1 * y.detach().mean(0))
        return y + 0.1 * torch.randn(y.shape, generator=self.noise)


def kept(watched: bool) -> list[Any]:
    torch.manual_seed(0)
    model = Keeping()
    x, y = batch()
    probe = x, y, F.cross_entropy
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watch = Watch(model, probe=probe) if watched else None
    for _ in range(3):
        step(model, optimizer)
    if watch:
        watch.close()
    weights = [p.tolist() for p in model.parameters()]
    return [weights, model.count, model.mean.tolist(), model.noise.get_state().tolist()]


def test_what_a_network_keeps_in_attributes_is_put_back() -> None:
    assert kept(True) == kept(False)


def test_a_closed_watch_takes_nothing() -> None:
    watch = Watch(net())
    step(watch.model, torch.optim.SGD(watch.model.parameters(), 0.1))
    with pytest.raises(ConfigError, match=r"log\(test_acc=93.0\): an accuracy is a fraction"):
        watch.log(test_acc=93.0)
    with pytest.raises(ConfigError, match=r"log\(test_acc='good'\): must be a number"):
        watch.log(test_acc="good")  # type: ignore[arg-type]
    watch.close()
    with pytest.raises(ConfigError, match="log: the watch is closed"):
        watch.log(test_acc=0.9)
    with pytest.raises(ConfigError, match="with: the watch is closed; begin another"):
        watch.__enter__()
