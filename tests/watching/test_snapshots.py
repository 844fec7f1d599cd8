"""Every measurement of a snapshot against the definitions, on PyTorch's own layers."""

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
