import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from normlab.config import Config, compose
from normlab.data import batches
from normlab.errors import ConfigError
from normlab.networks import build_model, weight_layers
from normlab.training import Measurement, Progress, Started, random_stream, train
from normlab.training.cadence import total_steps
from normlab.training.streams import draw_probe_batch
from tests.conftest import TINY
from tests.training.small_trainings import (
    CPU,
    TINY_CNN,
    TINY_ENCODER,
    equal_weights,
    evaluations,
    events_of,
    measured,
    weights_of,
)

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


@pytest.mark.parametrize("overrides", [TINY, TINY_CNN, (*TINY_CNN, "model.residual=true")])
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


@pytest.mark.parametrize(
    "overrides", [TINY, TINY_CNN, (*TINY_CNN, "model.residual=true"), TINY_ENCODER]
)
def test_equals_the_textbook_loop_bit_for_bit_where_its_update_is_fused(
    overrides: tuple[str, ...],
) -> None:
    config = compose(overrides)
    events, ended = events_of(config)
    model, norms = textbook(config, fused=True)
    assert equal_weights(weights_of(ended), dict(model.state_dict()))
    for step, values in measured(events, "grad_norm").items():
        assert values == pytest.approx(norms[step], rel=1e-14)


@pytest.mark.parametrize("overrides", [TINY, TINY_CNN, (*TINY, "norm=wn"), TINY_ENCODER])
def test_measuring_does_not_change_training(overrides: tuple[str, ...]) -> None:
    _, bare = events_of(compose([*overrides, "probes=none"]))
    everything = ["probes.snapshots=99", "probes.grad_norm_steps=99"]
    events, watched = events_of(compose([*overrides, *everything]))
    assert len(measured(events, "delta_rms")) > 5
    assert equal_weights(weights_of(bare), weights_of(watched))
    events, seldom = events_of(compose([*overrides, "training.evaluate_every_epochs=9"]))
    assert len(evaluations(events)) == 2
    assert equal_weights(weights_of(bare), weights_of(seldom))


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


def test_events_and_their_order() -> None:
    events, ended = events_of(compose([*TINY, "training.epochs=3"]))
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
    events = list(train(compose([*TINY, "probes=none"]), progress_seconds=0))
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in progress] == list(range(1, 9))
    assert all(math.isfinite(event.batch_loss) for event in progress)


@pytest.mark.parametrize(
    "norm", ["none", "bn", "ln", "ln_channels", "gn", "in", "rms", "wn", "dyt"]
)
@pytest.mark.parametrize("model", [TINY, TINY_CNN, (*TINY_CNN, "model.block=pre"), TINY_ENCODER])
def test_every_norm_learns(norm: str, model: tuple[str, ...]) -> None:
    """A few steps on one full batch lower its loss."""
    config = compose(
        [*model, f"norm={norm}", "training.batch_size=64", "training.steps=12", "optimizer.lr=0.02"]
    )
    events, _ = events_of(config)
    losses = [row["batch_loss"] for row in evaluations(events)][1:]
    assert losses[-1] < losses[0]


# ------------------------------------------------------------------------------ diverging


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    events, ended = events_of(compose([*TINY, "norm=none", "optimizer.lr=1e30"]))
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
    config = compose([*TINY, "norm=none", "model.activation=identity"])
    events, ended = events_of(config)
    assert (ended.status, ended.step) == ("diverged", 0)
    assert math.isfinite(evaluations(events)[0]["train_loss"])
    assert not math.isfinite(measured(events, "grad_norm")[0][0])


def test_divergence_in_the_last_step_is_seen() -> None:
    events, ended = events_of(compose([*TINY, "training.steps=1", "optimizer.lr=1e38"]))
    assert (ended.status, ended.step) == ("diverged", 1)
    assert [row["step"] for row in evaluations(events)] == [0, 1]


def test_an_overflow_in_eval_mode_alone_is_no_divergence() -> None:
    """BatchNorm makes training blind to a weight's scale; its running variance is 1 at first."""
    config = compose([*TINY, "model.depth=14", "model.init_gain=1000"])
    events, ended = events_of(config)
    assert ended.status == "finished"
    assert not math.isfinite(evaluations(events)[0]["train_loss"])
    assert math.isfinite(evaluations(events)[-1]["batch_loss"])
    assert 0 in measured(events, "delta_rms")


def test_batch_norm_takes_a_single_sample_where_it_has_positions() -> None:
    _, ended = events_of(
        compose([*TINY_CNN, "training.batch_size=1", "training.steps=2", "optimizer.lr=0.001"])
    )
    assert ended.status == "finished"
    with pytest.raises(ConfigError, match="leave BatchNorm one value"):
        events_of(compose([*TINY_CNN, "data.size=4", "training.batch_size=1"]))


def test_the_probe_batchs_losses_stand_where_a_snapshot_was_taken() -> None:
    """In train mode by the batch's statistics, in eval mode by the running ones of the weights."""
    config = compose([*TINY, "norm=bn", "probes.snapshots=0", "training.epochs=3"])
    events, ended = events_of(config)
    rows = evaluations(events)
    # At the first step, after the first epoch, and at the last step; not at step 8.
    assert [row["step"] for row in rows] == [0, 4, 8, 12]
    for mode in ("train", "eval"):
        measured_at = [not math.isnan(row[f"probe_loss_{mode}_mode"]) for row in rows]
        assert measured_at == [True, True, False, True]
    batch = draw_probe_batch(config, config.data.load(CPU))
    model = ended.model
    in_eval = F.cross_entropy(model.eval()(batch.images), batch.labels).item()
    in_train = F.cross_entropy(model.train()(batch.images), batch.labels).item()
    assert rows[-1]["probe_loss_eval_mode"] == pytest.approx(in_eval)
    assert rows[-1]["probe_loss_train_mode"] == pytest.approx(in_train)
    unmeasured = evaluations(events_of(compose([*TINY, "probes=none"]))[0])
    assert all(math.isnan(row["probe_loss_eval_mode"]) for row in unmeasured)


def test_a_training_that_stops_early_has_its_losses_at_its_end() -> None:
    stop = ["training.stop_metric=train_loss", "training.stop_value=1000"]
    config = compose([*TINY, "norm=bn", "probes.snapshots=0", "training.epochs=9", *stop])
    events, ended = events_of(config)
    rows = evaluations(events)
    assert (ended.status, ended.step, rows[-1]["step"]) == ("stopped", 0, 0)
    stop[-1] = f"training.stop_value={evaluations(events_of(compose(TINY))[0])[-1]['train_loss']}"
    config = compose([*TINY, "probes.snapshots=0", "training.epochs=60", *stop])
    events, ended = events_of(config)
    rows = evaluations(events)
    assert ended.status == "stopped"
    assert rows[-1]["step"] == ended.step
    assert ended.step not in (0, 4, 240)  # the steps at which a snapshot is due
    told = [not math.isnan(row["probe_loss_train_mode"]) for row in rows]
    assert told == [row["step"] in (0, 4, ended.step) for row in rows]
