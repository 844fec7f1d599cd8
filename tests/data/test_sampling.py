"""Labels drawn anew, and a share of every class set aside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.data.sampling import held_out, noisy_labels
from normlab.errors import ConfigError
from tests.data.test_data import CPU, gaussian, image_data, load

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)
SHARES, SEEDS = st.floats(0, 1), st.integers(0, 2**63 - 1)


@given(labels=LABELS, share=SHARES, less=SHARES, seed=SEEDS)
def test_a_share_of_every_class_is_set_aside_and_never_all(labels, share, less, seed):
    aside = held_out(labels, share, seed)
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        taken = (labels[aside] == label).sum()
        assert taken == min(round(share * count), count - 1)
    within = held_out(labels, less * share, seed)
    assert (aside | ~within).all()


@given(labels=LABELS, share=SHARES, less=SHARES, seed=SEEDS)
def test_more_noise_adds_to_less(labels, share, less, seed):
    before = labels.copy()
    noisy = noisy_labels(labels, share, 6, seed)
    assert (labels == before).all()
    assert (noisy != labels).sum() <= round(share * len(labels))
    fewer = noisy_labels(labels, less * share, 6, seed)
    changed = fewer != labels
    assert (fewer[changed] == noisy[changed]).all()


def test_noise_is_uniform_over_all_classes_and_the_seed_decides_it():
    labels = np.arange(30_000, dtype=np.uint8) % 3
    noisy = noisy_labels(labels, 0.5, 3, seed=0)
    assert noisy.dtype == labels.dtype
    # Of half of the samples two thirds are wrong, and those evenly.
    assert (noisy != labels).mean() == pytest.approx(1 / 3, abs=0.01)
    wrong = np.bincount((noisy[noisy != labels] - labels[noisy != labels]) % 3, minlength=3)
    assert wrong[1] / wrong[2] == pytest.approx(1, abs=0.05)
    assert (noisy_labels(labels, 0.5, 3, seed=0) == noisy).all()
    assert (noisy_labels(labels, 0.5, 3, seed=1) != noisy).any()
    assert len(np.unique(noisy_labels(labels, 1.0, 1000, seed=0).astype(int))) > 200


def test_a_data_set_has_noise_in_its_training_labels_alone():
    for make, changes in ((image_data, {"train_size": 1000}), (gaussian, {"train_size": 1000})):
        true, noisy = (load(make(label_noise=noise, **changes), CPU) for noise in (0.0, 0.4))
        classes = true.classes
        wrong = (true.train_labels != noisy.train_labels).double().mean().item()
        assert wrong == pytest.approx(0.4 * (classes - 1) / classes, abs=0.04)
        assert (true.test_labels == noisy.test_labels).all()
        assert (true.train_images == noisy.train_images).all()


def test_a_test_part_from_the_training_part():
    whole = load(image_data(), CPU)
    held = load(image_data(test_share=0.2), CPU)
    assert len(held.train_labels) + len(held.test_labels) == len(whole.train_labels) == 1437
    expected = (0.2 * whole.train_labels.bincount().double()).round()
    assert held.test_labels.bincount().tolist() == expected.tolist()
    assert not (load(image_data(test_share=0.2, seed=1), CPU).test_labels == held.test_labels).all()
    parts = {tuple(i.flatten().tolist()) for i in held.train_images}, held.test_images
    # Some digits of scikit-learn's are there twice.
    assert sum(tuple(i.flatten().tolist()) in parts[0] for i in parts[1]) < 5


def test_a_share_of_nothing():
    with pytest.raises(ConfigError) as error:
        load(image_data(test_share=0.001), CPU)
    assert str(error.value) == (
        "data.test_share=0.001: leaves no test sample of the 1437 training samples of digits; "
        "must be larger"
    )
