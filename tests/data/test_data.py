"""Data sets: read whole, refused when damaged, standardized, subset, batched and augmented."""

import dataclasses
import functools
import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normlab.config import DATA_SETS, ImageTensors
from normlab.data import batches, finding
from normlab.data import cifar as cifar_files
from normlab.data import idx as idx_files
from normlab.data.images import standardization
from normlab.data.sampling import class_balanced
from normlab.errors import ConfigError, DataError

CPU = torch.device("cpu")
CIFAR10_FILES = [batch.name for batch in DATA_SETS["cifar10"].batches]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def image_data(name="digits", **changes):
    values = {
        "root": None,
        "train_size": None,
        "test_size": None,
        "test_share": None,
        "subset": "balanced",
        "seed": 0,
        "label_noise": 0.0,
        "standardize": "none",
        "crop_padding": 0,
        "padding": 0.0,
        "padding_content": "zeros",
        "flip": False,
    }
    return DATA_SETS[name](name=name, **(values | changes))


def load(config, device):
    return config.load(device)


def locate(name, root=None):
    return DATA_SETS[name].locate(root)


def search_places(name, root=None):
    return DATA_SETS[name].places(root)


def gaussian(**changes):
    values = {"channels": 2, "size": 3, "classes": 5, "train_size": 40, "test_size": 30, "seed": 0}
    values |= {"label_noise": 0.0, "padding": 0.0, "padding_content": "zeros"}
    return DATA_SETS["gaussian"](name="gaussian", **(values | changes))


def shared(name):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real files are not in {folder}")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty user cache, and no NORMLAB_DATA."""
    folder = tmp_path / "user cache"
    monkeypatch.setattr(finding, "_cache", lambda: folder)
    monkeypatch.delenv("NORMLAB_DATA", raising=False)
    return folder


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# ------------------------------------------------------------------------------------ real files


def test_digits_are_those_of_scikit_learn_split_into_1437_and_360():
    from sklearn.datasets import load_digits

    dataset = load(image_data(), CPU)
    assert dataset.shape == (1, 8, 8)
    assert dataset.classes == 10
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1437, 360)
    assert dataset.test_labels.bincount().tolist() == [36] * 10

    def rows(images, labels):
        return sorted(map(tuple, np.column_stack([images, labels])))

    source = load_digits()
    images = torch.cat([dataset.train_images, dataset.test_images]).flatten(1)
    labels = torch.cat([dataset.train_labels, dataset.test_labels])
    assert rows(images, labels) == rows(source.data / 16, source.target)


def test_real_mnist():
    folder = shared("mnist")
    dataset = load(image_data("mnist", root=str(folder)), CPU)
    assert dataset.shape == (1, 28, 28)
    assert dataset.train_images.dtype == torch.float32
    assert dataset.train_labels.dtype == torch.int64
    assert (len(dataset.train_images), len(dataset.test_images)) == (60_000, 10_000)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    # The mean and deviation that everyone quotes.
    assert dataset.train_images.double().mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert dataset.train_images.double().std().item() == pytest.approx(0.3081, abs=5e-5)


def test_real_fashion_mnist_is_not_taken_for_mnist():
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip(f"Debian's files are not in {folder}")
    assert locate("fashion_mnist") == folder
    _, (_, labels) = DATA_SETS["fashion_mnist"].read(folder)
    assert np.bincount(labels).tolist() == [1000] * 10
    with pytest.raises(DataError) as error:
        load(image_data("mnist", root=str(folder)), CPU)
    assert "holds fashion_mnist, not mnist; put mnist into a folder mnist/" in one_line(error)


@pytest.fixture(scope="module")
def cifar():
    return DATA_SETS["cifar10"].read(shared("cifar-10-batches-py"))


def test_real_cifar10(cifar):
    (images, labels), (test_images, test_labels) = cifar
    assert images.shape == (50_000, 3, 32, 32)
    assert test_images.shape == (10_000, 3, 32, 32)
    assert np.bincount(labels).tolist() == [5000] * 10
    assert np.bincount(test_labels).tolist() == [1000] * 10
    assert labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert test_labels[:5].tolist() == [3, 8, 8, 0, 6]
    # The channel means that everyone quotes; red is the first channel.
    means = images.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    assert means == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)


def test_cifar10_channel_constants(cifar):
    (images, _), _ = cifar
    offset, divisor = standardization(images, "channel", 255)
    for channel in range(3):
        counts = np.bincount(images[:, channel].ravel(), minlength=256)
        mean = np.average(np.arange(256), weights=counts)
        variance = np.average((np.arange(256) - mean) ** 2, weights=counts)
        assert offset[channel].item() == pytest.approx(mean, rel=1e-7)
        assert divisor[channel].item() == pytest.approx(variance**0.5, rel=1e-7)


# --------------------------------------------------------------------------------- standardizing


@pytest.mark.parametrize("standardize", ["none", "channel", "pixel_mean"])
def test_standardizing_uses_constants_of_the_training_subset(standardize):
    raw = load(image_data(), CPU)
    kept = class_balanced(raw.train_labels.numpy(), 100, seed=3)
    train = raw.train_images[kept].double().numpy()
    test = raw.test_images.double().numpy()
    mean, deviation = {
        "none": (0, 1),
        "channel": (train.mean(), train.std()),
        "pixel_mean": (train.mean(axis=0), 1),
    }[standardize]
    dataset = load(image_data(standardize=standardize, train_size=100, seed=3), CPU)
    assert torch.equal(dataset.train_labels, raw.train_labels[kept])
    for got, images in ((dataset.train_images, train), (dataset.test_images, test)):
        np.testing.assert_allclose(got.numpy(), (images - mean) / deviation, atol=1e-6)


def test_channels_are_standardized_apart_and_one_without_variance_becomes_zero():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), np.uint8)
    images[:, 1] = 77
    offset, divisor = standardization(images, "channel", 255)
    got = (images - offset) / divisor
    assert (got[:, 1] == 0).all()
    assert divisor[1].item() == 255
    for channel in (0, 2):
        assert got[:, channel].mean() == pytest.approx(0, abs=1e-6)
        assert got[:, channel].std() == pytest.approx(1, abs=1e-6)


def test_gaussian_images_and_labels():
    dataset = load(gaussian(train_size=4000, test_size=1000), CPU)
    assert dataset.shape == (2, 3, 3)
    assert dataset.classes == 5
    assert dataset.train_images.dtype == torch.float32
    values = dataset.train_images.flatten()
    assert values.mean().item() == pytest.approx(0, abs=0.02)
    assert values.std().item() == pytest.approx(1, abs=0.02)
    counts = dataset.train_labels.bincount()
    assert len(counts) == 5
    assert counts.min() > 700
    assert not torch.equal(dataset.train_images[:1000], dataset.test_images)


def test_gaussian_seed_decides_and_a_larger_set_begins_with_the_smaller():
    small, large = load(gaussian(), CPU), load(gaussian(train_size=80), CPU)
    assert torch.equal(small.train_images, large.train_images[:40])
    assert torch.equal(small.train_labels, large.train_labels[:40])
    assert torch.equal(small.test_images, large.test_images)
    other = load(gaussian(seed=1), CPU)
    assert not torch.equal(small.train_images, other.train_images)
    assert not torch.equal(small.train_labels, other.train_labels)


# --------------------------------------------------------------------------------------- subsets


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array),
    seed=st.integers(0, 2**63 - 1),
    share=st.floats(0, 1),
)
def test_class_balanced(labels, seed, share):
    size = round(share * len(labels))
    chosen = class_balanced(labels, size, seed)
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    there = np.bincount(labels, minlength=6)
    taken = np.bincount(labels[chosen], minlength=6)
    # A class that is not exhausted has as many as any, but for one.
    assert (taken[taken < there] >= taken.max() - 1).all()
    assert set(class_balanced(labels, size // 2, seed)) <= set(chosen)


def test_class_balanced_depends_on_the_seed():
    labels = np.arange(1000) % 10
    draws = {tuple(class_balanced(labels, 50, seed)) for seed in range(5)}
    assert len(draws) == 5
    assert tuple(class_balanced(labels, 50, 0)) in draws


def test_subset_sizes():
    dataset = load(image_data(train_size=100, test_size=25), CPU)
    assert dataset.train_labels.bincount().tolist() == [10] * 10
    assert sorted(dataset.test_labels.bincount().tolist()) == [2] * 5 + [3] * 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_size": 2000}, "data.train_size=2000: digits has 1437 training samples"),
        ({"test_size": 361}, "data.test_size=361: digits has 360 test samples"),
        (
            {"crop_padding": 8},
            "data.crop_padding=8: digits has images of 8×8 pixels; must be below 8",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data(changes, message):
    with pytest.raises(ConfigError) as error:
        load(image_data(**changes), CPU)
    assert str(error.value) == message


# --------------------------------------------------------------------------------------- batches


def numbered(samples, shape=(1, 2, 2)):
    """A data set whose image i holds i + 1 everywhere and has label i."""
    labels = torch.arange(samples)
    images = (labels + 1.0).view(-1, 1, 1, 1).expand(-1, *shape).contiguous()
    return ImageTensors(images, labels, images, labels, samples)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(samples=st.integers(1, 40), batch_size=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_an_epoch_visits_each_sample_at_most_once_in_whole_batches(samples, batch_size, seed):
    dataset = numbered(samples)
    if batch_size > samples:
        with pytest.raises(ConfigError, match=rf"training.batch_size={batch_size}: "):
            next(batches(dataset, gaussian(), batch_size, generator(seed)))
        return
    epoch = list(batches(dataset, gaussian(), batch_size, generator(seed)))
    assert len(epoch) == samples // batch_size
    seen = torch.cat([labels for _, labels in epoch])
    assert len(seen.unique()) == len(seen)
    for images, labels in epoch:
        assert len(images) == batch_size
        assert torch.equal(images, dataset.train_images[labels])


def test_the_generator_decides_the_batches():
    dataset = load(gaussian(train_size=50), CPU)
    config = image_data(crop_padding=1, flip=True)

    def epochs(seed):
        source = generator(seed)
        return [
            torch.cat([images for images, _ in batches(dataset, config, 8, source)])
            for _ in range(2)
        ]

    first, second = epochs(0)
    again, again_second = epochs(0)
    assert torch.equal(first, again)
    assert torch.equal(second, again_second)
    assert not torch.equal(first, second)
    assert not torch.equal(first, epochs(1)[0])


def test_all_randomness_is_drawn_before_the_first_batch():
    source = generator()
    epoch = batches(numbered(20), image_data(crop_padding=1, flip=True), 5, source)
    next(epoch)
    state = source.get_state()
    assert len(list(epoch)) == 3
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize(("padding", "flip"), [(2, True), (1, False), (0, True)])
def test_augmented_images_are_legal_and_every_legal_one_occurs(padding, flip):
    samples, height, width = 6, 4, 3
    images = torch.randn(samples, 2, height, width, generator=generator())
    labels = torch.arange(samples)
    dataset = ImageTensors(images, labels, images, labels, samples)

    def legal(image):
        padded = np.pad(image.numpy(), ((0, 0), (padding, padding), (padding, padding)))
        for top in range(2 * padding + 1):
            for left in range(2 * padding + 1):
                crop = padded[:, top : top + height, left : left + width]
                yield crop.tobytes()
                if flip:
                    yield crop[:, :, ::-1].tobytes()

    allowed = [set(legal(image)) for image in images]
    assert len(allowed[0]) == (2 * padding + 1) ** 2 * (1 + flip)
    seen = [set() for _ in range(samples)]
    source = generator(1)
    config = image_data(crop_padding=padding, flip=flip)
    for _ in range(600):
        for augmented, chosen in batches(dataset, config, 3, source):
            for image, label in zip(augmented, chosen, strict=True):
                seen[label].add(image.numpy().tobytes())
    assert seen == allowed


@pytest.mark.parametrize("padding", [0, 1, 2, 7])
def test_the_share_of_an_image_that_a_crop_leaves_is_the_mean_over_all_crops(padding):
    padded = np.pad(np.ones((8, 8)), padding)
    places = range(2 * padding + 1)
    kept = [padded[top : top + 8, left : left + 8].mean() for top in places for left in places]
    assert image_data(crop_padding=padding).kept_share == pytest.approx(np.mean(kept))


def test_crop_places_and_flips_are_uniform_and_differ_within_a_batch():
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    images, labels = image.expand(9000, -1, -1, -1), torch.zeros(9000, dtype=torch.int64)
    dataset = ImageTensors(images, labels, images, labels, 1)
    config = image_data(crop_padding=1, flip=True)
    ((augmented, _),) = batches(dataset, config, 9000, generator())
    kinds, counts = augmented.flatten(1).unique(dim=0, return_counts=True)
    assert len(kinds) == 18
    # 500 of each are expected, with a standard deviation of 22.
    assert counts.min() > 390
    assert counts.max() < 610


# --------------------------------------------------------------------------------- finding files


def touch(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file).touch()
    return folder


def test_a_place_that_is_not_there_is_named_before_a_download(tmp_path, monkeypatch):
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path / "absent"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    with pytest.raises(DataError, match=r"NORMLAB_DATA=.*absent: there is no such folder"):
        load(image_data("cifar10"), torch.device("cpu"))


def test_places_in_order(tmp_path, monkeypatch, cache):
    assert search_places("mnist") == [cache]
    monkeypatch.setenv("NORMLAB_DATA", "~/sets")
    assert search_places("mnist") == [Path.home() / "sets", cache]
    debian = Path("/usr/share/datasets/fashion-mnist")
    assert search_places("fashion_mnist") == [Path.home() / "sets", cache, debian]
    assert search_places("fashion_mnist", str(tmp_path)) == [tmp_path]


def test_locate(tmp_path, monkeypatch, cache):
    assert locate("mnist") is None
    assert locate("cifar10") is None
    assert locate("gaussian") is None
    digits = locate("digits")
    assert digits is not None
    assert digits.is_file()

    in_cache = touch(cache / "mnist", idx_files._FILES)
    assert locate("mnist") == in_cache
    given = touch(tmp_path / "given", idx_files._FILES[:3])
    monkeypatch.setenv("NORMLAB_DATA", str(given))
    assert locate("mnist") == in_cache  # one file is missing in the place before
    touch(given, ["t10k-labels-idx1-ubyte"])  # uncompressed will do
    assert locate("mnist") == given
    own = touch(given / "mnist", idx_files._FILES)
    assert locate("mnist") == own
    root = touch(tmp_path / "root", ())
    assert locate("mnist", str(root)) is None
    assert locate("fashion_mnist", str(touch(root / "fashion-mnist", idx_files._FILES))) == (
        root / "fashion-mnist"
    )


def test_locate_cifar10(tmp_path):
    archive = touch(tmp_path, ["cifar-10-python.tar.gz"]) / "cifar-10-python.tar.gz"
    assert locate("cifar10", str(tmp_path)) == archive
    folder = touch(tmp_path / "cifar-10-batches-py", CIFAR10_FILES)
    assert locate("cifar10", str(tmp_path)) == folder
    assert locate("cifar10", str(folder)) == folder


def test_a_root_without_the_data_is_an_error_and_nothing_else_is_tried(
    tmp_path, monkeypatch, cache
):
    import pooch

    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("a download"))
    touch(cache / "mnist", idx_files._FILES)
    with pytest.raises(DataError) as error:
        load(image_data("mnist", root=str(tmp_path)), CPU)
    assert one_line(error) == (
        f"data.root={tmp_path}: mnist is not there; put {', '.join(idx_files._FILES)} "
        f"into {tmp_path / 'mnist'}"
    )
    touch(tmp_path, idx_files._FILES[1:])
    with pytest.raises(DataError, match=rf"put {idx_files._FILES[0]} into {tmp_path}$"):
        load(image_data("mnist", root=str(tmp_path)), CPU)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(DataError) as error:
        load(image_data("cifar10", root=str(nowhere)), CPU)
    assert one_line(error) == (
        f"data.root={nowhere}: there is no such folder; "
        f"put cifar-10-batches-py/ or cifar-10-python.tar.gz into {nowhere}"
    )


def test_a_place_that_cannot_be_looked_into():
    with pytest.raises(DataError, match=r"^data.root=~no such user/x: there is no such home"):
        locate("mnist", "~no such user/x")
    with pytest.raises(DataError, match=r"cannot be looked for \(File name too long\)"):
        locate("mnist", "x" * 5000)


def test_finding_and_reading_digits_imports_neither_scikit_learn_nor_pooch():
    code = (
        "import sys; from normlab.config import DATA_SETS; DATA_SETS['mnist'].locate(); "
        "DATA_SETS['digits'].read(DATA_SETS['digits'].locate()); "
        "print(sorted({'sklearn', 'scipy', 'pooch', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ----------------------------------------------------------------------------- damaged idx files


def idx(array, magic=None):
    magic = struct.pack(">HBB", 0, 8, array.ndim) if magic is None else magic
    return magic + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


TINY = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.mark.parametrize("name", ["images-idx3-ubyte.gz", "images-idx3-ubyte"])
def test_idx(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(idx(TINY)) if name.endswith(".gz") else idx(TINY))
    np.testing.assert_array_equal(idx_files.read_idx(path, TINY.shape), TINY)


def bad_checksum(content):
    return content[:-8] + bytes(4) + content[-4:]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(gzip.compress(idx(TINY))[:-20], "Compressed file ended", id="truncated gz"),
        pytest.param(bad_checksum(gzip.compress(idx(TINY))), "CRC check failed", id="checksum"),
        pytest.param(
            gzip.compress(idx(TINY))[:10] + b"\xff" * 60, "Error -3 while decompress", id="deflate"
        ),
        pytest.param(b"<html>", "Not a gzipped file", id="a web page"),
        pytest.param(gzip.compress(b""), "it ends within its header", id="empty"),
        pytest.param(gzip.compress(idx(TINY)[:9]), "it ends within its header", id="short header"),
        pytest.param(
            gzip.compress(idx(TINY, b"\0\0\x0d\x03")),
            "its magic number is 00000d03, not 00000803",
            id="floats",
        ),
        pytest.param(
            gzip.compress(idx(TINY[0]) + bytes(60)),
            "its magic number is 00000802, not 00000803",
            id="two dimensions",
        ),
        pytest.param(gzip.compress(idx(TINY[:4])), "its shape is 4×4×3, not 5×4×3", id="shape"),
        pytest.param(
            gzip.compress(idx(TINY)[:-1]),
            "its header promises 60 bytes and there are 59",
            id="short",
        ),
        pytest.param(
            gzip.compress(idx(TINY) + b"\0"),
            "its header promises 60 bytes and there are more",
            id="long",
        ),
    ],
)
def test_damaged_idx(tmp_path, content, what):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        idx_files.read_idx(path, TINY.shape)
    text = one_line(error)
    assert text.startswith(f"{path}: damaged ({what}")
    assert text.endswith("); delete it and fetch it again")


def test_a_folder_for_a_file(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.mkdir()
    with pytest.raises(DataError) as error:
        idx_files.read_idx(path, TINY.shape)
    assert one_line(error) == (
        f"{path}: cannot be read (Is a directory); must be a file you may read"
    )


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "train-images-idx3-ubyte.gz"

    def refuse(*_):  # root may read anything, so that chmod would prove nothing
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(gzip, "open", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\)"):
        idx_files.read_idx(path, TINY.shape)


@pytest.fixture(scope="module")
def black_mnist(tmp_path_factory):
    """Files of MNIST's sizes: black images, labels 9, 8, … 0."""
    folder = tmp_path_factory.mktemp("black") / "mnist"
    folder.mkdir()
    for file, size in zip(idx_files._FILES, (60_000, 60_000, 10_000, 10_000), strict=True):
        array = (
            np.zeros((size, 28, 28), np.uint8)
            if "images" in file
            else (9 - np.arange(size) % 10).astype(np.uint8)
        )
        (folder / file).write_bytes(gzip.compress(idx(array), compresslevel=1))
    return folder


def with_labels(source, target, labels):
    """A copy of the folder with these training labels."""
    target.mkdir()
    for file in idx_files._FILES:
        (target / file).symlink_to(source / file)
    path = target / "train-labels-idx1-ubyte.gz"
    path.unlink()
    path.write_bytes(gzip.compress(idx(labels)))
    return path


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full(60_000, 11, np.uint8), "damaged (it holds the label 11, above 9)"),
        (np.zeros(59_999, np.uint8), "damaged (its shape is 59999, not 60000)"),
        (
            np.resize(np.array([5, 0, 4, 1, 9, 2, 1, 3, 1, 4], np.uint8), 60_000),
            "holds mnist, not fashion_mnist; put fashion_mnist into a folder fashion_mnist/ of its",
        ),
    ],
)
def test_labels_that_do_not_belong(tmp_path, black_mnist, labels, message):
    path = with_labels(black_mnist, tmp_path / "copy", labels)
    with pytest.raises(DataError) as error:
        load(image_data("fashion_mnist", root=str(path.parent)), CPU)
    assert one_line(error).startswith(f"{path}: {message}")


def test_the_content_is_that_of_the_files_however_packed(tmp_path, black_mnist):
    def content(folder, **changes):
        return image_data("mnist", root=str(folder), **changes).content()

    here = content(black_mnist)
    assert len(here) == 16
    assert content(black_mnist, train_size=10, standardize="channel") == here
    labels = (9 - np.arange(60_000) % 10).astype(np.uint8)
    path = with_labels(black_mnist, tmp_path / "copy", labels)
    assert content(path.parent) == here
    path.with_suffix("").write_bytes(idx(labels))
    path.unlink()
    assert content(path.parent) == here
    labels[7] = 0
    path.with_suffix("").write_bytes(idx(labels))  # a place that has been read before
    assert content(path.parent) != here
    assert gaussian().content() is None


# -------------------------------------------------------------------------------------- CIFAR-10


def cifar_batch(size=2, **changes):
    images = np.arange(size * 3072, dtype=np.uint8).reshape(size, 3072)
    return {b"data": images, b"labels": [3] * size, b"batch_label": b"x"} | {
        key.encode(): value for key, value in changes.items()
    }


def read_batch(content, size=2):
    batch = cifar_files.Batch("data_batch_1", size, {b"labels": 10})
    return cifar_files.read_batch(io.BytesIO(content), batch.name, batch)


def test_cifar_batch():
    images, labels = read_batch(pickle.dumps(cifar_batch(), protocol=3))
    assert images.shape == (2, 3, 32, 32)
    assert images[1, 2, 31, 31] == (2 * 3072 - 1) % 256
    assert images[0, 1, 0, 0] == 1024 % 256
    assert labels.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ([1, 2], "it has no data of unsigned bytes"),
        ({b"labels": [3, 3]}, "it has no data of unsigned bytes"),
        (cifar_batch(data=np.zeros((2, 3072))), "it has no data of unsigned bytes"),
        (cifar_batch(data=np.zeros((2, 3071), np.uint8)), "its data are 2×3071, not 2×3072"),
        (cifar_batch(data=np.zeros(6144, np.uint8)), "its data are 6144, not 2×3072"),
        (cifar_batch(size=3), "its data are 3×3072, not 2×3072"),
        (cifar_batch(labels=[3]), "it has no list of 2 labels"),
        (cifar_batch(labels=None), "it has no list of 2 labels"),
        (cifar_batch(labels=[3, 10]), "it has labels other than 0 to 9"),
        (cifar_batch(labels=[3, -1]), "it has labels other than 0 to 9"),
        (cifar_batch(labels=[3, True]), "it has labels other than 0 to 9"),
    ],
)
def test_damaged_cifar_batch(batch, what):
    with pytest.raises(DataError) as error:
        read_batch(pickle.dumps(batch, protocol=3))
    text = one_line(error)
    assert text.startswith("data_batch_1: damaged (")
    assert f"{what}); delete it and fetch it again" in text


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path):
    touch(tmp_path, CIFAR10_FILES)
    marker = tmp_path / "executed"
    content = pickle.dumps(cifar_batch(extra=Hostile(os.mkdir, str(marker))), protocol=3)
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError) as error:
        load(image_data("cifar10", root=str(tmp_path)), CPU)
    assert f"{tmp_path / 'data_batch_1'}: damaged (" in one_line(error)
    assert "it asks for posix.mkdir" in one_line(error) or os.name != "posix"
    assert not marker.exists()
    pickle.loads(content)  # the payload is a real one
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__class\x93.",  # a dotted name, protocol 4
        b"cnumpy\nload\n(S'x'\ntR.",
        b"",
        b"not a pickle\nat all",
        pickle.dumps(cifar_batch(), protocol=3)[:1000],
    ],
)
def test_what_is_no_batch_of_arrays_is_refused(tmp_path, content):
    touch(tmp_path, CIFAR10_FILES)
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError) as error:
        load(image_data("cifar10", root=str(tmp_path)), CPU)
    text = one_line(error)
    assert text.startswith(f"{tmp_path / 'data_batch_1'}: damaged (")
    assert text.endswith("delete it and fetch it again")


@pytest.fixture(scope="module")
def flat_cifar(tmp_path_factory):
    """A folder of CIFAR-10's sizes in which every file has one colour and one label."""
    folder = tmp_path_factory.mktemp("flat") / "cifar-10-batches-py"
    folder.mkdir()
    for number, file in enumerate(CIFAR10_FILES):
        images = np.full((10_000, 3072), 10 * number, np.uint8)
        batch = {b"data": images, b"labels": [number] * 10_000}
        (folder / file).write_bytes(pickle.dumps(batch, protocol=3))
    return folder


def pack(path, folder, files):
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        archive.add(folder, "cifar-10-batches-py", recursive=False)
        for file in files:
            archive.add(folder / file, f"cifar-10-batches-py/{file}")
        archive.add(folder / CIFAR10_FILES[-1], "elsewhere/data_batch_1")
    return path


def test_the_archive_reads_as_the_folder_does(tmp_path, flat_cifar):
    # Out of order, with a namesake elsewhere in the archive.
    path = pack(tmp_path / "cifar-10-python.tar.gz", flat_cifar, reversed(CIFAR10_FILES))
    before = set(tmp_path.rglob("*"))
    from_archive = DATA_SETS["cifar10"].read(path)
    assert set(tmp_path.rglob("*")) == before
    from_folder = DATA_SETS["cifar10"].read(flat_cifar)
    for split, other in zip(from_archive, from_folder, strict=True):
        for array, same in zip(split, other, strict=True):
            assert np.array_equal(array, same)
    (images, labels), (test_images, test_labels) = from_folder
    assert images[::10_000, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    assert labels[::10_000].tolist() == [0, 1, 2, 3, 4]
    assert (test_images[0, 0, 0, 0], test_labels[0]) == (50, 5)


def test_damaged_archives(tmp_path, flat_cifar):
    path = pack(tmp_path / "cifar-10-python.tar.gz", flat_cifar, ["data_batch_1"])
    config = image_data("cifar10", root=str(tmp_path))
    with pytest.raises(DataError, match=r"damaged \(it has no cifar-10-batches-py/data_batch_2\)"):
        load(config, CPU)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>"):
        path.write_bytes(content)
        with pytest.raises(DataError) as error:
            load(config, CPU)
        assert one_line(error).startswith(f"{path}: damaged (")


# --------------------------------------------------------------------------------------- download


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves a folder over HTTP on this machine; what was asked for is in `asked`."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/", folder, asked
        http.shutdown()
        thread.join()


def offer(monkeypatch, name, **changes):
    kind = DATA_SETS[name]
    monkeypatch.setattr(kind, "source", dataclasses.replace(kind.source, **changes))


def test_download_into_the_cache(monkeypatch, capfd, cache, server, black_mnist):
    url, served, asked = server
    md5 = []
    for file in idx_files._FILES:
        (served / file).symlink_to(black_mnist / file)
        md5.append(hashlib.md5((black_mnist / file).read_bytes()).hexdigest())
    offer(monkeypatch, "mnist", url=url, md5=tuple(md5))
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take stderr for a terminal
    config = image_data("mnist", train_size=50, test_size=50)
    first = load(config, CPU)
    assert locate("mnist") == cache / "mnist"
    assert sorted(file.name for file in (cache / "mnist").iterdir()) == sorted(idx_files._FILES)
    assert len(asked) == 4
    output = capfd.readouterr()
    assert output.out == ""
    assert "mnist t10k-labels-idx1-ubyte.gz" in output.err
    second = load(config, CPU)
    assert len(asked) == 4
    assert torch.equal(first.train_labels, second.train_labels)


def test_a_download_with_a_wrong_checksum_is_not_kept(monkeypatch, capfd, cache, server):
    url, served, _ = server
    (served / "cifar-10-python.tar.gz").write_bytes(b"<html>not quite it</html>")
    offer(monkeypatch, "cifar10", url=url)
    with pytest.raises(DataError) as error:
        load(image_data("cifar10"), CPU)
    assert one_line(error) == (
        "data=cifar10: not found and the download failed "
        "(the file's checksum is not the published one); "
        f"put cifar-10-batches-py/ or cifar-10-python.tar.gz into {cache}, "
        "or set data.root or NORMLAB_DATA"
    )
    assert list(cache.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_download_that_is_not_there(monkeypatch, cache, server):
    url, _, asked = server
    offer(monkeypatch, "mnist", url=url)
    with pytest.raises(DataError) as error:
        load(image_data("mnist"), CPU)
    error.value.__cause__.response.close()  # which pooch leaves open
    text = one_line(error)
    assert "the download failed (127.0.0.1 answered 404); put train-images" in text
    assert f"into {cache / 'mnist'}, or set data.root or NORMLAB_DATA" in text
    assert any("train-images-idx3-ubyte.gz" in path for path in asked)


def test_a_refused_connection(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    offer(monkeypatch, "cifar10", url="http://127.0.0.1:1/")  # a port on which nobody listens
    with pytest.raises(DataError, match=r"the download failed \(no connection to 127.0.0.1\); put"):
        load(image_data("cifar10"), CPU)


def test_a_silent_server_and_a_full_disk(monkeypatch):
    import pooch
    import requests

    silent = requests.ReadTimeout(request=requests.Request("GET", "http://there/x"))
    full = OSError(28, "No space left on device", "/cache/x")
    for raised, reason in (
        (silent, "there did not answer in time"),
        (full, "/cache/x: No space left on device"),
    ):

        def fail(*_, raised=raised, **__):
            raise raised

        monkeypatch.setattr(pooch, "retrieve", fail)
        with pytest.raises(DataError) as error:
            load(image_data("cifar10"), CPU)
        assert f"the download failed ({reason}); put" in one_line(error)
