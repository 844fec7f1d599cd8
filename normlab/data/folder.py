"""A folder of images in a folder for each class, as torchvision's ImageFolder has them."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from normlab.bounded_files import read_bounded
from normlab.config import DATA_SETS
from normlab.data.damage import reading
from normlab.data.encoded import EncodedSet, Part
from normlab.errors import DataError

_ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_TRAIN, _TESTS = "train", ("test", "val", "valid", "validation")
_LARGEST_IMAGE = 1 << 28

Classes = dict[str, list[Path]]  # the images of each class, in order


@DATA_SETS.register("folder")
class Folder(EncodedSet):
    """train/CLASS/*.png and test/CLASS/*.png, or CLASS/*.png without a test part."""

    kind = "folder"

    @classmethod
    def meant_by(cls, value: str) -> tuple[str, ...]:
        return ("data=folder", f"data.root={value}") if Path(value).is_dir() else ()

    def parts(self) -> tuple[Part, Part | None]:
        train, test = self._classes()
        return _part(train), None if test is None else _part(test)

    def files(self) -> list[Path]:
        train, test = self._classes()
        both = (*train.values(), *(test or {}).values())
        return [file for images in both for file in images]

    def _classes(self) -> tuple[Classes, Classes | None]:
        place = self.place
        self.check_folder()
        test = next((place / name for name in _TESTS if (place / name).is_dir()), None)
        if not (place / _TRAIN).is_dir():
            if test is not None:
                raise DataError(f"{self.placed}: has {test.name}/ and no {_TRAIN}/")
            return self._images_by_class(place), None
        train = self._images_by_class(place / _TRAIN)
        # A class may have no test image.
        return train, self._images_by_class(test, least=0) if test else None

    def _images_by_class(self, folder: Path, least: int = 1) -> Classes:
        with reading(folder):
            names = sorted(entry.name for entry in os.scandir(folder) if _counts(entry))
        found = {name: list(_images_below(folder / name)) for name in names}
        if not any(found.values()):
            raise DataError(
                f"{self.placed}: no images in {folder.name}/CLASS/; wanted are "
                f"{_TRAIN}/CLASS/*.png and {_TESTS[0]}/CLASS/*.png, or jpg, gif, bmp, webp, tif"
            )
        for name, images in found.items():
            if len(images) < least:
                raise DataError(f"{folder / name}: has no image; put some there or take it away")
        return found


def _counts(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _images_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield Path(place) / name


def _part(classes: Classes) -> Part:
    counts = [len(images) for images in classes.values()]

    def contents() -> Iterator[tuple[str, bytes]]:
        for images in classes.values():
            for file in images:
                with reading(file):
                    try:
                        content = read_bounded(file, _LARGEST_IMAGE)
                    except ValueError as error:
                        raise DataError(f"{file}: {error}") from error
                yield str(file), content

    return Part(np.repeat(np.array(list(classes), dtype=str), counts), contents)
