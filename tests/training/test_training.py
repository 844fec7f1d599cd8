import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from normlab.config import Config, compose
from normlab.data import batches
from normlab.errors import ConfigError
from normlab.networks import build_model, weight_layers
from normlab.training import (
    Ended,
    Evaluation,
    Measurement,
    Progress,
    Started,
    available_devices,
    evaluate,
    random_stream,
    train,
)
from normlab.training import session as sessions
from normlab.training.cadence import gradient_schedule, snapshot_schedule, total_steps
from normlab.training.schedules import learning_rate

CPU = torch.device("cpu")
TINY = (
    "data=gaussian",
    "data.train_size=64",
    "data.test_size=16",
    "data.size=4",
    "training.batch_size=16",
    "training.epochs=2",
    "probes.batch_size=8",
    "runtime.device=cpu",
)
TINY_MLP = (*TINY, "model=mlp", "model.depth=4", "model.width=8")
TINY_CNN = (*TINY, "data.size=8", "model=cnn", "model.depth=8", "model.width=4")


def events_of(config: Config) -> tuple[list[Any], Ended]:
    *events, ended = train(config)
    assert isinstance(ended, Ended)
    return events, ended


def evaluations(events: list[Any]) -> list[dict[str, Any]]:
    return [event.as_row() for event in events if isinstance(event, Evaluation)]


def measured(events: list[Any], probe: str) -> dict[int, list[float]]:
    """A probe's values of every layer, by step."""
    return {
        event.step: list(event.probes[probe])
        for event in events
        if isinstance(event, Measurement) and probe in event.probes
    }


def weights_of(ended: Ended) -> dict[str, Tensor]:
    return dict(ended.model.state_dict())


def equal_weights(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


# ----------------------------------------------------------------- the loop and its oracle


def textbook(config: Config, *, fused: bool = False) -> tuple[torch.nn.Module, list[list[float]]]:
    """The plain PyTorch loop that `train` must equal, and the gradient norms of its steps."""
    dataset = config.data.load(CPU)
    model = build_model(config, dataset.shape, dataset.classes, random_stream(config.seed, "init"))
    layers = weight_layers(model)
    optimizer = torch.optim.SGD(
        model.parameters(), config.optimizer.lr, momentum=0.9, weight_decay=1e-4, fused=fused
    )
    steps = total_steps(config, len(dataset.train_labels) // config.training.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    norms = []
    step = 0
    for epoch in itertools.count():
        stream = random_stream(config.seed, "batches", epoch)
        for x, y in batches(dataset, config.data, config.training.batch_size, stream):
            if step == steps:
                return model, norms
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            norms.append([layer.module.weight.grad.double().norm().item() for layer in layers])
            optimizer.step()
            scheduler.step()
            step += 1
    raise AssertionError


@pytest.mark.parametrize("overrides", [TINY_MLP, TINY_CNN, (*TINY_CNN, "model.residual=true")])
def test_equals_the_textbook_loop(overrides: tuple[str, ...]) -> None:
    config = compose(overrides)
    events, ended = events_of(config)
    model, norms = textbook(config)
    for name, tensor in model.state_dict().items():
        # Fused and plain SGD may round an update differently.
        torch.testing.assert_close(weights_of(ended)[name], tensor, rtol=1e-5, atol=1e-6)
    logged = measured(events, "grad_norm")
    assert len(logged) == len(norms) == 8
    for step, values in logged.items():
        assert values == pytest.approx(norms[step], rel=1e-4)
    assert logged[0] == pytest.approx(norms[0], rel=1e-12)


@pytest.mark.parametrize("overrides", [TINY_MLP, TINY_CNN, (*TINY_CNN, "model.residual=true")])
def test_equals_the_textbook_loop_bit_for_bit_where_its_update_is_fused(
    overrides: tuple[str, ...],
) -> None:
    config = compose(overrides)
    events, ended = events_of(config)
    model, norms = textbook(config, fused=True)
    assert equal_weights(weights_of(ended), dict(model.state_dict()))
    for step, values in measured(events, "grad_norm").items():
        assert values == pytest.approx(norms[step], rel=1e-14)


@pytest.mark.parametrize("overrides", [TINY_MLP, TINY_CNN, (*TINY_MLP, "norm=wn")])
def test_measuring_does_not_change_training(overrides: tuple[str, ...]) -> None:
    _, bare = events_of(compose([*overrides, "probes=none"]))
    everything = ["probes.snapshots=99", "probes.grad_norm_steps=99"]
    events, watched = events_of(compose([*overrides, *everything]))
    assert len(measured(events, "delta_rms")) > 5
    assert equal_weights(weights_of(bare), weights_of(watched))


def test_the_same_config_gives_the_same_numbers() -> None:
    config = compose(TINY_CNN)
    events, ended = events_of(config)
    torch.manual_seed(12345)  # nor does anything else in the process matter
    torch.randn(10)
    again, ended_again = events_of(config)
    assert equal_weights(weights_of(ended), weights_of(ended_again))
    assert measured(events, "sample_cosine") == measured(again, "sample_cosine")
    timeless = [{**row, "seconds": 0} for row in evaluations(events)]
    assert str(timeless) == str([{**row, "seconds": 0} for row in evaluations(again)])


def test_another_seed_gives_other_weights() -> None:
    _, one = events_of(compose([*TINY_MLP, "seed=1", "training.epochs=0"]))
    _, two = events_of(compose([*TINY_MLP, "seed=2", "training.epochs=0"]))
    assert not equal_weights(weights_of(one), weights_of(two))


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    events_of(compose(["data=digits", "training.steps=3", "data.flip=true"]))
    assert torch.equal(before, torch.get_rng_state())


def test_rows_are_about_the_weights_after_their_step() -> None:
    """The last row's scores and snapshot are those of the returned model."""
    config = compose(TINY_CNN)
    events, ended = events_of(config)
    dataset = config.data.load(CPU)
    last = evaluations(events)[-1]
    assert last["step"] == ended.step == 8
    scores = evaluate(ended.model, dataset, config.training)
    assert scores == {key: last[key] for key in scores}
    norms = [layer.module.weight.double().norm().item() for layer in weight_layers(ended.model)]
    assert measured(events, "weight_norm")[8] == pytest.approx(norms, rel=1e-12)
    assert 8 not in measured(events, "grad_norm")  # no training step starts from there


def test_update_ratio_is_of_the_real_step() -> None:
    """Plain SGD on a single step: ‖ΔW‖/‖W‖ = lr·‖∇W‖/‖W‖."""
    config = compose(
        [*TINY_MLP, "training.steps=1", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    )
    events, _ = events_of(config)
    ratio, gradient, weight = (
        measured(events, probe)[0] for probe in ("update_ratio", "grad_norm", "weight_norm")
    )
    expected = [0.1 * g / w for g, w in zip(gradient, weight, strict=True)]
    assert ratio == pytest.approx(expected, rel=1e-4)


def test_evaluation_is_in_eval_mode_on_the_whole_sets() -> None:
    config = compose([*TINY_CNN, "data.train_size=1203", "training.steps=3"])
    events, ended = events_of(config)
    dataset = config.data.load(CPU)
    ended.model.eval()
    with torch.no_grad():
        logits = ended.model(dataset.train_images)
    loss = F.cross_entropy(logits, dataset.train_labels).item()
    accuracy = (logits.argmax(1) == dataset.train_labels).double().mean().item()
    last = evaluations(events)[-1]
    assert last["train_loss"] == pytest.approx(loss, rel=1e-5)
    assert last["train_acc"] == pytest.approx(accuracy, rel=1e-6)


def test_events_and_their_order() -> None:
    events, ended = events_of(compose([*TINY_MLP, "training.epochs=3"]))
    assert isinstance(events[0], Started)
    assert (events[0].steps, events[0].layers, events[0].steps_per_epoch) == (12, 4, 4)
    assert events[0].parameters == 16 * 8 + 8 + 2 * (8 * 8 + 8) + 8 * 10 + 10 + 3 * 2 * 8
    assert [row["step"] for row in evaluations(events)] == [0, 4, 8, 12]
    assert [row["epoch"] for row in evaluations(events)] == [0, 1, 2, 3]
    assert {0, 4, 12} <= set(measured(events, "delta_rms"))  # init, first epoch, end
    steps = [e.step for e in events if isinstance(e, Measurement)]
    assert steps == sorted(set(steps))
    assert ended.status == "finished"


def test_progress_comes_between_measurements() -> None:
    events = list(train(compose([*TINY_MLP, "probes=none"]), progress_seconds=0))
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in progress] == list(range(1, 9))
    assert all(math.isfinite(event.batch_loss) for event in progress)


@pytest.mark.parametrize("norm", ["none", "bn", "ln", "gn", "in", "rms", "wn"])
@pytest.mark.parametrize("model", [TINY_MLP, TINY_CNN, (*TINY_CNN, "model.block=pre")])
def test_every_norm_learns(norm: str, model: tuple[str, ...]) -> None:
    """A few steps on one full batch lower its loss."""
    config = compose(
        [*model, f"norm={norm}", "training.batch_size=64", "training.steps=12", "optimizer.lr=0.02"]
    )
    events, _ = events_of(config)
    losses = [row["batch_loss"] for row in evaluations(events)][1:]
    assert losses[-1] < losses[0]


def test_sigmoid_loss_is_trained_and_reported() -> None:
    """Its value at logits of 0 is K·log 2, where softmax has log K."""
    config = compose(
        [
            *(*TINY_MLP, "training.steps=0", "training.loss=sigmoid"),
            *("model.init=normal", "model.init_std=0"),
        ]
    )
    events, _ = events_of(config)
    row = evaluations(events)[0]
    assert row["train_loss"] == pytest.approx(10 * math.log(2), rel=1e-6)


# ------------------------------------------------------------------------------ diverging


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    events, ended = events_of(compose([*TINY_MLP, "norm=none", "optimizer.lr=1e30"]))
    assert ended.status == "diverged"
    assert 0 < ended.step < 8
    assert 0 in measured(events, "delta_rms")  # what was measured so far is kept
    *before, last = evaluations(events)
    assert all(math.isfinite(row["train_loss"]) for row in before)
    # Scored as what it has become: by the weights after the step that broke them.
    assert last["step"] == ended.step + 1 > before[-1]["step"]
    assert not math.isfinite(last["train_loss"])
    assert last["train_acc"] < 0.4


def test_a_gradient_that_is_not_finite_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards 1e-30 · 1e15 · 1e15 stays finite; backwards 1e15³ overflows float32."""

    def lopsided(*args: Any) -> torch.nn.Module:
        model = build_model(*args)
        with torch.no_grad():
            for layer in weight_layers(model):
                layer.module.weight *= 1e-36 if layer.index == 1 else 1e15
        return model

    monkeypatch.setattr("normlab.training.step.build_model", lopsided)
    config = compose([*TINY_MLP, "norm=none", "model.activation=identity"])
    events, ended = events_of(config)
    assert (ended.status, ended.step) == ("diverged", 0)
    assert math.isfinite(evaluations(events)[0]["train_loss"])
    assert not math.isfinite(measured(events, "grad_norm")[0][0])


def test_divergence_in_the_last_step_is_seen() -> None:
    events, ended = events_of(compose([*TINY_MLP, "training.steps=1", "optimizer.lr=1e38"]))
    assert (ended.status, ended.step) == ("diverged", 1)
    assert [row["step"] for row in evaluations(events)] == [0, 1]


@pytest.mark.parametrize("read_every", [3, 50])
def test_when_losses_are_read_back_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, read_every: int
) -> None:
    """A GPU's losses are read every 50 steps: the same step diverges and the same rows are kept."""
    # The loss overflows after some steps, between two snapshots and within an epoch.
    overrides = [*TINY_MLP, "norm=none", "training.epochs=5", "optimizer.lr=1e5", "seed=3"]
    config = compose([*overrides, "model.activation=identity", "probes.snapshots=2"])
    events, ended = events_of(config)
    assert ended.status == "diverged"
    assert ended.step % read_every
    monkeypatch.setitem(sessions.READ_EVERY, "cpu", read_every)
    late, late_end = events_of(config)
    assert (late_end.status, late_end.step) == (ended.status, ended.step)
    assert str(measured(late, "grad_norm")) == str(measured(events, "grad_norm"))
    steps, late_steps = ([row["step"] for row in evaluations(e)] for e in (events, late))
    assert late_steps[:-1] == steps[:-1]
    assert ended.step < steps[-1] <= late_steps[-1] <= ended.step + read_every  # as they stand
    assert steps == sorted(set(steps))
    assert late_steps == sorted(set(late_steps))


def test_an_overflow_in_eval_mode_alone_is_no_divergence() -> None:
    """BatchNorm makes training blind to a weight's scale; its running variance is 1 at first."""
    config = compose([*TINY_MLP, "model.depth=14", "model.init_gain=1000"])
    events, ended = events_of(config)
    assert ended.status == "finished"
    assert not math.isfinite(evaluations(events)[0]["train_loss"])
    assert math.isfinite(evaluations(events)[-1]["batch_loss"])
    assert 0 in measured(events, "delta_rms")


@pytest.mark.parametrize("more", [[], ["norm=none", "model.depth=30", "model.init_gain=8"]])
def test_clipping_bounds_the_step(more: list[str]) -> None:
    """A step of lr · clip_norm, also where the squared norm overflows float32."""
    plain = [*TINY_MLP, "training.steps=1", "optimizer.momentum=0", "optimizer.weight_decay=0"]
    plain += [*more, "model.bias=false"]
    _, start = events_of(compose([*plain, "training.steps=0"]))
    _, end = events_of(compose([*plain, "training.clip_norm=0.01"]))
    change = sum(
        (a - b).square().sum()
        for a, b in zip(start.model.parameters(), end.model.parameters(), strict=True)
    )
    assert change.sqrt().item() == pytest.approx(0.1 * 0.01, rel=1e-3)


# ------------------------------------------------------------------------------- schedules


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


@given(steps=st.integers(0, 10_000), per_epoch=st.integers(1, 500), count=st.integers(0, 40))
def test_snapshots_hold_init_first_epoch_and_end(steps: int, per_epoch: int, count: int) -> None:
    values = compose_cached().model_dump()
    values["probes"]["snapshots"] = count
    schedule = snapshot_schedule(Config.model_validate(values), steps, per_epoch)
    assert {0, steps} <= schedule <= set(range(steps + 1))
    assert per_epoch in schedule or per_epoch > steps
    assert len(schedule) <= count + 3


@given(steps=st.integers(0, 10_000), count=st.integers(0, 400))
def test_gradient_norms_are_logged_at_a_bounded_number_of_steps(steps: int, count: int) -> None:
    values = compose_cached().model_dump()
    values["probes"]["grad_norm_steps"] = count
    schedule = gradient_schedule(Config.model_validate(values), steps, frozenset({0}))
    assert len(schedule) <= count + 1
    if count >= steps:
        assert schedule == frozenset({0, *range(steps)})


def compose_cached(config: Config = ONE_OF_EACH[0]) -> Config:
    return config


def test_nothing_is_measured_where_nothing_is_asked() -> None:
    events, _ = events_of(compose([*TINY_MLP, "probes=none"]))
    assert not any(isinstance(event, Measurement) for event in events)


def test_random_streams_are_apart() -> None:
    names = [(0, "init", 0), (0, "batches", 0), (0, "batches", 1), (1, "init", 0), (0, "probe", 0)]
    draws = [torch.randn(4, generator=random_stream(*name)) for name in names]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(draws, 2))
    assert torch.equal(draws[0], torch.randn(4, generator=random_stream(0, "init")))


# --------------------------------------------------------------------- device and precision


def test_bf16_trains_and_is_measured_in_fp32() -> None:
    exact, _ = events_of(compose(TINY_CNN))
    coarse, ended = events_of(compose([*TINY_CNN, "training.precision=bf16"]))
    assert all(p.dtype == torch.float32 for p in ended.model.parameters())
    assert measured(exact, "delta_rms")[0] == measured(coarse, "delta_rms")[0]
    assert measured(exact, "grad_norm")[0] != measured(coarse, "grad_norm")[0]
    assert measured(exact, "grad_norm")[0] == pytest.approx(
        measured(coarse, "grad_norm")[0], rel=0.1
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.precision=tf32", "needs an NVIDIA GPU, this runs on cpu"),
        ("training.batch_size=65", "there are 64 training samples; use at most 64"),
        ("runtime.device=cuda:99", "no such device here; choices: auto, cpu"),
    ],
)
def test_refused_before_anything_starts(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        next(iter(train(compose([*TINY_MLP, override]))))


def test_auto_takes_the_best_device() -> None:
    started = next(iter(train(compose([*TINY_MLP, "runtime.device=auto"]))))
    assert isinstance(started, Started)
    order = [d for d in ("cuda", "mps", "cpu") if d in available_devices()]
    assert started.device == order[0]


def test_batch_norm_takes_a_single_sample_where_it_has_positions() -> None:
    _, ended = events_of(
        compose([*TINY_CNN, "training.batch_size=1", "training.steps=2", "optimizer.lr=0.001"])
    )
    assert ended.status == "finished"
    with pytest.raises(ConfigError, match="leave BatchNorm one value"):
        events_of(compose([*TINY_CNN, "data.size=4", "training.batch_size=1"]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("overrides", [TINY_MLP, TINY_CNN])
def test_a_gpu_gives_the_cpus_numbers(overrides: tuple[str, ...]) -> None:
    on_cpu, _ = events_of(compose(overrides))
    on_gpu, _ = events_of(compose([*overrides, "runtime.device=cuda"]))
    for one, two in zip(evaluations(on_cpu), evaluations(on_gpu), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-2)
    for probe in ("delta_rms", "grad_norm", "weight_norm"):
        assert measured(on_gpu, probe)[0] == pytest.approx(measured(on_cpu, probe)[0], rel=1e-4)
