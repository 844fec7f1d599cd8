"""Images and labels in Parquet files, as Hugging Face stores sets of images."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normlab.config import DATA_SETS
from normlab.data.damage import reading
from normlab.data.encoded import EncodedSet, Part
from normlab.data.own import Told, check_memory
from normlab.errors import DataError
from normlab.text import first_line

_TRAIN, _TESTS = "train", ("test", "validation", "val")
_IMAGES, _LABELS = ("image", "img"), ("label", "labels", "fine_label")
_ROWS = 64  # that are held encoded at a time


@DATA_SETS.register("parquet")
class Parquet(EncodedSet):
    """train-*.parquet and test-*.parquet with a column of encoded images and one of labels."""

    kind = "parquet"

    image_column: str | None
    label_column: str | None

    @classmethod
    def meant_by(cls, value: str) -> tuple[str, ...]:
        is_one = value.lower().endswith(".parquet")
        return ("data=parquet", f"data.root={Path(value).parent}") if is_one else ()

    def told(self) -> Told:
        found = super().told()
        image, label = self._columns(self._files_of_parts()[0])
        columns = {"image_column": image, "label_column": label}
        return Told({**found.settings, **columns}, found.tested)

    def files(self) -> list[Path]:
        train, test = self._files_of_parts()
        return [*train, *test]

    def parts(self) -> tuple[Part, Part | None]:
        train, test = self._files_of_parts()
        columns = self._columns(train)
        return _part(train, *columns), _part(test, *columns) if test else None

    def _files_of_parts(self) -> tuple[list[Path], list[Path]]:
        """The files of the training and the test part; none where there is no test part."""
        place = self.place
        self.check_folder()
        with reading(place):
            below = sorted(f for f in place.iterdir() if f.is_dir() and f.name[0] != ".")
        folders = [place] if _files(place, _TRAIN) else [f for f in below if _files(f, _TRAIN)]
        if len(folders) != 1:
            names = ", ".join(folder.name for folder in folders)
            several = f"has {names}, each with {_TRAIN}-*.parquet; name one of them"
            none = f"has no {_TRAIN}-*.parquet; wanted are such and {_TESTS[0]}-*.parquet"
            raise DataError(f"{self.placed}: {several if folders else none}")
        tests = (_files(folders[0], name) for name in _TESTS)
        return _files(folders[0], _TRAIN), next(filter(None, tests), [])

    def _columns(self, files: Sequence[Path]) -> tuple[str, str]:
        """The columns of images and labels: those given, else as the schema or their names tell."""
        import pyarrow.parquet as pq

        with _reading(files[0]):
            schema = pq.read_schema(files[0])
        features = _features(schema)
        found: list[str] = []
        for key, given, kind, usual in (
            ("image_column", self.image_column, "Image", _IMAGES),
            ("label_column", self.label_column, "ClassLabel", _LABELS),
        ):
            typed = [name for name in features if features[name] == kind]
            named = [name for name in usual if name in schema.names]
            column = given or (typed[0] if len(typed) == 1 else next(iter(named), None))
            if column is None or column not in schema.names:
                raise DataError(
                    f"data.{key}={given or 'null'}: {files[0]} has the columns "
                    f"{', '.join(schema.names)}; give data.{key} one of them"
                )
            found.append(column)
        return found[0], found[1]


def _files(folder: Path, part: str) -> list[Path]:
    """The files of a part: part.parquet, part-00000-of-00002.parquet or part/0000.parquet."""
    with reading(folder):
        own = [f for f in folder.iterdir() if re.fullmatch(rf"{part}([-._].*)?\.parquet", f.name)]
        inner = folder / part
        own += inner.glob("*.parquet") if inner.is_dir() else ()
    return sorted(own)


def _features(schema: Any) -> dict[str, str]:
    """The types that Hugging Face's metadata give columns; none where there are no such."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: str(feature.get("_type")) for name, feature in told.items()}
    except (KeyError, TypeError, AttributeError, ValueError):
        return {}


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        with reading(file):
            yield
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"{file}: no Parquet file that can be read ({first_line(error)[:80]})"
        ) from error


def _part(files: Sequence[Path], image: str, label: str) -> Part:
    return Part(
        np.concatenate([_labels(file, label) for file in files]),
        lambda: (row for file in files for row in _images(file, image)),
    )


def _labels(file: Path, column: str) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _reading(file):
        values = pq.ParquetFile(file).read([column]).column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{file}: {column} holds {kind}; labels must be whole numbers or text")
    if values.null_count:
        raise DataError(f"{file}: {column} has {values.null_count} empty labels")
    found = np.asarray(values.to_pylist())
    if found.dtype.kind == "i" and len(found) and found.min() < 0:
        raise DataError(
            f"{file}: {column} has {found.min()}, which stands for no label; take the file away, "
            "and set data.test_share if it is the test part"
        )
    return found


def _images(file: Path, column: str) -> Iterator[tuple[str, bytes]]:
    import pyarrow.parquet as pq

    number = 0
    with _reading(file):
        content = pq.ParquetFile(file)
        for group in range(content.num_row_groups):
            held = content.metadata.row_group(group).total_byte_size
            check_memory(held, str(file), "write it with smaller row groups")
        for batch in content.iter_batches(_ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                where = f"{file}: {column} of row {number}"
                encoded = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(encoded, bytes):
                    raise DataError(f"{where}: holds no encoded image, bytes or a struct of bytes")
                yield where, encoded
                number += 1
