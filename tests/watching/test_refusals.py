"""What cannot be measured is refused in one line, and no failure of a watch ends a training."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam

import normlab.watching.watch as watch_module
from normlab.errors import ConfigError
from normlab.watching import Watch, WatchWarning
from tests.watching.nets import F, drawn, labels, mlp
from tests.watching.oracle import seeded

net = seeded(mlp)
X, Y = drawn(6, 5), labels()
PROBE = (X, Y, F.cross_entropy)
STEPS = 4


def _nan() -> Tensor:
    x = X.clone()
    x[0, 0] = math.nan
    return x


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LazyLinear(3)


BAD_MODELS = [
    (lambda: "net", "model=str: no network; give a torch.nn.Module"),
    (
        lambda: nn.Sequential(nn.ReLU(), nn.LayerNorm(5)),
        "model=Sequential: none of its parameters is a weight of two or more dimensions",
    ),
    (
        lambda: net().requires_grad_(False),
        "model=Sequential: none of its parameters is a weight of two or more dimensions that is "
        "trained; all have requires_grad=False",
    ),
    (
        lambda: nn.Linear(3, 3, device="meta"),
        "model=Linear: weight is on the meta device, empty",
    ),
]


@pytest.mark.parametrize(("make", "line"), BAD_MODELS)
def test_models(make: Callable[[], Any], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        Watch(make())
    assert str(error.value) == line


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_weight_without_a_size() -> None:
    with pytest.raises(ConfigError) as error:
        Watch(Lazy())
    assert str(error.value) == (
        "model: first.weight has no size yet, as it is lazy; run one batch through it first"
    )


BAD_PROBES = [
    (
        (X, Y),
        "probe: must be (x, y, loss_fn), a batch, its targets, and a function of the network's "
        "output and the targets",
    ),
    ((torch.tensor(1.0), Y, F.cross_entropy), "probe: x holds no tensor with a first dimension"),
    ((X[:0], Y[:0], F.cross_entropy), "probe: x holds no tensor with a first dimension of samples"),
    (({}, Y, F.cross_entropy), "probe: x holds no tensor with a first dimension of samples"),
    ((X[:, :3], Y, F.cross_entropy), "probe: the network cannot take x (RuntimeError: mat1 and"),
    (({"no": X}, Y, F.cross_entropy), "probe: the network cannot take x (TypeError: "),
    ((X, Y[:3], F.cross_entropy), "probe: loss_fn fails (ValueError: Expected input batch_size"),
    (
        (X, Y, lambda output, y: F.cross_entropy(output, y, reduction="none")),
        "probe: loss_fn gives a tensor of shape [6]; must be a scalar tensor, as .mean() is",
    ),
    (
        (X, Y, lambda output, y: F.cross_entropy(output, y).item()),
        "probe: loss_fn gives 1.",
    ),
    (
        (X, Y, lambda output, y: F.cross_entropy(output.detach(), y)),
        "probe: loss_fn gives a loss without a gradient; must be computed from the network's "
        "output by tensor operations",
    ),
    ((_nan(), Y, F.cross_entropy), "probe: x holds NaN"),
    (
        (X.to("meta"), Y, F.cross_entropy),
        "probe: x is on meta, the network on cpu; give x.to('cpu')",
    ),
]


@pytest.mark.parametrize(("probe", "line"), BAD_PROBES)
def test_probes(probe: Any, line: str) -> None:
    """Before a training begins; and another watch may then begin."""
    model = net()
    state = torch.get_rng_state()
    with pytest.raises(ConfigError) as error:
        Watch(model, probe=probe)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert torch.equal(torch.get_rng_state(), state)
    Watch(model).pause()


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "2"])
def test_every(every: Any) -> None:
    with pytest.raises(ConfigError, match=r"every=.*: must be a whole number of steps, at least 1"):
        Watch(net(), every=every)


@pytest.mark.parametrize(
    ("measure", "probed", "line"),
    [
        ("efective_rank", True, "measure=efective_rank: no such .*did you mean effective_rank"),
        (
            ["norm_gain", "token_cosine"],
            True,
            "measure=token_cosine: measured in normlab's own runs only; choices: mean_delta,",
        ),
        ("smoothness", True, "measure=smoothness: measured in normlab's own runs only; choices: "),
        (
            ["norm_gain"],
            False,
            r"measure=norm_gain: is of a probe batch; add probe=\(x, y, loss_fn\)",
        ),
    ],
)
def test_measure(measure: Any, probed: bool, line: str) -> None:
    probe = (torch.randn(4, 5), torch.arange(4) % 2, F.cross_entropy) if probed else None
    with pytest.raises(ConfigError, match=line):
        Watch(net(), probe=probe, measure=measure)


def test_a_second_watch() -> None:
    """On the network, a part of it or a compiled one; not once the first is closed."""
    model = net()
    line = "model: is watched already; close that watch before another begins"
    watch = Watch(model)
    for again in (model, model[0], nn.Sequential(model)):
        with pytest.raises(ConfigError, match=line):
            Watch(again)
    with pytest.warns(WatchWarning, match="no optimizer"):
        watch.close()
    trained(model, Watch(model))


def trained(model: nn.Module, watch: Any, make: Any = SGD) -> list[Tensor]:
    """The weights at the end of a training of some steps."""
    optimizer = make(model.parameters(), lr=0.1)
    for _ in range(STEPS):

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(X), Y)
            loss.backward()
            return loss

        optimizer.step(closure)
    if watch:
        watch.close()
    return [parameter.detach().clone() for parameter in model.parameters()]


@contextmanager
def recording() -> Iterator[list[warnings.WarningMessage]]:
    """Within, warnings are recorded."""
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        yield recorded


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _warned_once(recorded: Any, line: str) -> None:
    (warning,) = recorded
    assert warning.category is WatchWarning
    assert str(warning.message).removeprefix("normlab.watch ") == line


def test_lbfgs(tmp_path: Path) -> None:
    wanted = trained(net(), None, LBFGS)
    model = net()
    with recording() as recorded:
        watch = Watch(model, probe=PROBE, out=tmp_path / "run")
        found = trained(model, watch, LBFGS)
    _warned_once(
        recorded,
        "has stopped, the training goes on: LBFGS: takes many gradients in a step, of which none "
        "is the step's",
    )
    assert _same(found, wanted)
    assert (tmp_path / "run" / "summary.json").exists()


class ZeroRedundancyOptimizer(SGD):
    """By its name alone: what it does needs several processes."""


def test_a_divided_optimizer() -> None:
    model = net()
    with recording() as recorded:
        found = trained(model, Watch(model, probe=PROBE), ZeroRedundancyOptimizer)
    _warned_once(
        recorded,
        "has stopped, the training goes on: ZeroRedundancyOptimizer: each process steps a part of "
        "the weights only; use fully_shard, or a plain optimizer",
    )
    assert _same(found, trained(net(), None))


def _stepped_in_backward(model: nn.Module) -> list[Tensor]:
    optimizers = {parameter: SGD([parameter], 0.1) for parameter in model.parameters()}

    def step(parameter: Tensor) -> None:
        optimizers[parameter].step()  # type: ignore[index]
        optimizers[parameter].zero_grad()  # type: ignore[index]

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(STEPS):
        F.cross_entropy(model(X), Y).backward()
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_optimizers_within_the_backward_pass() -> None:
    wanted = _stepped_in_backward(net())
    model = net()
    with recording() as recorded:
        watch = Watch(model, probe=PROBE)
        found = _stepped_in_backward(model)
        watch.close()
    _warned_once(
        recorded,
        "has stopped, the training goes on: SGD: steps within the backward pass, when other "
        "gradients are not there yet",
    )
    assert _same(found, wanted)


def test_no_optimizer_of_a_watched_weight() -> None:
    """As of a copy that is trained."""
    model = net()
    with recording() as recorded:
        watch = Watch(model, probe=PROBE)
        trained(net(), watch)
    _warned_once(
        recorded,
        "has seen no optimizer that steps a watched weight; begin it before the training, with "
        "the network that is trained, not a copy of it",
    )
    assert watch.frame()["grad_norm"].isna().all()


@pytest.mark.parametrize("name", ["snapshot", "update_ratios"])
@pytest.mark.parametrize("fails_at", [1, 3])
def test_a_failure_within(
    name: str, fails_at: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It warns once, keeps what it has, and the training ends as it would have."""
    wanted = trained(net(), None, Adam)
    calls = 0
    real = getattr(watch_module, name)

    def failing(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= fails_at:
            raise ZeroDivisionError("no\nway")
        return real(*args)

    monkeypatch.setattr(watch_module, name, failing)
    model = net()
    with recording() as recorded:
        watch = Watch(model, probe=PROBE, out=tmp_path / "run")
        found = trained(model, watch, Adam)
    (warning,) = recorded
    assert "has stopped, the training goes on: ZeroDivisionError" in str(warning.message)
    assert "\n" not in str(warning.message)
    assert _same(found, wanted)
    assert calls == fails_at  # it did not try again
    assert watch.frame()["grad_norm"].notna().sum() >= 4 * (fails_at - 1)
    assert watch.as_run() is not None
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_failure_of_the_last_look() -> None:
    """As of a network that was changed since: what was measured before is kept."""
    model = net()
    with recording() as recorded:
        watch = Watch(model, probe=PROBE)
        optimizer = SGD(model.parameters(), 0.1)
        for _ in range(STEPS):
            F.cross_entropy(model(X), Y).backward()
            optimizer.step()
        model[0] = nn.Linear(4, 16)
        watch.close()
    (warning,) = recorded
    assert "could not be finished: " in str(warning.message)
    assert watch.frame()["grad_norm"].notna().sum() == 4 * STEPS


def test_a_failure_where_warnings_are_errors_ends_the_watch_first() -> None:
    model = net()
    optimizer = LBFGS(model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Watch(model)
        with pytest.raises(WatchWarning):
            optimizer.step(lambda: F.cross_entropy(model(X), Y))
    Watch(model).pause()  # it is watched no more


def test_other_optimizers_are_let_go() -> None:
    """A watch does not keep alive what it does not watch."""
    import gc
    import weakref

    model = net()
    watch = Watch(model, probe=PROBE)
    other = SGD([nn.Parameter(torch.ones(2, 2))], 0.1)
    other.step()
    known = weakref.ref(other)
    del other
    gc.collect()
    assert known() is None
    trained(model, watch)
