"""Images that are files of their own, or bytes of such: decoded, resized, hashed."""

import hashlib
import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from normlab.data.images import Split, Stored
from normlab.data.own import OwnSet, Told, check_memory, numbered
from normlab.errors import ConfigError, DataError
from normlab.text import first_line

if TYPE_CHECKING:
    import PIL.Image

# Of Pillow's formats those of pictures: others start programs, as PostScript's does.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
# So many images are held encoded at a time.
_AT_A_TIME = 512
_A_TASK = 16  # of a thread
_GREY_MODES = ("1", "L", "LA", "La")


@dataclass(frozen=True)
class Part:
    """The training or the test part: labels [N], and as many encoded images in the same order."""

    labels: NDArray[Any]
    images: Callable[[], Iterator[tuple[str, bytes]]]  # where each lies, and its bytes


class EncodedSet(OwnSet):
    """Images as PNG, JPEG and the like.

    The hash is that of the encoded images, so that no other version of a decoder names a run anew.
    With `size` s an image is scaled, smoothed, until its shorter side has s pixels, and the middle
    of the longer is kept; without, all have to be of one size. Rotations that a camera notes are
    made, transparency is left out.
    """

    root: str | None
    size: Annotated[int, Field(ge=1, le=4096)] | None
    colour: bool | None

    kind: ClassVar[str]  # its name, which what is read does not depend on
    place_key = "root"
    place_wanted = "FOLDER"

    def parts(self) -> tuple[Part, Part | None]:
        """The training and the test part, if there is one; raises DataError."""
        raise NotImplementedError

    def told(self) -> Told:
        train, test, _ = self._numbered()
        with self._pillow():
            colour = is_colour(train) if self.colour is None else self.colour
            height, width = self.size or 0, self.size or 0
            if self.size is None:
                where, content = next(train.images())
                height, width = decode(where, content, None, colour=False).shape[1:]
        shape = (3 if colour else 1, height, width)
        return Told({"colour": colour, "shape": shape}, test is not None)

    def training_labels(self) -> NDArray[np.int64]:
        labels: NDArray[np.int64] = self._numbered()[0].labels  # no image is decoded
        return labels

    def hash(self) -> str:
        found = hashlib.sha256()
        for part in filter(None, self._numbered()[:2]):
            found.update(f"{len(part.labels)}\0".encode() + part.labels.tobytes())
            for _, content in part.images():
                found.update(f"{len(content)}\0".encode() + content)
        return found.hexdigest()[:16]

    def read(self) -> Stored:
        train, test, classes = self._numbered()
        shape = self.told().settings["shape"]
        count = len(train.labels) + (len(test.labels) if test else 0)
        check_memory(count * math.prod(shape), self.placed, "make data.size smaller")
        with self._pillow():

            def split(part: Part) -> Split:
                return Split(decode_all(part, shape, self.size), part.labels)

            return Stored(split(train), None if test is None else split(test), classes, white=255)

    def _numbered(self) -> tuple[Part, Part | None, int]:
        """The parts with labels from 0 on, and how many classes there are."""
        train, test = self.parts()
        labels, test_labels, classes = numbered(
            train.labels, None if test is None else test.labels, self.placed
        )
        if test is not None and test_labels is not None:
            test = replace(test, labels=test_labels)
        return replace(train, labels=labels), test, classes

    @contextmanager
    def _pillow(self) -> Iterator[None]:
        """Within it Pillow keeps to its limit of pixels; raises ConfigError where there is none."""
        try:
            from PIL import Image
        except ImportError as error:
            raise ConfigError(
                f"data={self.kind}: needs the package pillow; pip install 'normlab[images]'"
            ) from error
        # Of a small file that says it has very many pixels; for all threads, so not in each.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield


def is_colour(part: Part) -> bool:
    """Whether any image has colours, as its format says."""
    for where, content in part.images():
        with _opened(where, content) as image:
            if image.mode not in _GREY_MODES:
                return True
    return False


def decode_all(part: Part, shape: tuple[int, int, int], size: int | None) -> NDArray[np.uint8]:
    """Images [N, C, H, W] of this shape; raises DataError for one of another."""
    import joblib

    found = np.empty((len(part.labels), *shape), np.uint8)
    images, begin = part.images(), 0

    def decode_some(several: list[tuple[str, bytes]]) -> list[NDArray[np.uint8]]:
        return [decode(*image, size, colour=shape[0] == 3) for image in several]

    with ThreadPoolExecutor(joblib.cpu_count()) as pool:  # Pillow decodes beside Python
        while several := list(itertools.islice(images, _AT_A_TIME)):
            tasks = [several[i : i + _A_TASK] for i in range(0, len(several), _A_TASK)]
            decoded = itertools.chain.from_iterable(pool.map(decode_some, tasks))
            for (where, _), image in zip(several, decoded, strict=True):
                if image.shape != shape:
                    raise DataError(
                        f"{where}: has {image.shape[2]}×{image.shape[1]} pixels, the first "
                        f"image {shape[2]}×{shape[1]}; data.size={min(shape[1:])} makes all alike"
                    )
                found[begin] = image
                begin += 1
    return found


def decode(where: str, content: bytes, size: int | None, *, colour: bool) -> NDArray[np.uint8]:
    """An image [C, H, W]; raises DataError for what is none."""
    from PIL import Image, ImageOps

    with _opened(where, content) as image:
        if image.mode[0] in "IF":  # of 16 bits or floats, which would be cut off
            raise DataError(f"{where}: has pixels of more than 8 bits; convert it to 8 bits")
        picture = ImageOps.exif_transpose(image).convert("RGB" if colour else "L")
        if size is not None:
            picture = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture, np.uint8)
    return pixels.transpose(2, 0, 1) if colour else pixels[None]


@contextmanager
def _opened(where: str, content: bytes) -> "Iterator[PIL.Image.Image]":
    """An encoded image; raises DataError for whatever a damaged one raises."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # damaged files raise anything
        raise _no_image(where, error) from error


def _no_image(where: str, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    unknown = isinstance(error, UnidentifiedImageError)  # it names an object in memory
    why = f"none of {', '.join(FORMATS)}" if unknown else first_line(error)[:100]
    return DataError(f"{where}: no image that can be read ({why}); mend it or take it away")
