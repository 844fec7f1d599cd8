"""Samples of random lengths: what is drawn, what is filled, what the mask says."""

import numpy as np
import pytest
import torch

from normlab.config import compose, run_id
from normlab.errors import ConfigError

CPU = torch.device("cpu")
ENCODER = ("model=encoder", "norm=ln")
SMALL = (*ENCODER, "data=gaussian", "data.train_size=3000", "data.test_size=2000")


def loaded(*overrides):
    return compose([*SMALL, *overrides]).data.load(CPU)


def lengths(images):
    """Of each sample, by its mask, which is that of whole rows from the first on."""
    rows = images[:, -1]
    assert ((rows == 0) | (rows == 1)).all()
    assert (rows == rows[:, :, :1]).all()
    assert (rows[:, :-1] >= rows[:, 1:]).all()
    return rows[:, :, 0].sum(dim=1).long()


@pytest.mark.parametrize(
    ("padding", "size", "least"),
    [(0.5, 8, 4), (0.7, 10, 3), (0.55, 8, 4), (0.99, 8, 1), (0.125, 8, 7), (0.2, 8, 7)],
)
def test_lengths_are_uniform_from_the_least_to_the_whole(padding, size, least):
    found = lengths(loaded(f"data.padding={padding}", f"data.size={size}").train_images)
    counts = torch.bincount(found, minlength=size + 1)
    assert not counts[:least].any()
    expected = 3000 / (size + 1 - least)
    assert (counts[least:] - expected).abs().max() < 5 * expected**0.5


@pytest.mark.parametrize("content", ["zeros", "noise"])
def test_real_rows_stay_and_others_are_filled(content):
    plain = loaded()
    padded = loaded("data.padding=0.5", f"data.padding_content={content}")
    for images, before in (
        (padded.train_images, plain.train_images),
        (padded.test_images, plain.test_images),
    ):
        real = images[:, -1:].bool()
        assert torch.equal(images[:, :-1][real], before[real])
        filled = images[:, :-1][~real]
        if content == "zeros":
            assert not filled.any()
        else:
            assert filled.mean().abs() < 0.05
            assert (filled.std() - 1).abs() < 0.05
            assert (filled == before[~real]).sum() < 5
    assert torch.equal(padded.train_labels, plain.train_labels)
    assert padded.shape == (2, 8, 8)


def test_train_and_test_have_streams_of_their_own_and_a_larger_set_begins_with_the_smaller():
    given = ("data.padding=0.5", "data.padding_content=noise")
    one = loaded(*given)
    assert torch.equal(one.train_images, loaded(*given).train_images)
    train, test = lengths(one.train_images), lengths(one.test_images)
    assert not torch.equal(train[:2000], test)
    assert not torch.equal(train, lengths(loaded(*given, "data.seed=1").train_images))
    smaller = loaded(*given, "data.train_size=500")
    assert torch.equal(smaller.train_images, one.train_images[:500])


def test_digits_are_filled_once_standardized():
    given = (*ENCODER, "data=digits", "data.padding=0.9", "data.flip=true")
    padded = compose(given).data.load(CPU).train_images
    plain = compose([*ENCODER, "data=digits"]).data.load(CPU).train_images
    real = padded[:, -1:].bool()
    assert torch.equal(padded[:, :-1], torch.where(real, plain, 0))
    assert lengths(padded).unique().tolist() == list(range(1, 9))


def test_batches_keep_mask_and_image_together():
    from normlab.data import batches

    config = compose([*SMALL, "data.padding=0.5", "data.padding_content=zeros"])
    dataset = config.data.load(CPU)
    for images, _ in batches(dataset, config.data, 100, torch.Generator()):
        padding = images[:, -1:] == 0
        assert not images[:, :-1][padding].any()


# -------------------------------------------------------------------------------- identity


def test_without_padding_its_content_is_nothing():
    plain = compose(ENCODER)
    assert plain == compose([*ENCODER, "data.padding_content=noise"])
    padded = compose([*ENCODER, "data.padding=0.5"])
    noisy = compose([*ENCODER, "data.padding=0.5", "data.padding_content=noise"])
    assert len({run_id(config) for config in (plain, padded, noisy)}) == 3


@pytest.mark.parametrize("padding", [0, 0.5])
def test_what_is_no_content_is_refused_with_padding_or_without(padding):
    with pytest.raises(ConfigError, match=r"data.padding_content=zeroes: .*zeros.*noise"):
        compose([*ENCODER, f"data.padding={padding}", "data.padding_content=zeroes"])


def test_plain_data_are_as_they_were():
    dataset = compose(["data=digits"]).data.load(CPU)
    assert dataset.shape == (1, 8, 8)
    assert np.prod(dataset.train_images.shape) == 1437 * 64


# --------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model=mlp"], r"^data.padding=0.5: model=mlp has no mask for it; use model=encoder"),
        (["model=resnet"], r"^data.padding=0.5: model=cnn has no mask for it; use model=encoder"),
        (
            [*ENCODER, "data=cifar10"],
            r"^data.crop_padding=4: crops would move what data.padding=0.5 fills; .*crop_padding=0",
        ),
        ([*ENCODER, "data.padding=1.0"], r"^data.padding=1.0: "),
        ([*ENCODER, "data.padding=-0.1"], r"^data.padding=-0.1: "),
        ([*ENCODER, "data.padding_content=ones"], r"^data.padding_content=ones: .*zeros.*noise"),
        (
            [*ENCODER, "data.padding=0.9", "model.patch=4"],
            r"^model.patch=4: data.padding leaves 1 row of some samples.* at most data.padding=0.5",
        ),
        (
            [*ENCODER, "data=digits", "model.patch=8"],
            r"less than a patch; use data.padding=0, or a smaller patch$",
        ),
        (
            [*ENCODER, "data=digits", "data.padding=0.05"],
            r"^data.padding=0.05: 0.05 of 8 rows is less than a row; use at least 0.125$",
        ),
        (
            [*ENCODER, "data=gaussian", "data.size=1"],
            r"^data.padding=0.5: 0.5 of 1 row is less than a row; use data.padding=0$",
        ),
    ],
)
def test_what_cannot_be_is_one_line(overrides, told):
    with pytest.raises(ConfigError, match=told) as caught:
        compose(["data.padding=0.5", *overrides])
    assert "\n" not in str(caught.value)


def test_a_patch_that_just_fits_is_taken():
    config = compose([*ENCODER, "data.padding=0.5", "model.patch=4"])
    assert lengths(config.data.load(CPU).train_images).min() == 4
