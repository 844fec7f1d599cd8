"""Data of one's own, as the tests make them: small images of any number of classes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from normlab.config import DATA_SETS
from tests.data.test_data import image_data

_NULL = {
    "npz": ("layout",),
    "folder": ("size", "colour"),
    "parquet": ("size", "colour", "image_column", "label_column"),
}


def own(kind, place, **changes):
    """A data set of one's own with nothing told yet."""
    values = image_data(standardize="none").model_dump()
    del values["root"]
    part = DATA_SETS[kind]
    null = dict.fromkeys((*_NULL[kind], "sha256", "shape"))
    return part(**{**values, **null, "name": kind, part.place_key: str(place), **changes})


def arrays(train=12, test=6, shape=(4, 4), classes=3, seed=0):
    """Images [N, *shape] of unsigned bytes and labels from 0 on, under the names of a .npz."""
    numbers = np.random.RandomState(seed)
    return {
        "train_images": numbers.randint(256, size=(train, *shape)).astype(np.uint8),
        "train_labels": np.arange(train) % classes,
        "test_images": numbers.randint(256, size=(test, *shape)).astype(np.uint8),
        "test_labels": np.arange(test) % classes,
    }


def npz(path, **changes):
    """A .npz file of `arrays`; arrays that are None are left out."""
    content = {**arrays(), **changes}
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    return path


def png(pixels, kind="PNG", **options):
    """Encoded pixels [H, W] or [H, W, C]."""
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, kind, **options)
    return stream.getvalue()


def put(root: Path, images):
    """Files by their path below a folder."""
    for name, content in images.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root
