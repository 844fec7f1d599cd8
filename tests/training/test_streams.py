import itertools

import torch

from normlab.config import compose
from normlab.training import random_stream
from normlab.training.streams import draw_probe_batch
from tests.conftest import TINY
from tests.training.small_trainings import CPU, equal_weights, events_of, weights_of


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


def test_the_probe_batch_is_drawn_from_all_training_samples() -> None:
    """Each sample with its label, none twice, not the first ones, and others for another seed."""
    drawn = {}
    for seed in (0, 1):
        config = compose([*TINY, f"seed={seed}", "probes.batch_size=16"])
        dataset = config.data.load(CPU)
        batch = draw_probe_batch(config, dataset)
        same = (batch.images[:, None] == dataset.train_images[None]).flatten(2).all(2)
        assert (same.sum(dim=1) == 1).all()
        drawn[seed] = same.int().argmax(dim=1)
        assert torch.equal(batch.labels, dataset.train_labels[drawn[seed]])
        assert len(set(drawn[seed].tolist())) == 16
        assert drawn[seed].max() >= 32  # of 64
    assert set(drawn[0].tolist()) != set(drawn[1].tolist())
