"""MNIST and Fashion-MNIST, whose files have the idx format."""

import gzip
import math
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from normlab.config import DATA_SETS
from normlab.data.damage import by_times, damaged, reading
from normlab.data.finding import Source, present
from normlab.data.images import Bytes, Split
from normlab.data.known import KnownSet
from normlab.errors import DataError

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


class IdxSet(KnownSet):
    """Four idx files: images and labels of 60 000 training and 10 000 test samples, 28×28."""

    shape = (1, 28, 28)
    # Both sets have files of the same names; their training labels tell them apart.
    first_labels: ClassVar[bytes | None] = None

    @classmethod
    def read(cls, path: Path) -> tuple[Split, Split]:
        parts = []
        for files, size in ((_FILES[:2], 60_000), (_FILES[2:], 10_000)):
            images_path, labels_path = (present(path, file) or path / file for file in files)
            images = read_idx(images_path, (size, *cls.shape[1:]))
            labels = read_idx(labels_path, (size,))
            if labels.max() >= cls.classes:
                raise damaged(
                    labels_path, f"it holds the label {labels.max()}, above {cls.classes - 1}"
                )
            for other in IdxSet.__subclasses__():
                known = other.first_labels
                if other is not cls and known and labels.tobytes().startswith(known):
                    name = cls.source.name
                    raise DataError(
                        f"{labels_path}: holds {other.source.name}, not {name}; "
                        f"put {name} into a folder {name}/ of its own"
                    )
            parts.append(Split(images[:, None], labels))
        return parts[0], parts[1]


@DATA_SETS.register("mnist")
class MNIST(IdxSet):
    """Handwritten digits (LeCun et al. 1998)."""

    first_labels = bytes([5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    train_samples = 60_000
    source = Source(
        "mnist",
        ("mnist", "."),
        _FILES,
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        md5=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    )


@DATA_SETS.register("fashion_mnist")
class FashionMNIST(IdxSet):
    """Articles of clothing (Xiao et al. 2017)."""

    first_labels = bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
    train_samples = 60_000
    source = Source(
        "fashion_mnist",
        ("fashion_mnist", "fashion-mnist", "."),
        _FILES,
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        md5=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        system_folders=("/usr/share/datasets/fashion-mnist",),
    )


def read_idx(path: Path, shape: tuple[int, ...]) -> Bytes:
    """An idx file of unsigned bytes (LeCun et al. 1998), compressed or not, of just this shape."""
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, and each of them.
    expected = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    size = math.prod(shape)
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with reading(path), opener(path, "rb") as stream:
        header = stream.read(len(expected))
        if len(header) < len(expected):
            raise damaged(path, "it ends within its header")
        if header[:4] != expected[:4]:
            raise damaged(path, f"its magic number is {header[:4].hex()}, not {expected[:4].hex()}")
        if header != expected:
            found = struct.unpack(f">{len(shape)}I", header[4:])
            raise damaged(path, f"its shape is {by_times(found)}, not {by_times(shape)}")
        content = stream.read(size + 1)
    if len(content) != size:
        extent = "more" if len(content) > size else len(content)
        raise damaged(path, f"its header promises {size} bytes and there are {extent}")
    return np.frombuffer(content, np.uint8).reshape(shape)
