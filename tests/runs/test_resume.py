"""Training that was stopped goes on as though it never had been, bit for bit."""

import io
import itertools

import pytest
import torch

from normlab.config import compose
from normlab.training import Checkpoint, Ended, Evaluation, Measurement, Started, train
from normlab.training import session as sessions
from tests.conftest import TINY, TINY_DATA

CNN = (*TINY, "data.size=8", "model=cnn", "model.depth=8", "model.width=4")


CONFIGS = {
    "mlp": TINY,
    "adam": (*TINY, "optimizer=adam"),
    "adamw, spared": (*TINY, "optimizer=adamw", "optimizer.decay=weights"),
    "weight norm": (*TINY, "norm=wn", "optimizer.momentum=0"),
    "noise": (*TINY, "norm.noise=0.5"),
    "clipped": (*TINY, "training.clip_norm=0.1"),
    "encoder": (
        *(*TINY_DATA, "data.padding=0.5", "optimizer=adam", "training.epochs=1"),
        *("model=encoder", "model.depth=1", "model.width=8", "model.heads=2"),
    ),
    "cnn": (*CNN, "model.residual=true", "model.shortcut=B"),
    "augmented": (
        *(*CNN, "data=digits", "data.crop_padding=1", "data.flip=true"),
        *("training.batch_size=512", "training.epochs=3"),
    ),
}


CONFIGS["augmented"] = tuple(
    o for o in CONFIGS["augmented"] if not o.startswith(("data.size", "data.train", "data.test"))
    and o != "data=gaussian"
)  # fmt: skip


def rows_of(events):
    """Every row that is recorded, without the time that it took."""
    found = []
    for event in events:
        if isinstance(event, Evaluation):
            found.append({**event.as_row(), "seconds": 0})
        if isinstance(event, Measurement):
            found += event.rows()
    return found


# The longest of them.
SLOW = ("augmented", "cnn")


def through_a_file(state):
    """A state as it comes back from checkpoint.pt."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def stopped_everywhere(config):
    """For each moment at which a training asks whether to stop: the events until then, the step at
    which it stopped, and the events after it went on."""
    for ask in itertools.count(1):
        asked = itertools.count(1)
        *before, last = train(config, stop=lambda: next(asked) == ask, progress_seconds=-1)  # noqa: B023
        if isinstance(last, Ended):
            return
        assert isinstance(last, Checkpoint)
        yield before, last.state["step"], list(train(config, resume=through_a_file(last.state)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in sorted(CONFIGS)],
)
def test_training_goes_on_bit_for_bit(name):
    """From every step, and from the midst of every evaluation, which it then makes again."""
    config = compose(CONFIGS[name])
    *whole, ended = train(config, progress_seconds=-1)
    steps = next(e.steps for e in whole if isinstance(e, Started))
    stops = []
    for before, step, (*after, ended_later) in stopped_everywhere(config):
        stops.append(step)
        assert isinstance(ended_later, Ended)
        assert next(e.resumed for e in after if isinstance(e, Started)) == step
        assert str(rows_of(before) + rows_of(after)) == str(rows_of(whole))
        one, two = ended.model.state_dict(), ended_later.model.state_dict()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert sorted(set(stops)) == list(range(steps + 1))
    evaluations = sum(isinstance(event, Evaluation) for event in whole)
    assert len(stops) >= steps + 2 * evaluations  # a batch or more of each set


def test_losses_that_are_read_now_and_then_go_on_bit_for_bit(monkeypatch):
    """As on a GPU, where a stop does not wait for the next reading either."""
    config = compose([*TINY, "training.epochs=5", "probes.snapshots=2", "probes.grad_norm_steps=3"])
    (*whole, _) = train(config, progress_seconds=-1)
    monkeypatch.setitem(sessions.READ_EVERY, "cpu", 3)
    stops = set()
    for before, step, (*after, _) in stopped_everywhere(config):
        stops.add(step)
        assert str(rows_of(before) + rows_of(after)) == str(rows_of(whole))
    assert stops == set(range(1 + next(e.steps for e in whole if isinstance(e, Started))))


def test_a_divergence_is_the_same_after_a_stop():
    overrides = [*TINY, "norm=none", "training.epochs=5", "optimizer.lr=1e5", "seed=3"]
    config = compose([*overrides, "model.activation=identity"])
    *whole, ended = train(config, progress_seconds=-1)
    assert (ended.status, ended.step > 1) == ("diverged", True)
    asked = itertools.count(1)
    *before, checkpoint = train(config, stop=lambda: next(asked) == 3, progress_seconds=-1)
    assert checkpoint.state["step"] == 1
    *after, again = train(config, resume=through_a_file(checkpoint.state))
    assert (again.status, again.step) == (ended.status, ended.step)
    assert str(rows_of(before) + rows_of(after)) == str(rows_of(whole))
