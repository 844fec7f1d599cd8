"""Arrays of a person's own: every layout and name is read alike, and what is wrong is told."""

import contextlib
import io
import os
import zipfile

import numpy as np
import pytest
import torch

from normlab.errors import ConfigError, DataError, NormlabError
from tests.data.own_sets import arrays, npz, own
from tests.data.test_data import CPU, Hostile, load, one_line


def loaded(path, **changes):
    return load(own("npz", path, **changes), CPU)


def told(path, **changes):
    return own("npz", path, **changes).pinned()


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        ("NHW", (5, 4), (1, 5, 4)),
        ("NHWC", (5, 4, 3), (3, 5, 4)),
        ("NHWC", (5, 4, 1), (1, 5, 4)),
        ("NCHW", (3, 5, 4), (3, 5, 4)),
        ("NCHW", (1, 5, 4), (1, 5, 4)),
    ],
)
def test_layouts_are_told_by_the_shape(tmp_path, layout, shape, expected):
    path = npz(tmp_path / "a.npz", **arrays(shape=shape))
    assert (told(path).layout, told(path).image_shape) == (layout, expected)
    got = loaded(path)
    assert got.shape == expected
    stored = arrays(shape=shape)["train_images"].astype(np.float32) / 255
    axes = {"NHW": (0, 1, 2), "NHWC": (0, 3, 1, 2), "NCHW": (0, 1, 2, 3)}[layout]
    assert np.array_equal(got.train_images.numpy(), stored.transpose(axes).reshape(12, *expected))


def test_a_given_layout_decides_where_the_shape_does_not(tmp_path):
    path = npz(tmp_path / "a.npz", **arrays(shape=(3, 5, 3)))
    assert told(path, layout="NHWC").image_shape == (3, 3, 5)
    assert told(path, layout="NCHW").image_shape == (3, 5, 3)
    bands = npz(tmp_path / "b.npz", **arrays(shape=(5, 4, 7)))
    assert told(bands, layout="NHWC").image_shape == (7, 5, 4)
    assert load(own("npz", bands, layout="NHWC"), CPU).shape == (7, 5, 4)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("images", "labels", "test_images", "test_labels"),
        ("X", "y", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels"),
    ],
)
def test_other_names_of_the_arrays(tmp_path, names):
    usual = npz(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", **dict(zip(names, arrays().values(), strict=True)))
    one, other = told(usual), told(tmp_path / "b.npz")
    assert one.sha256 == other.sha256
    assert torch.equal(one.load(CPU).test_images, other.load(CPU).test_images)


def test_a_validation_part_does_not_replace_a_test_part(tmp_path):
    path = npz(tmp_path / "a.npz", val_images=np.zeros((2, 9, 9)), val_labels=np.array([0, 7]))
    assert told(path).sha256 == told(npz(tmp_path / "b.npz")).sha256


@pytest.mark.parametrize(
    "labels",
    [
        [30, -10, 20],
        ["dog", "ant", "cat"],
        [b"dog", b"ant", b"cat"],
        np.array([[2], [0], [1]], np.uint16),
    ],
)
def test_labels_are_numbered_in_sorted_order(tmp_path, labels):
    changes = {"train_labels": np.repeat(labels, 4, axis=0), "test_labels": np.array(labels[:2])}
    two = arrays(test=2)
    got = loaded(npz(tmp_path / "a.npz", **(two | changes)))
    assert got.train_labels.tolist() == [2] * 4 + [0] * 4 + [1] * 4
    assert got.test_labels.tolist() == [2, 0]
    assert got.classes == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(tmp_path, dtype):
    images = (np.random.RandomState(0).randn(12, 4, 4) * 3).astype(dtype)
    path = npz(tmp_path / "a.npz", train_images=images, test_images=images[:6])
    assert np.array_equal(loaded(path).train_images[:, 0].numpy(), images.astype(np.float32))
    standard = loaded(path, standardize="channel").train_images
    assert standard.mean().item() == pytest.approx(0, abs=1e-6)
    assert standard.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    flat = np.full((12, 4, 4), 0.1, dtype)
    path = npz(tmp_path / "b.npz", train_images=flat, test_images=flat[:6])
    assert loaded(path, standardize="channel").train_images.abs().max() < 1e-6


def test_images_that_are_not_square(tmp_path):
    path = npz(tmp_path / "a.npz", **arrays(shape=(9, 4)))
    with pytest.raises(ConfigError) as error:
        loaded(path, crop_padding=4)
    assert str(error.value) == ("data.crop_padding=4: a has images of 9×4 pixels; must be below 4")


OBJECTS = np.array([Hostile(os.mkdir, "never")] * 12, dtype=object)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_images": None},
            "{} has no train_images or x_train; the arrays of the file: train_labels, test_images, "
            "test_labels",
        ),
        (
            {"train_labels": None},
            "{} has no train_labels or y_train; the arrays of the file: train_i",
        ),
        ({"test_labels": None}, "{} has no test_labels or y_test; the arrays of the file: train_i"),
        ({"x_train": np.zeros(1)}, "{} has train_images and x_train, which are for the same; keep"),
        (
            {"train_images": np.zeros((12, 4), np.uint8)},
            "{} train_images has the shape 12×4; must be N×height×width, with channels behind "
            "(NHWC) or before (NCHW)",
        ),
        (
            {"train_images": np.zeros((12, 3, 4, 3), np.uint8)},
            "{} train_images has the shape 12×3×4×3, of which both ends may be 1 or 3 channels; "
            "add data.layout=NHWC or data.layout=NCHW",
        ),
        (
            {"train_images": np.zeros((12, 4, 4, 2), np.uint8)},
            "{} train_images has the shape 12×4×4×2, of which neither end is as 1 or 3 channels; "
            "add data.layout=NHWC or data.layout=NCHW",
        ),
        ({"train_images": np.zeros((0, 4, 4))}, "{} train_images is empty, of the shape 0×4×4"),
        (
            {"train_images": np.zeros((12, 4, 4), int)},
            "{} train_images has numbers of int64; must be uint8, from 0 to 255, or float",
        ),
        (
            {"train_images": np.full((12, 4, 4), np.nan)},
            "{} train_images has values that are not finite (NaN or infinite)",
        ),
        (
            {"train_images": np.full((12, 4, 4), 1e300)},
            "{} train_images has values that are not finite (NaN or infinite)",
        ),
        (
            {"train_labels": np.arange(11)},
            "{} train_images has 12 samples and train_labels 11; must have as many",
        ),
        (
            {"test_images": np.zeros((6, 5, 5), np.uint8)},
            "{} training images are 1×4×4 of uint8, test images 1×5×5 of uint8; must be alike",
        ),
        (
            {"test_images": np.zeros((6, 4, 4))},
            "{} training images are 1×4×4 of uint8, test images 1×4×4 of float32; must be alike",
        ),
        (
            {"train_labels": np.eye(12)},
            "{} train_labels has the shape 12×12; must be one label a sample, as array.argmax(1) "
            "makes of one-hot labels",
        ),
        (
            {"train_labels": np.arange(12) / 2},
            "{} train_labels has labels of float64; must be whole numbers or text",
        ),
        (
            {"train_labels": np.zeros(12, int)},
            "{} the training part has only the class 0; must have two classes or more",
        ),
        (
            {"test_labels": np.array([0, 1, 2, 0, 1, 7])},
            "{} the test part has the class 7, of which the training part has no sample",
        ),
        (
            {"train_labels": OBJECTS},
            "{} train_labels holds Python objects, which are never read; must be numbers, or text "
            "as array.astype(str)",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    path = npz(tmp_path / "a.npz", **changes)
    with pytest.raises(DataError) as error:
        told(path)
    assert one_line(error).startswith(message.format(f"{path}:"))
    assert list(tmp_path.iterdir()) == [path]


def test_a_layout_that_is_not_that_of_the_images(tmp_path):
    path = npz(tmp_path / "a.npz")
    with pytest.raises(DataError) as error:
        told(path, layout="NCHW")
    assert one_line(error) == f"data.layout=NCHW: {path}: train_images has the shape 12×4×4"


def test_no_test_part(tmp_path):
    path = npz(tmp_path / "mine.npz", test_images=None, test_labels=None)
    with pytest.raises(ConfigError) as error:
        told(path)
    assert one_line(error) == (
        "data.test_share=null: mine has no test part; data.test_share=0.2 makes one of a fifth of "
        "each training class"
    )
    got = told(path, test_share=0.25).load(CPU)
    assert (got.train_labels.bincount().tolist(), got.test_labels.bincount().tolist()) == (
        [3] * 3,
        [1] * 3,
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "File is not a zip file"),
        (b"PK\x05\x06" + bytes(18), "has no train_images"),
        (b"\x93NUMPY\x01\x00", "File is not a zip file"),
    ],
)
def test_what_is_no_npz(tmp_path, content, why):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=why) as error:
        told(path)
    one_line(error)


def test_what_is_no_regular_file(tmp_path):
    for path, why in ((tmp_path, "is no regular file"), (tmp_path / "none.npz", "No such file")):
        with pytest.raises(DataError, match=why) as error:
            told(path)
        assert str(path) in one_line(error)


def test_damage_anywhere_is_told(tmp_path):
    path = npz(tmp_path / "a.npz")
    whole = path.read_bytes()
    rng, refused = np.random.RandomState(0), 0
    for number in range(60):
        broken = bytearray(whole)
        broken[rng.randint(len(whole))] ^= 1 << rng.randint(8)
        path.write_bytes(broken if number % 2 else whole[: rng.randint(len(whole))])
        with contextlib.suppress(NormlabError):
            loaded(path)
            refused -= 1
        refused += 1
    assert 30 < refused <= 60


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """A header of a few bytes may promise any size."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 36, 1 << 10, 1 << 10)}
    )
    path = npz(tmp_path / "a.npz", train_images=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", header.getvalue())
    with pytest.raises(DataError, match=r"train_images.npy is not as long as its header says"):
        told(path)
    path = tmp_path / "b.npz"
    np.savez_compressed(path, **arrays(train=300, shape=(100, 100)))
    monkeypatch.setattr(os, "sysconf", lambda _: 1000)  # a megabyte
    with pytest.raises(DataError) as error:
        told(path)
    assert one_line(error) == (
        f"{path}: its images take 0.0 GB, above half of this machine's memory; make the arrays "
        "smaller, or uint8 instead of float"
    )
