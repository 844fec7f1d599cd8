"""Arrays of a person's own in a .npz file, as NumPy, Keras and MedMNIST write them."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from normlab.bounded_files import open_regular
from normlab.config import DATA_SETS
from normlab.data.damage import by_times, reading
from normlab.data.images import Split, Stored
from normlab.data.own import OwnSet, Told, check_memory, numbered
from normlab.errors import DataError
from normlab.text import first_line

# What the arrays may be called. Of the names of one array a file has one.
_NAMES = {
    "train_images": ("train_images", "x_train", "images", "x", "X"),
    "train_labels": ("train_labels", "y_train", "labels", "y", "Y"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
}
_VALIDATION = {
    "test_images": ("val_images", "x_val"),
    "test_labels": ("val_labels", "y_val"),
}
_CHANNELS = (1, 3)
_LARGEST_FILE = 1 << 40
# The axes of an image with channels first, for each layout.
_AXES = {"NHW": (0, 1, 2), "NHWC": (0, 3, 1, 2), "NCHW": (0, 1, 2, 3)}
Layout = Literal["NHW", "NHWC", "NCHW"]


@DATA_SETS.register("npz")
class Npz(OwnSet):
    """Arrays in one file: unsigned bytes from 0 to 255, or floats, which are taken as they are."""

    file: str | None
    layout: Layout | None

    place_key = "file"
    place_wanted = "FILE.npz"

    @classmethod
    def meant_by(cls, value: str) -> tuple[str, ...]:
        return ("data=npz", f"data.file={value}") if value.lower().endswith(".npz") else ()

    def files(self) -> list[Path]:
        return [self.place]

    def told(self) -> Told:
        path = self.place
        with _unpacking(path) as archive:
            found = _by_role(path, archive)
        name, header = found["train_images"]
        layout = self.layout or _layout(header.shape, f"{path}: {name}")
        shape = _image_shape(header.shape, layout, f"{path}: {name}")
        return Told({"layout": layout, "shape": shape}, "test_images" in found)

    def read(self) -> Stored:
        path = self.place
        with _unpacking(path) as archive:
            found = _by_role(path, archive)
            total = sum(header.bytes for _, header in found.values())
            check_memory(total, str(path), "make the arrays smaller, or uint8 instead of float")
            arrays = {
                role: _read(archive, header.member, f"{path}: {name}")
                for role, (name, header) in found.items()
            }
        wheres = {role: f"{path}: {name}" for role, (name, _) in found.items()}
        layout = self.layout or _layout(arrays["train_images"].shape, wheres["train_images"])
        labels = {
            part: _labels(arrays[f"{part}_labels"], wheres[f"{part}_labels"])
            for part in ("train", "test")
            if f"{part}_labels" in arrays
        }
        images = {
            part: _images(arrays[f"{part}_images"], layout, wheres[f"{part}_images"])
            for part in labels
        }
        for part in labels:
            if len(images[part]) != len(labels[part]):
                raise DataError(
                    f"{path}: {found[f'{part}_images'][0]} has {len(images[part])} samples and "
                    f"{found[f'{part}_labels'][0]} {len(labels[part])}; must have as many"
                )
        train, test = images["train"], images.get("test")
        if test is not None and (train.shape[1:], train.dtype) != (test.shape[1:], test.dtype):
            raise DataError(
                f"{path}: training images are {by_times(train.shape[1:])} of {train.dtype}, test "
                f"images {by_times(test.shape[1:])} of {test.dtype}; must be alike"
            )
        numbers, test_numbers, classes = numbered(labels["train"], labels.get("test"), str(path))
        return Stored(
            Split(train, numbers),
            None if test is None or test_numbers is None else Split(test, test_numbers),
            classes,
            white=255 if train.dtype == np.uint8 else 1,
        )


class _Header:
    """What an array's header and the directory of its file say of it."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str):
        self.member = member
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in readers:
                raise ValueError(f"{member.filename} has the version {version[0]}.{version[1]}")
            self.shape, _, self.dtype = readers[version](stream)
            begin = stream.tell()
        if self.dtype.hasobject:
            raise DataError(
                f"{where} holds Python objects, which are never read; must be numbers, or text as "
                "array.astype(str)"
            )
        self.bytes = math.prod(self.shape) * self.dtype.itemsize
        if begin + self.bytes != member.file_size:
            raise ValueError(f"{member.filename} is not as long as its header says")


@contextmanager
def _unpacking(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file as an archive; what is wrong with it in one line."""
    wanted = "numpy.savez_compressed(FILE, train_images=…, train_labels=…, …) makes one"
    try:
        with (
            reading(path),
            open_regular(path, _LARGEST_FILE) as file,
            zipfile.ZipFile(file) as archive,
        ):
            yield archive
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: no .npz file ({first_line(error)[:80]}); {wanted}") from error


def _by_role(path: Path, archive: zipfile.ZipFile) -> dict[str, tuple[str, _Header]]:
    """What an array is called and its header, by what it is for; raises DataError for one missing.

    A validation part stands in for a test part that is not there.
    """
    known = {name for names in (*_NAMES.values(), *_VALIDATION.values()) for name in names}
    every = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    headers = {
        name: _Header(archive, member, f"{path}: {name}")
        for name, member in every.items()
        if name in known
    }
    tested = any(name in headers for role in _VALIDATION for name in _NAMES[role])
    names = _NAMES if tested else {**_NAMES, **_VALIDATION}
    found: dict[str, tuple[str, _Header]] = {}
    for role, choices in names.items():
        there = [name for name in choices if name in headers]
        if len(there) > 1:
            raise DataError(f"{path}: has {' and '.join(there)}, which are for the same; keep one")
        if there:
            found[role] = there[0], headers[there[0]]
    needed = ["train_images", "train_labels"]
    if any(role in found for role in _VALIDATION):
        needed += _VALIDATION
    for role in needed:
        if role not in found:
            wanted = " or ".join(names[role][:2])
            others = ", ".join(list(every)[:8]) or "none"
            raise DataError(f"{path}: has no {wanted}; the arrays of the file: {others}")
    return found


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> NDArray[Any]:
    try:
        with archive.open(member) as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except EOFError as error:
        raise ValueError(f"{member.filename} ends too early") from error
    except MemoryError as error:
        raise DataError(f"{where}: too large for this machine's memory") from error
    return array


def _layout(shape: tuple[int, ...], where: str) -> Layout:
    """Where the channels of images are, by their shape; raises DataError where that is not sure."""
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise DataError(
            f"{where} has the shape {by_times(shape)}; must be N×height×width, with channels "
            "behind (NHWC) or before (NCHW)"
        )
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if first == last:
        why = "both ends may be" if first else "neither end is as"
        raise DataError(
            f"{where} has the shape {by_times(shape)}, of which {why} 1 or 3 channels; "
            "add data.layout=NHWC or data.layout=NCHW"
        )
    return "NCHW" if first else "NHWC"


def _image_shape(shape: tuple[int, ...], layout: Layout, where: str) -> tuple[int, int, int]:
    """Channels, height and width of images; raises DataError where they have not that layout."""
    axes = _AXES[layout]
    if len(shape) != len(axes):
        raise DataError(f"data.layout={layout}: {where} has the shape {by_times(shape)}")
    if 0 in shape:
        raise DataError(f"{where} is empty, of the shape {by_times(shape)}")
    sizes = [shape[axis] for axis in axes[1:]]
    channels, height, width = sizes if len(sizes) == 3 else (1, *sizes)
    return channels, height, width


def _images(array: NDArray[Any], layout: Layout, where: str) -> NDArray[Any]:
    """Images [N, C, H, W] of unsigned bytes or float32."""
    shape = _image_shape(array.shape, layout, where)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(
            f"{where} has numbers of {array.dtype}; must be uint8, from 0 to 255, or float"
        )
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
        if not np.isfinite([array.min(), array.max()]).all():
            raise DataError(f"{where} has values that are not finite (NaN or infinite)")
    ordered = array.transpose(_AXES[layout]).reshape(len(array), *shape)
    return np.ascontiguousarray(ordered)


def _labels(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Labels [N]."""
    if array.ndim == 2 and array.shape[1] == 1:  # as MedMNIST and Keras' CIFAR have it
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{where} has the shape {by_times(array.shape)}; must be one label a sample, as "
            "array.argmax(1) makes of one-hot labels"
        )
    if array.dtype.kind not in "biuUS":
        raise DataError(f"{where} has labels of {array.dtype}; must be whole numbers or text")
    return array
