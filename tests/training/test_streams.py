import itertools

import torch

from normlab.config import compose
from normlab.training import random_stream
from tests.conftest import TINY
from tests.training.small_trainings import equal_weights, events_of, weights_of


def test_random_streams_are_apart() -> None:
    names = [(0, "init", 0), (0, "batches", 0), (0, "batches", 1), (1, "init", 0), (0, "probe", 0)]
    draws = [torch.randn(4, generator=random_stream(*name)) for name in names]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(draws, 2))
    assert torch.equal(draws[0], torch.randn(4, generator=random_stream(0, "init")))


def test_another_seed_gives_other_weights() -> None:
    _, one = events_of(compose([*TINY, "seed=1", "training.epochs=0"]))
    _, two = events_of(compose([*TINY, "seed=2", "training.epochs=0"]))
    assert not equal_weights(weights_of(one), weights_of(two))


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    events_of(compose(["data=digits", "training.steps=3", "data.flip=true"]))
    assert torch.equal(before, torch.get_rng_state())
