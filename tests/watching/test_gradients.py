"""In any loop: the norms of the gradients that the optimizer has used, of each step it has made."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from normlab.watching import Watch
from tests.watching.checks import RATE, Used, equal_used, grad_norms
from tests.watching.nets import F, drawn, labels, mlp
from tests.watching.oracle import seeded

STEPS = 7
PROBE = (drawn(6, 5).double(), labels(), F.cross_entropy)


def net() -> nn.Module:
    """A small net in float64."""
    return seeded(mlp)().double()


def loss_of(model: nn.Module, step: int) -> Tensor:
    """The loss of a batch of its own at every step."""
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(step))
    dtype = next(model.parameters()).dtype
    return F.cross_entropy(model(x.to(dtype)), labels())


def trained(model: nn.Module, optimizer: Optimizer, used: Used, steps: int = STEPS) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(model, step).backward()
        optimizer.step()
        used.stepped()


def test_a_plain_loop() -> None:
    model = net()
    used = Used(model)
    with Watch(model, probe=PROBE) as watch:
        trained(model, SGD(model.parameters(), RATE), used, steps=60)  # more than are read at once
    equal_used(watch, used)


def test_every_third_step_and_the_sampled_ones_have_rows() -> None:
    model = net()
    used = Used(model)
    with Watch(model, every=3) as watch:
        trained(model, SGD(model.parameters(), RATE), used, steps=20)
    sampled = {0, 1, 2, 3, 4, 6, 8, 11, 16}
    assert set(grad_norms(watch)) == sampled | set(range(0, 20, 3))
    rows = watch.frame().dropna(subset="update_ratio")
    assert set(rows["step"]) == sampled


def test_accumulated_gradients() -> None:
    model = net()
    optimizer = SGD(model.parameters(), RATE)
    used = Used(model)
    with Watch(model, probe=PROBE) as watch:
        for step in range(STEPS):
            for part in range(3):
                (loss_of(model, 3 * step + part) / 3).backward()
            optimizer.step()
            used.stepped()
            optimizer.zero_grad()
    equal_used(watch, used)


def test_clipped_gradients_and_what_they_were_before() -> None:
    model = net()
    optimizer = SGD(model.parameters(), RATE)
    used = Used(model)
    before = []
    with Watch(model, probe=PROBE) as watch:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            watch.record_unclipped()
            before.append({n: p.grad.norm().item() for n, p in model.named_parameters()})
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            optimizer.step()
            used.stepped()
    equal_used(watch, used)
    for row in watch.frame().dropna(subset="grad_norm_unclipped").itertuples():
        assert row.grad_norm_unclipped == pytest.approx(before[row.step][f"{row.name}.weight"])
        assert row.grad_norm < 0.0101 < row.grad_norm_unclipped * 10
    assert watch.frame()["grad_norm_unclipped"].notna().sum() == STEPS * len(watch.weights)


@pytest.mark.parametrize("unscale", [False, True], ids=["", "unscale_"])
@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
@pytest.mark.parametrize(
    ("broken", "every"), [((0, 1), 1), ((1, 2, 5, 9, 17, 21), 1), ((2, 5, 9), 3)]
)
def test_a_gradient_scaler(unscale: bool, fused: bool, every: int, broken: tuple[int, ...]) -> None:
    """A skipped step makes no row and is not counted; gradients are as they were used, unscaled."""
    model = net().float()
    optimizer = SGD(model.parameters(), RATE, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    used = Used(model)
    probe = (PROBE[0].float(), *PROBE[1:])
    with Watch(model, probe=probe, every=every) as watch:
        for step in range(22):
            optimizer.zero_grad()
            scaler.scale(loss_of(model, step) * (math.inf if step in broken else 1)).backward()
            if unscale:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
            if step not in broken:
                used.stepped()
    if every == 1:
        equal_used(watch, used, rel=1e-3)
    steps = 22 - len(broken)
    assert watch.step == steps
    sampled = [step for step in (0, 1, 2, 3, 4, 6, 8, 11, 16) if step < steps]
    rows = watch.frame()
    assert sorted(set(rows["step"])) == sorted({*sampled, *range(0, steps, every), steps})
    assert sorted(set(rows.dropna(subset="update_ratio")["step"])) == sampled
    assert (rows["update_ratio"].dropna() > 0).all()
    assert sorted(set(rows.dropna(subset="delta_rms")["step"])) == [*sampled, steps]
    assert watch.as_run().summary.verdict != "diverged"


@pytest.mark.parametrize("kind", [SGD, Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_fused_optimizers_under_a_scaler_give_what_others_give(kind: Any) -> None:
    found = []
    for fused in (False, True):
        model = net().float()
        optimizer = kind(model.parameters(), RATE / 10, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        with Watch(model) as watch:
            for step in range(5):
                optimizer.zero_grad()
                scaler.scale(loss_of(model, step) * (math.inf if step == 1 else 1)).backward()
                scaler.step(optimizer)
                scaler.update()
        found.append(watch.frame()[["grad_norm", "update_ratio"]])
    torch.testing.assert_close(
        *(torch.tensor(f.to_numpy()) for f in found), equal_nan=True, rtol=1e-3, atol=1e-7
    )


def test_autocast() -> None:
    model = net().float()
    optimizer = SGD(model.parameters(), RATE)
    used = Used(model)
    probe = (PROBE[0].float(), *PROBE[1:])
    with torch.autocast("cpu", torch.bfloat16), Watch(model, probe=probe) as watch:
        trained(model, optimizer, used)
    equal_used(watch, used, rel=1e-3)
    plain = net().float()
    with Watch(plain, probe=probe) as other:
        plain_optimizer = SGD(plain.parameters(), RATE)
        trained(plain, plain_optimizer, Used(plain), steps=1)
    first, wanted = (w.frame().query("step == 0")["delta_rms"] for w in (watch, other))
    assert first.tolist() == wanted.tolist()  # a snapshot is in single precision


def _whole(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    return model, torch.compile(model, backend="eager")


def _in_place(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    model.compile(backend="eager")
    return model, model


def _in_part(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    model[0] = torch.compile(model[0], backend="eager")
    model[3].compile(backend="eager")
    return model, model


@pytest.mark.slow  # PyTorch's compiler takes seconds to import
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("compiled", [_whole, _in_place, _in_part])
@pytest.mark.parametrize("when", ["before", "after", "compiled given"])
def test_compiled_models(compiled: Any, when: str) -> None:
    plain = net()
    with Watch(plain, probe=PROBE) as wanted:
        trained(plain, SGD(plain.parameters(), RATE), Used(plain))
    torch._dynamo.reset()
    model = net()
    if when == "before":
        watch = Watch(model, probe=PROBE)
        _, runs = compiled(model)
    else:
        kept, runs = compiled(model)
        watch = Watch(runs if when == "compiled given" else kept, probe=PROBE)
    used = Used(model)
    with watch:
        trained(runs, SGD(runs.parameters(), RATE), used)
    rows, others = watch.frame(), wanted.frame()
    if compiled is not _in_part:
        assert rows["name"].tolist() == others["name"].tolist()
    columns = ["grad_norm", "delta_rms", "update_ratio", "act_std", "sample_cosine"]
    torch.testing.assert_close(
        torch.tensor(rows[columns].to_numpy()),
        torch.tensor(others[columns].to_numpy()),
        equal_nan=True,
    )
    assert rows["delta_rms"].notna().sum() == others["delta_rms"].notna().sum() > 0


def test_several_groups_of_parameters() -> None:
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2:].parameters()}]
    optimizer = SGD(groups, RATE)
    used = Used(model)
    with Watch(model, probe=PROBE) as watch:
        trained(model, optimizer, used)
    for norms in used.steps:
        norms["0.weight"] *= RATE / 0.5
    equal_used(watch, used)
    assert math.isnan(watch.metrics()["lr"].iloc[0])  # which has no one value


def test_parameters_that_are_added_later() -> None:
    model = net()
    optimizer = SGD(model[9].parameters(), RATE)
    used = Used(model)
    with Watch(model, probe=PROBE) as watch:
        for step in range(STEPS):
            if step == 3:
                optimizer.add_param_group({"params": model[:9].parameters()})
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
            used.stepped()
    found = grad_norms(watch)
    assert [sorted(found[step]) for step in (2, 3)] == [["9"], ["0", "2", "5", "9"]]
    for step, norms in enumerate(used.steps):
        for name, norm in found[step].items():
            assert norm == pytest.approx(norms[f"{name}.weight"])


def test_an_optimizer_of_other_weights_that_is_given_watched_ones() -> None:
    model, other = net(), net()
    optimizer = SGD(other.parameters(), RATE)
    with Watch(model) as watch:
        for step in range(4):
            if step == 2:
                optimizer.add_param_group({"params": model.parameters()})
            loss_of(model, step).backward()
            optimizer.step()
    assert set(grad_norms(watch)) == {0, 1}


def test_two_optimizers_as_of_a_gan() -> None:
    """Each counts its own steps; a weight's rows are those of its optimizer."""
    model = nn.ModuleDict({"maker": net(), "judge": net()})
    used = {name: Used(part) for name, part in model.items()}
    optimizers = {name: SGD(part.parameters(), RATE) for name, part in model.items()}
    with Watch(model) as watch:
        for step in range(9):
            for name in ("judge", "judge", "maker"):
                optimizers[name].zero_grad()
                loss_of(model[name], step).backward()
                optimizers[name].step()
                used[name].stepped()
    rows = watch.frame().dropna(subset="grad_norm")
    for name, steps in (("judge", 18), ("maker", 9)):
        for weight in ("0", "2", "5", "9"):
            found = rows[rows["name"] == f"{name}.{weight}"].sort_values("step")
            assert found["step"].tolist() == list(range(steps))
            wanted = [norms[f"{weight}.weight"] for norms in used[name].steps]
            assert found["grad_norm"].tolist() == pytest.approx(wanted)


class Doubly(SGD):
    """Calls its parent's step, which is a hooked one too."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Sharpened(Optimizer):
    """Sharpness-aware minimization (Foret et al. 2021) around another optimizer."""

    def __init__(self, parameters: Iterator[nn.Parameter], lr: float):
        super().__init__(list(parameters), {})
        self.base = SGD(self.param_groups, lr)

    def step(self, closure: Any = None) -> Any:
        parameters = [p for group in self.param_groups for p in group["params"]]
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            moves = [0.05 * p.grad / p.grad.norm() for p in parameters]
            for p, move in zip(parameters, moves, strict=True):
                p += move
        self.zero_grad()
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            for p, move in zip(parameters, moves, strict=True):
                p -= move
        self.base.step()
        return loss


@pytest.mark.parametrize("kind", [SGD, Doubly, Sharpened])
def test_optimizers_that_call_a_closure_or_another_one(kind: Any) -> None:
    """What was used at the end of the step counts, once, and no gradient from before it."""
    model = net()
    optimizer = kind(model.parameters(), lr=RATE)
    used = Used(model)
    with Watch(model, probe=PROBE) as watch:
        for step in range(STEPS):

            def closure(step: int = step) -> Tensor:
                optimizer.zero_grad()
                loss = loss_of(model, step)
                loss.backward()
                return loss

            optimizer.step(closure)
            used.stepped()
    equal_used(watch, used)
    rows = watch.frame().dropna(subset="update_ratio")
    assert len(rows) == 6 * len(watch.weights)  # steps 0, 1, 2, 3, 4, 6


def test_a_schedule() -> None:
    model = net()
    optimizer = SGD(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    used = Used(model)
    with Watch(model, probe=PROBE) as watch:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss_of(model, step).backward()
            optimizer.step()
            used.stepped()
            schedule.step()
    for step, norms in enumerate(used.steps):
        norms.update({name: norm / 0.5**step for name, norm in norms.items()})
    equal_used(watch, used)
    assert watch.metrics()["lr"].tolist()[:3] == pytest.approx([RATE, RATE / 2, RATE / 4])


def test_a_weight_without_a_gradient_is_no_broken_one() -> None:
    model = nn.ModuleDict({"used": net(), "idle": nn.Linear(2, 2)}).double()
    optimizers = [SGD(part.parameters(), RATE) for part in model.values()]
    with Watch(model) as watch:
        for step in range(3):
            loss_of(model["used"], step).backward()
            for optimizer in optimizers:
                optimizer.step()
    rows = watch.frame()
    assert rows[rows["name"] == "idle"]["grad_norm"].isna().all()
    assert watch.as_run().summary.verdict is None


def test_a_gradient_that_is_not_a_number_is_told_of() -> None:
    model = net()
    optimizer = SGD(model.parameters(), RATE)
    with Watch(model) as watch:
        for step in range(4):
            loss_of(model, step).backward()
            if step == 2:
                model[9].weight.grad[0, 0] = math.nan
            optimizer.step()
    assert watch.as_run().summary.reason == "A gradient was not finite at step 2."


def test_sparse_gradients() -> None:
    model = nn.EmbeddingBag(9, 4, sparse=True, mode="sum").double()
    dense = copy.deepcopy(model)
    dense.sparse = False
    ids = torch.tensor([[1, 2, 2], [3, 1, 8]])
    norms = []
    for each in (model, dense):
        with Watch(each) as watch:
            each(ids).pow(2).sum().backward()
            SGD(each.parameters(), RATE).step()
        norms.append(grad_norms(watch)[0])
    assert norms[0] == pytest.approx(norms[1])
