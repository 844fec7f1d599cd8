"""CIFAR-100: a synthetic archive of the real one's layout, fine and coarse labels."""

import pickle
import tarfile

import numpy as np
import pytest

from normlab.config import DATA_SETS
from normlab.errors import DataError
from tests.data.test_data import CPU, image_data, load, locate, one_line

FOLDER = "cifar-100-python"


def pickled(size, changes={}):  # noqa: B006
    images = np.repeat(np.arange(size) % 251, 3072).reshape(size, 3072).astype(np.uint8)
    content = {
        b"filenames": [b"a.png"] * size,
        b"batch_label": b"training batch 1 of 1",
        b"fine_labels": [i % 100 for i in range(size)],
        b"coarse_labels": [i % 100 // 5 for i in range(size)],
        b"data": images,
    }
    return pickle.dumps(content | changes, protocol=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cifar") / FOLDER
    place.mkdir()
    (place / "train").write_bytes(pickled(50_000))
    (place / "test").write_bytes(pickled(10_000))
    (place / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"apple"]}, protocol=3))
    return place


def cifar100(folder, labels="fine", **changes):
    return image_data("cifar100", root=str(folder), labels=labels, **changes)


def test_fine_and_coarse_labels(folder):
    fine, coarse = (load(cifar100(folder, labels), CPU) for labels in ("fine", "coarse"))
    assert (fine.classes, coarse.classes) == (100, 20)
    assert fine.shape == (3, 32, 32)
    assert (len(fine.train_labels), len(fine.test_labels)) == (50_000, 10_000)
    assert fine.train_labels.bincount().tolist() == [500] * 100
    assert (coarse.train_labels == fine.train_labels // 5).all()
    assert (coarse.test_labels == fine.test_labels // 5).all()
    assert fine.train_images[252].unique().tolist() == pytest.approx([1 / 255])


def test_the_archive_is_that_of_the_folder(tmp_path, folder):
    archive = tmp_path / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in ("meta", "test", "train"):
            tar.add(folder / name, f"{FOLDER}/{name}")
    assert locate("cifar100", str(tmp_path)) == archive
    assert locate("cifar100", str(folder.parent)) == folder
    assert cifar100(tmp_path).content() == cifar100(folder, "coarse").content()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({b"fine_labels": [100] * 50_000}, "it has fine_labels other than 0 to 99"),
        ({b"coarse_labels": [20] * 50_000}, "it has coarse_labels other than 0 to 19"),
        ({b"coarse_labels": [0]}, "it has no list of 50000 coarse_labels"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "its data are 2×3072, not 50000×3072"),
    ],
)
def test_damaged_files(tmp_path, folder, changes, what):
    (tmp_path / "test").symlink_to(folder / "test")
    (tmp_path / "train").write_bytes(pickled(50_000, changes))
    with pytest.raises(DataError) as error:
        load(cifar100(tmp_path), CPU)
    path = tmp_path / "train"
    assert one_line(error) == f"{path}: damaged ({what}); delete it and fetch it again"


def test_where_it_comes_from():
    source = DATA_SETS["cifar100"].source
    assert source.url + source.archive == "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    assert source.md5 == ("eb9058c3a382ffc7106e4002c42a8d85",)
