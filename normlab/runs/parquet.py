"""Parquet files of whoever wrote them, read and written without threads of Arrow's own.

At a user's limit of threads or memory, Arrow would wait for a thread for ever.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.bounded_files import open_regular
from normlab.runs.files import write_whole

if TYPE_CHECKING:
    import pyarrow
    from pandas import DataFrame

# Rows of a group of a file, some ten megabytes.
GROUP_ROWS = 100_000
# The largest table that was met has a tenth of these, 1.1 million rows of 12 columns.
MOST_CELLS = 150_000_000
MOST_BYTES = 1 << 31
# Columns whose values are not floating-point numbers.
TEXTS = ("name", "kind", "role")
WHOLE = ("step", "layer")


def write_parquet(
    file: Path, schema: "pyarrow.Schema", batches: "Iterator[pyarrow.RecordBatch]"
) -> None:
    """Write batches of rows whole, a group of them in memory at a time; raises RecordError."""
    import pyarrow
    import pyarrow.parquet

    def write(beside: Path) -> None:
        with beside.open("wb") as sink, pyarrow.parquet.ParquetWriter(sink, schema) as writer:
            group: list[pyarrow.RecordBatch] = []
            for batch in batches:
                group.append(batch)
                if sum(map(len, group)) >= GROUP_ROWS:
                    writer.write_table(pyarrow.Table.from_batches(group, schema))
                    group = []
            writer.write_table(pyarrow.Table.from_batches(group, schema))

    write_whole(file, write)


def read_parquet(path: Path) -> "pyarrow.Table":
    """The table in a file; raises OSError, and ValueError where it is none or too large."""
    import pyarrow
    import pyarrow.parquet

    with open_regular(path, MOST_BYTES) as file:
        try:
            about = pyarrow.parquet.read_metadata(file)
            texts = [name for name in TEXTS if name in about.schema.names]
            parquet = pyarrow.parquet.ParquetFile(
                file, metadata=about, pre_buffer=False, read_dictionary=texts
            )
            if about.num_rows * about.num_columns > MOST_CELLS:
                raise ValueError(f"{about.num_rows:,} rows are too many")
            return parquet.read(use_threads=False)
        except (pyarrow.ArrowException, MemoryError, NotImplementedError) as error:
            raise ValueError(str(error)) from error


def checked(table: "pyarrow.Table", columns: Sequence[str]) -> "pyarrow.Table":
    """A table with these columns and further numbers, each of the type that normlab writes.

    Raises ValueError where a column is missing or holds something else.
    """
    import pyarrow
    from pyarrow import types as kinds

    names = table.column_names
    if missing := [column for column in columns if column not in names]:
        raise ValueError(f"it lacks {', '.join(missing)}, it is not normlab's")
    if len(set(names)) < len(names):
        raise ValueError("two of its columns have one name")
    for place, name in enumerate(names):
        column = table.column(place)
        if name in TEXTS:
            if kinds.is_dictionary(column.type):
                column = _unpacked(column)
            wanted, fits = pyarrow.string(), kinds.is_string(column.type)
        elif name in WHOLE:
            wanted, fits = pyarrow.int64(), kinds.is_integer(column.type) and not column.null_count
        else:
            numbers = kinds.is_floating(column.type) or kinds.is_integer(column.type)
            wanted, fits = pyarrow.float64(), numbers
        # Of no type at all: nothing was measured, or there is no row.
        empty = kinds.is_null(column.type) and not (name in WHOLE and len(column))
        if not fits and not empty:
            raise ValueError(f"its column {name!a} is not of {wanted}")
        column = column.cast(wanted)
        _check_values(name, column)
        table = table.set_column(place, name, column)
    return table


def _check_values(name: str, column: "pyarrow.ChunkedArray") -> None:
    """Raise ValueError for layers that are not 1 to L, and for texts that control a terminal."""
    import pyarrow.compute

    if name == "layer":
        found = sorted(pyarrow.compute.unique(column).to_pylist())
        if found != list(range(1, len(found) + 1)):
            raise ValueError("its layers are not numbered from 1")
    elif name == "step" and len(column) and pyarrow.compute.min(column).as_py() < 0:
        raise ValueError("a step is below 0")
    elif name in TEXTS:
        texts = pyarrow.compute.unique(column).to_pylist()
        if not all(text is None or text.isprintable() for text in texts):
            raise ValueError(f"its column {name!a} holds control characters")


def _unpacked(column: "pyarrow.ChunkedArray") -> "pyarrow.ChunkedArray":
    """Texts of which each differing one is held once, each by itself; they may be long."""
    import pyarrow

    longest = max(
        (len(text or "") for chunk in column.chunks for text in chunk.dictionary.to_pylist()),
        default=0,
    )
    if longest * len(column) > MOST_BYTES:
        raise ValueError("its texts are too long")
    return column.cast(pyarrow.string())


def to_frame(table: "pyarrow.Table") -> "DataFrame":
    """An Arrow table as pandas has it; the table is given up, column by column."""
    frame: DataFrame = table.to_pandas(use_threads=False, split_blocks=True, self_destruct=True)
    return frame
