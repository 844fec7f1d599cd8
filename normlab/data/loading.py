"""A data set as tensors on the device; batches; augmentation on the device."""

import functools
import gzip
import importlib.util
import math
import os
import pickle
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from normlab.config import GaussianData, ImageData, Standardize
from normlab.errors import ConfigError, DataError

# Images [N, C, H, W] and labels [N] as they are stored: whole numbers, so that sums are exact.
_Bytes = NDArray[np.uint8]
_Split = tuple[_Bytes, _Bytes]

_CLASSES = 10  # of every image data set here


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images, float32 [N, C, H, W], with labels, int64 [N], on one device."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width


def load(config: ImageData | GaussianData, device: torch.device) -> Dataset:
    """The data set of a config: found or downloaded, cut to size, standardized, on the device.

    `standardize`, with pixels x in [0, 1] and constants of the training subset for both parts:
    `none` x; `binary` 1 where x > ½, else 0; `channel` (x − μ_c)/σ_c; `pixel_mean` x − μ_chw (He
    et al. 2015, 4.2). Raises ConfigError where a size or the crop padding cannot be, DataError
    where files are missing or damaged and cannot be downloaded.
    """
    if isinstance(config, GaussianData):
        return _gaussian(config, device)
    train, test, white = _read(config.name, config.root)
    images, labels = _subset(train, "train", config.train_size, config)
    test_images, test_labels = _subset(test, "test", config.test_size, config)
    if config.crop_padding >= images.shape[-1]:
        raise ConfigError(
            f"data.crop_padding={config.crop_padding}: {config.name} has images of "
            f"{images.shape[-1]}×{images.shape[-1]} pixels; must be below {images.shape[-1]}"
        )
    if config.standardize == "binary":
        images, test_images = (
            (part > white / 2).astype(np.uint8) for part in (images, test_images)
        )
        white = 1
    offset, divisor = _standardization(images, config.standardize, white)

    def standardized(images: _Bytes) -> Tensor:
        # On the CPU, whatever the device: devices round a division differently.
        values: NDArray[np.float32] = np.subtract(images, offset, dtype=np.float32)
        values /= divisor
        return torch.from_numpy(values).to(device)

    return Dataset(
        standardized(images),
        _label_tensor(labels, device),
        standardized(test_images),
        _label_tensor(test_labels, device),
        _CLASSES,
    )


def batches(
    dataset: Dataset,
    config: ImageData | GaussianData,
    batch_size: int,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: training images [B, C, H, W] and labels [B] in random order, augmented.

    Every batch has exactly B = `batch_size` samples; a last smaller one is left out. With
    `crop_padding` p an image is padded by p zeros on each side and cut back to its size at one of
    the (2p+1)² places; with `flip` it is mirrored left to right with probability ½ (He et al.
    2015, 4.2). Padding comes after standardization, so its zeros are the training mean, as theirs
    are (black with `standardize` none). All of an epoch's randomness is drawn before its first
    batch. Raises ConfigError where the training set is smaller than one batch.
    """
    images, labels = dataset.train_images, dataset.train_labels
    samples, device = len(labels), images.device
    if batch_size > samples:
        raise ConfigError(
            f"training.batch_size={batch_size}: there are {samples} training samples; "
            "use a smaller batch or more of data.train_size"
        )
    padding, flip = (config.crop_padding, config.flip) if config.name != "gaussian" else (0, False)

    def draw(choices: int, *shape: int) -> Tensor:
        numbers = torch.randint(choices, shape, generator=generator, device=generator.device)
        return numbers.to(device)

    order = torch.randperm(samples, generator=generator, device=generator.device).to(device)
    corners = draw(2 * padding + 1, 2, samples) if padding else None
    mirrored = draw(2, samples).bool() if flip else None
    for start in range(0, samples - batch_size + 1, batch_size):
        batch = slice(start, start + batch_size)
        chosen = images[order[batch]]
        if corners is not None:
            chosen = _crop(chosen, padding, *corners[:, batch])
        if mirrored is not None:
            chosen = torch.where(mirrored[batch, None, None, None], chosen.flip(3), chosen)
        yield chosen, labels[order[batch]]


def class_balanced(labels: NDArray[Any], size: int, seed: int) -> NDArray[np.intp]:
    """The ascending indices of `size` random samples whose class counts differ by at most one.

    A class with too few samples gives all it has and the others fill up. Of two subsets drawn with
    one seed the smaller lies within the larger.
    """
    order = _random(np.random.SeedSequence(seed)).permutation(len(labels))
    shuffled = labels[order]
    by_class = np.argsort(shuffled, kind="stable")
    grouped = shuffled[by_class]
    # A sample's turn: how many of its class come before it. One of each class, then another.
    turn = np.empty(len(labels), np.intp)
    turn[by_class] = np.arange(len(labels)) - np.searchsorted(grouped, grouped)
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])


def search_places(name: str, root: str | None = None) -> list[Path]:
    """The folders where a data set is looked for, in order; `root`, where given, is the only one.

    Raises DataError where a place names a home folder that is not there.
    """
    if name == "gaussian":
        return []
    if name == "digits":
        package = importlib.util.find_spec("sklearn")  # finds scikit-learn without importing it
        origin = package.origin if package else None
        return [Path(origin).parent / "datasets/data"] if origin else []
    if root is not None:
        return [_expanded("data.root", root)]
    given = os.environ.get("NORMLAB_DATA")
    places = [_expanded("NORMLAB_DATA", given)] if given else []
    places.append(_cache())
    if name == "fashion_mnist":
        places.append(Path("/usr/share/datasets/fashion-mnist"))  # Debian's package
    return places


def locate(name: str, root: str | None = None) -> Path | None:
    """The folder or archive that holds a data set, or None where it is not on this machine.

    Reads no file and downloads nothing; `gaussian` lies nowhere. Raises DataError where a place
    cannot be looked into.
    """
    source = _SOURCES[name]
    for place in search_places(name, root):
        for folder in (place / subfolder for subfolder in source.subfolders):
            if not _missing(source, folder):
                return folder
        if source.archive and _exists(place / source.archive):
            return place / source.archive
    return None


# ------------------------------------------------------------------ standardizing and sampling


def _standardization(
    images: _Bytes, standardize: Standardize, white: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What to subtract from stored pixels and then to divide by, as broadcasting arrays."""
    offset: Any = 0
    divisor: Any = white
    if standardize == "pixel_mean":
        offset = images.mean(axis=0, dtype=np.float64)
    elif standardize == "channel":
        # Sums of whole numbers are exact in float64; no float copy of the images is made.
        offset = images.mean(axis=(0, 2, 3), dtype=np.float64)
        squares = np.einsum("nchw,nchw->c", images, images, dtype=np.float64)
        variance = squares / (images.size / images.shape[1]) - offset**2
        # A channel of one colour becomes zero.
        divisor = np.sqrt(variance, out=np.full_like(variance, white), where=variance > 0)
        offset, divisor = offset[:, None, None], divisor[:, None, None]
    return np.asarray(offset, np.float32), np.asarray(divisor, np.float32)


def _subset(split: _Split, part: str, size: int | None, config: ImageData) -> _Split:
    images, labels = split
    if size is None:
        return split
    if size > len(labels):
        name = "training" if part == "train" else part
        raise ConfigError(
            f"data.{part}_size={size}: {config.name} has {len(labels)} {name} samples"
        )
    if config.subset == "first":
        return images[:size], labels[:size]
    chosen = class_balanced(labels, size, config.seed)
    return images[chosen], labels[chosen]


def _label_tensor(labels: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64)).to(device)


def _crop(images: Tensor, padding: int, tops: Tensor, lefts: Tensor) -> Tensor:
    height, width = images.shape[2:]
    # A view of every crop of every padded image; indexing copies the one that is wanted.
    crops = F.pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(len(images), device=images.device), :, tops, lefts]


def _random(seed: np.random.SeedSequence) -> np.random.RandomState:
    # NumPy keeps RandomState's numbers the same for ever; those of its Generator may change.
    return np.random.RandomState(np.random.MT19937(seed))


def _gaussian(config: GaussianData, device: torch.device) -> Dataset:
    # A stream each, so that a larger set begins with the smaller one, and test never meets train.
    streams = map(_random, np.random.SeedSequence(config.seed).spawn(4))

    def draw(size: int) -> tuple[Tensor, Tensor]:
        shape = (size, config.channels, config.size, config.size)
        images = next(streams).standard_normal(shape).astype(np.float32)
        labels = next(streams).randint(config.classes, size=size)
        return torch.from_numpy(images).to(device), _label_tensor(labels, device)

    return Dataset(*draw(config.train_size), *draw(config.test_size), config.classes)


# -------------------------------------------------------------------------------- finding files


@dataclass(frozen=True)
class _Source:
    """Where a data set's files lie within a place, and where they come from."""

    subfolders: tuple[str, ...]
    files: tuple[str, ...]
    archive: str | None = None
    url: str = ""
    md5: tuple[str, ...] = ()  # of the archive, or else of each file


_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_CIFAR_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
_SOURCES = {
    "digits": _Source((), (), archive="digits.csv.gz"),
    "mnist": _Source(
        ("mnist", "."),
        _IDX_FILES,
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        md5=(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion_mnist": _Source(
        ("fashion_mnist", "fashion-mnist", "."),
        _IDX_FILES,
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        md5=(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "cifar10": _Source(
        ("cifar-10-batches-py", "."),
        _CIFAR_BATCHES,
        archive="cifar-10-python.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/",
        md5=("c58f30108f718f92721af3b95e74349a",),
    ),
    "gaussian": _Source((), ()),
}
# MNIST and Fashion-MNIST have files of the same names; their training labels tell them apart.
_FIRST_LABELS = {
    "mnist": bytes([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]),
    "fashion_mnist": bytes([9, 0, 0, 3, 0, 2, 7, 2, 5, 5]),
}


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("normlab", appauthor=False) / "data"


def _expanded(key: str, folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise DataError(f"{key}={folder}: there is no such home folder") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot be looked for ({error.strerror})") from error


def _present(folder: Path, file: str) -> Path | None:
    """The file, or its uncompressed counterpart."""
    candidates = (folder / file, folder / file.removesuffix(".gz"))
    return next(filter(_exists, candidates), None)


def _missing(source: _Source, folder: Path) -> list[str]:
    return [file for file in source.files if _present(folder, file) is None]


def _wanted(name: str, place: Path) -> str:
    """What to put where, so that the data set is found in this place."""
    source = _SOURCES[name]
    folders = [place / subfolder for subfolder in source.subfolders]
    missing, folder = min(
        ((_missing(source, folder), folder) for folder in folders), key=lambda pair: len(pair[0])
    )
    if source.archive and len(missing) == len(source.files):
        return f"put {source.subfolders[0]}/ or {source.archive} into {place}"
    return f"put {', '.join(missing)} into {folder}"


def _find(name: str, root: str | None) -> Path:
    """Where the data set lies, downloaded if need be."""
    found = locate(name, root)
    if found is not None:
        return found
    if name == "digits":
        raise DataError("data.name=digits: scikit-learn's file is missing; reinstall scikit-learn")
    if root is None:
        given = os.environ.get("NORMLAB_DATA")
        if given and not _exists(_expanded("NORMLAB_DATA", given)):
            raise DataError(f"NORMLAB_DATA={given}: there is no such folder; make it or unset it")
        return _download(name)
    place = _expanded("data.root", root)
    if not _exists(place):
        raise DataError(f"data.root={root}: there is no such folder; {_wanted(name, place)}")
    raise DataError(f"data.root={root}: {name} is not there; {_wanted(name, place)}")


def _download(name: str) -> Path:
    """Fetch the files into the user's cache; a file whose checksum differs is not kept."""
    import pooch
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    pooch.get_logger().setLevel("ERROR")
    source, place = _SOURCES[name], _cache()
    folder = place if source.archive else place / source.subfolders[0]
    files = (source.archive,) if source.archive else source.files
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for file, md5 in zip(files, source.md5, strict=True):
                pooch.retrieve(
                    f"{source.url}{file}",
                    known_hash=f"md5:{md5}",
                    fname=file,
                    path=folder,
                    downloader=pooch.HTTPDownloader(
                        progressbar=_Bar(progress, f"{name} {file}"),
                        chunk_size=2**16,
                        timeout=(5, 20),  # seconds to connect, and between two bytes
                    ),
                )
    except (OSError, ValueError) as error:
        raise DataError(
            f"data={name}: not found and the download failed ({_reason(error)}); "
            f"{_wanted(name, place)}, or set data.root or NORMLAB_DATA"
        ) from error
    return folder / source.archive if source.archive else folder


class _Bar:
    """A rich progress bar with the interface that pooch expects."""

    def __init__(self, progress: Any, description: str):
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    @property
    def total(self) -> float | None:
        """The size of the file in bytes, or None until the server says it."""
        total: float | None = self._progress.tasks[self._task].total
        return total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.stop_task(self._task)


def _reason(error: OSError | ValueError) -> str:
    """Why a download failed, in a few words."""
    import requests

    request = getattr(error, "request", None)
    host = urlsplit(request.url).hostname if request is not None else "the server"
    match error:
        case requests.HTTPError(response=answer) if answer is not None:
            return f"{host} answered {answer.status_code}"
        case requests.Timeout():
            return f"{host} did not answer in time"
        case requests.RequestException():
            return f"no connection to {host}"
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
        case _:
            return "the file's checksum is not the published one"


# -------------------------------------------------------------------------------- reading files


def _read(name: str, root: str | None) -> tuple[_Split, _Split, int]:
    """Training and test part as stored, and the number that stands for white."""
    path = _find(name, root)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return _read_files(name, path, tuple(_stamp(file) for file in files))


def _stamp(file: Path) -> tuple[str, int, int]:
    with _reading(file):
        status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=1)  # a sweep's worker makes many runs on one data set
def _read_files(
    name: str,
    path: Path,
    stamps: tuple[tuple[str, int, int], ...],  # noqa: ARG001  changed files are read again
) -> tuple[_Split, _Split, int]:
    if name == "digits":
        return *_read_digits(path), 16
    if name == "cifar10":
        return *_read_cifar(path), 255
    return *_read_idx_folder(path, name), 255


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a bad file raises into one line with its cure."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise _damaged(path, str(error) or "it ends too early") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); must be a file you may read"
        ) from error


def _damaged(where: Path | str, what: str) -> DataError:
    return DataError(f"{where}: damaged ({what}); delete it and fetch it again")


def _read_digits(path: Path) -> tuple[_Split, _Split]:
    """The optical digits (Alpaydin & Kaynak 1998), split 1437 to 360 with equal test classes."""
    # scikit-learn's own reader gives the same numbers, after seconds of importing SciPy.
    with _reading(path):
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]
    in_test = np.zeros(len(labels), dtype=bool)
    in_test[class_balanced(labels, 360, seed=0)] = True
    return (images[~in_test], labels[~in_test]), (images[in_test], labels[in_test])


def _read_idx_folder(folder: Path, name: str) -> tuple[_Split, _Split]:
    parts = []
    for files, size in ((_IDX_FILES[:2], 60_000), (_IDX_FILES[2:], 10_000)):
        images_path, labels_path = (_present(folder, file) or folder / file for file in files)
        images = _read_idx(images_path, (size, 28, 28))
        labels = _read_idx(labels_path, (size,))
        if labels.max() >= _CLASSES:
            raise _damaged(labels_path, f"it holds the label {labels.max()}, above 9")
        for other, first in _FIRST_LABELS.items():
            if other != name and labels.tobytes().startswith(first):
                raise DataError(
                    f"{labels_path}: holds {other}, not {name}; "
                    f"put {name} into a folder {name}/ of its own"
                )
        parts.append((images[:, None], labels))
    return parts[0], parts[1]


def _read_idx(path: Path, shape: tuple[int, ...]) -> _Bytes:
    """An idx file of unsigned bytes (LeCun et al. 1998), compressed or not, of just this shape."""
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, and each of them.
    expected = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    size = math.prod(shape)
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with _reading(path), opener(path, "rb") as stream:
        header = stream.read(len(expected))
        if len(header) < len(expected):
            raise _damaged(path, "it ends within its header")
        if header[:4] != expected[:4]:
            raise _damaged(
                path, f"its magic number is {header[:4].hex()}, not {expected[:4].hex()}"
            )
        if header != expected:
            found = struct.unpack(f">{len(shape)}I", header[4:])
            raise _damaged(path, f"its shape is {_times(found)}, not {_times(shape)}")
        content = stream.read(size + 1)
    if len(content) != size:
        extent = "more" if len(content) > size else len(content)
        raise _damaged(path, f"its header promises {size} bytes and there are {extent}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _read_cifar(path: Path) -> tuple[_Split, _Split]:
    """CIFAR-10 from the folder of its Python version or straight from the archive."""
    parts: dict[str, _Split] = {}
    if path.is_dir():
        for name in _CIFAR_BATCHES:
            with _reading(path / name), (path / name).open("rb") as stream:
                parts[name] = _read_cifar_batch(stream, path / name)
    else:
        # Read as a stream, front to back, and nothing is written to disk.
        with _reading(path), tarfile.open(path, "r|gz") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                content = archive.extractfile(member) if member.isfile() else None
                if folder == "cifar-10-batches-py" and name in _CIFAR_BATCHES and content:
                    parts[name] = _read_cifar_batch(content, f"{path}: {name}")
        for name in _CIFAR_BATCHES:
            if name not in parts:
                raise _damaged(path, f"it has no cifar-10-batches-py/{name}")
    *train, test = (parts[name] for name in _CIFAR_BATCHES)
    images, labels = zip(*train, strict=True)
    return (np.concatenate(images), np.concatenate(labels)), test


def _read_cifar_batch(stream: IO[bytes], where: Path | str, size: int = 10_000) -> _Split:
    """One pickled batch of `size` colour images of 32×32 pixels (Krizhevsky 2009)."""
    try:
        batch = _ArrayUnpickler(stream, encoding="bytes").load()
    except (EOFError, OSError, zlib.error, tarfile.TarError):
        raise
    except Exception as error:  # a pickle that is none can raise anything
        foreseen = isinstance(error, pickle.UnpicklingError)
        what = " ".join(str(error).split())[:80] if foreseen else "it is no whole pickle"
        raise _damaged(where, f"not a CIFAR-10 batch: {what}") from error
    images, labels = (
        (batch.get(key) for key in (b"data", b"labels")) if isinstance(batch, dict) else (None,) * 2
    )
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise _damaged(where, "not a CIFAR-10 batch: it has no data of unsigned bytes")
    if images.shape != (size, 3 * 32 * 32):
        raise _damaged(where, f"its data are {_times(images.shape)}, not {size}×3072")
    if not isinstance(labels, list) or len(labels) != size:
        raise _damaged(where, f"it has no list of {size} labels")
    if not all(type(label) is int and 0 <= label < _CLASSES for label in labels):
        raise _damaged(where, "it has labels other than 0 to 9")
    return images.reshape(size, 3, 32, 32), np.array(labels, np.uint8)


def _dtype(code: Any, *_: Any) -> np.dtype[Any]:
    # Old pickles pass 0 and 1 for False and True, of which NumPy warns.
    dtype: np.dtype[Any] = np.dtype(code, copy=True)
    return dtype


class _ArrayUnpickler(pickle._Unpickler):
    """Reads pickles of builtin values and NumPy arrays; any other name is refused unimported.

    Of Python's two unpicklers the one written in Python: the other, given nine bytes, fills all the
    memory there is, as its memo is an array as long as the largest index that a pickle names.
    """

    # Bytearrays are made as long as a pickle says, before anything of it is read.
    dispatch = {  # noqa: RUF012  never changed
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]
    }

    _admitted = {  # noqa: RUF012  never changed
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _dtype,
        # NumPy's function for rebuilding an array, wherever this version keeps it.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._admitted:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._admitted[module, name]
