"""Every measurement of a snapshot against the definitions, on PyTorch's own layers."""

import math

import pytest
import torch
from torch import Tensor, nn

from normlab.watching import Watch
from tests.watching.checks import agrees
from tests.watching.nets import CASES, F
from tests.watching.oracle import Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
def test_measurements_are_those_of_the_definitions(case: Case, double: bool) -> None:
    agrees(case, double=double, rel=1e-10 if double else 1e-5)


class Towers(nn.Module):
    """Two networks side by side, the second of inputs of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8))
        self.two = nn.Sequential(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 8))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = self.one(a) @ self.two(b).T
        return found


def test_a_batch_that_comes_to_another_tower_is_no_activation() -> None:
    torch.manual_seed(0)
    model = Towers()
    a, b = torch.randn(6, 5), 1000 + torch.randn(6, 7)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Watch(model, probe=((a, b), torch.arange(6), F.cross_entropy)) as watch:
        optimizer.step()
    row = watch.frame().query("name == 'one.2' and step == 0").iloc[0]
    sent = model.one(a)
    assert row["act_mean"] == pytest.approx(sent.mean().item(), rel=1e-4)
    assert row["act_std"] == pytest.approx(sent.std(correction=0).item(), rel=1e-4)


def test_positions_are_no_samples() -> None:
    """Embedded alone, as many as a sample has tokens, which samples divide."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(10, 4), nn.Embedding(12, 4)
            self.head = nn.Linear(4, 10)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
            return self.head(x).mean(dim=1)  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = Tokens()
    ids = torch.randint(10, (6, 12))
    with Watch(model, probe=(ids, torch.arange(6), F.cross_entropy)) as watch:
        torch.optim.SGD(model.parameters(), 0.0).step()
    known = watch.frame().query("step == 0").set_index("name")["delta_rms"].notna()
    assert known.to_dict() == {"wte": True, "wpe": False, "head": True}


class OwnNorm(nn.Module):
    """As language models define theirs; a class with such a name and a γ is a norm."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([gain, -gain]))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * nn.functional.normalize(x, dim=-1)


class Normed(nn.Module):
    """Norms before the first layer, behind a layer, on a shortcut, two in a row, and none."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.first = OwnNorm(9.0), nn.Linear(2, 2)
        self.second, self.inner = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.shortcut, self.aside = nn.Linear(2, 2), nn.LayerNorm(2, bias=False)
        self.last_norm, self.more = nn.LayerNorm(2, elementwise_affine=False), OwnNorm(5.0)
        self.last = nn.Linear(2, 2)
        with torch.no_grad():
            self.inner.weight.copy_(torch.tensor([3.0, 4.0]))
            self.inner.bias.copy_(torch.tensor([-2.0, 2.0]))
            self.aside.weight.fill_(7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.before(x))
        x = self.inner(self.second(x)) + self.aside(self.shortcut(x))
        found: Tensor = self.last(self.more(self.last_norm(x)))
        return found


def test_gains_and_shifts_are_of_the_norms_that_run_before_the_next_layer() -> None:
    model = Normed()
    names = ["norm_gain", "norm_shift"]
    probe = (torch.randn(6, 2), torch.arange(6) % 2, F.cross_entropy)
    with Watch(model, probe=probe, measure=names) as watch:
        torch.optim.SGD(model.parameters(), 0.0).step()
    rows = watch.frame().query("step == 0").set_index("name")[names].astype(float)
    shortcut = math.sqrt((7**2 + 7**2 + 5**2 + 5**2) / 4)
    expected = {"second": math.sqrt(12.5), "shortcut": shortcut}
    for name, gain in rows["norm_gain"].items():
        assert gain == pytest.approx(expected.get(str(name), math.nan), nan_ok=True), name
    shifts = rows["norm_shift"].dropna().to_dict()
    assert shifts == {"second": pytest.approx(2)}


def test_what_a_convolution_along_one_dimension_receives_is_no_row_of_tokens() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Conv1d(3, 4, 1), nn.Flatten(), nn.Linear(20, 2))
    x = torch.randn(6, 2, 5)
    probe = (x, torch.arange(6) % 2, F.cross_entropy)
    with Watch(model, probe=probe, measure="effective_rank") as watch:
        torch.optim.SGD(model.parameters(), 0.0).step()
    values = torch.linalg.svdvals(model[0](x).detach().flatten(1).double())
    shares = values / values.sum()
    found = watch.frame().query("step == 0 and name == '0'")["effective_rank"].iloc[0]
    assert found == pytest.approx((-shares * shares.log()).sum().exp().item(), rel=1e-5)
