"""A run's tables: streams of rows while it is made, which only grow, and Parquet at its end.

A stream is in Arrow's own format (`.arrows`), a batch of rows behind another, so that writing costs
what is new and memory holds what is not yet written. A process that is killed leaves whole batches
and at most a piece of one, which readers pass over.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from normlab.bounded_files import open_regular
from normlab.config import Config
from normlab.errors import RecordError
from normlab.runs.files import unwritable
from normlab.runs.parquet import (
    MOST_BYTES,
    TEXTS,
    WHOLE,
    checked,
    read_parquet,
    to_frame,
    write_parquet,
)
from normlab.training import LAYER_COLUMNS, METRIC_COLUMNS, OLDEST_METRIC_COLUMNS, PLACE_COLUMNS

if TYPE_CHECKING:
    import pyarrow
    from pandas import DataFrame

TableName = Literal["metrics", "layers"]
TABLES: tuple[TableName, TableName] = ("metrics", "layers")
_CHUNK = 1 << 20
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def table_file(folder: Path, name: TableName) -> Path:
    """Where a run's table lies at its end."""
    return folder / f"{name}.parquet"


def stream_file(folder: Path, name: TableName) -> Path:
    """Where the rows of an unfinished run's table lie."""
    return folder / f"{name}.arrows"


def columns_of(config: Config, name: TableName) -> tuple[str, ...]:
    """The columns of a run's table."""
    if name == "metrics":
        return METRIC_COLUMNS
    places = PLACE_COLUMNS if config.model.of_tokens else ()
    return (*LAYER_COLUMNS, *places, *config.probed)


def table_schema(columns: Sequence[str]) -> "pyarrow.Schema":
    """What the columns of a table hold."""
    import pyarrow

    types = {name: pyarrow.string() for name in TEXTS} | {name: pyarrow.int64() for name in WHOLE}
    return pyarrow.schema([(name, types.get(name, pyarrow.float64())) for name in columns])


class Position(NamedTuple):
    """How much of a stream belongs to a checkpoint: its first bytes, and their CRC-32."""

    size: int
    checksum: int

    @classmethod
    def from_content(cls, content: object) -> Self:
        """What a checkpoint says; raises ValueError where it is none."""
        if not isinstance(content, list | tuple) or [type(c) for c in content] != [int, int]:
            raise ValueError("no position in a table")
        return cls(*content)


class TableStream:
    """A growing table; raises RecordError where its file cannot be written."""

    def __init__(self, folder: Path, name: TableName, columns: Sequence[str], start: Position):
        self.path = stream_file(folder, name)
        self._schema = table_schema(columns)
        self._rows: list[Mapping[str, Any]] = []  # not yet written
        self._position = start
        try:
            if start.size:
                self._file = os.open(self.path, os.O_RDWR | _NO_LINK)
                os.truncate(self._file, start.size)
            else:
                # Made anew: what had the name may be a link that leads elsewhere.
                self.path.unlink(missing_ok=True)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except OSError as error:
            raise unwritable(self.path, error) from error
        if not start.size:
            self._append(self._schema.serialize())

    def __len__(self) -> int:
        """How many rows are not yet written."""
        return len(self._rows)

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows until `write`."""
        self._rows.extend(rows)

    def add_frame(self, frame: "DataFrame") -> None:
        """Append rows at once, those of another run's table; columns that it lacks are empty."""
        import pyarrow

        columns = frame.reindex(columns=self._schema.names)
        if len(columns):
            self.append(
                pyarrow.RecordBatch.from_pandas(columns, self._schema, preserve_index=False)
            )

    def append(self, batch: "pyarrow.RecordBatch") -> None:
        """Write a batch of rows behind those that are kept."""
        self._write_kept()
        self._append(_encoded(batch))

    def write(self) -> Position:
        """Append the rows that are kept and push them to the disk; how much there is now."""
        self._write_kept()
        try:
            os.fsync(self._file)
        except OSError as error:
            raise unwritable(self.path, error) from error
        return self._position

    def _write_kept(self) -> None:
        if self._rows:
            self._append(_encoded(self._batch()))
            self._rows.clear()

    def frame(self) -> "DataFrame":
        """All rows, written or not."""
        import pyarrow

        with self._open() as batches:
            table = pyarrow.Table.from_batches([*batches, self._batch()], self._schema)
        return to_frame(table)

    def save(self, file: Path) -> None:
        """Write all rows as one Parquet file; only a group of rows is in memory at a time."""
        self.write()
        with self._open() as batches:
            write_parquet(file, self._schema, batches)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Iterator["pyarrow.RecordBatch"]]:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            yield _batches(file)

    def _batch(self) -> "pyarrow.RecordBatch":
        import pyarrow

        columns = [
            pyarrow.array([row.get(field.name) for row in self._rows], field.type, from_pandas=True)
            for field in self._schema
        ]
        return pyarrow.RecordBatch.from_arrays(columns, schema=self._schema)

    def _append(self, content: Any) -> None:
        view, size = memoryview(content), self._position.size
        try:
            while view:
                written = os.pwrite(self._file, view, size)
                view, size = view[written:], size + written
        except OSError as error:
            with contextlib.suppress(OSError):  # what comes next begins where this did
                os.truncate(self._file, self._position.size)
            raise unwritable(self.path, error) from error
        checksum = zlib.crc32(memoryview(content), self._position.checksum)
        self._position = Position(size, checksum)


NOTHING = Position(0, 0)


def holds(folder: Path, name: TableName, position: Position) -> bool:
    """Whether a folder's stream begins with what a checkpoint was made beside."""
    left, checksum = position
    found = 0
    try:
        with open_regular(stream_file(folder, name), MOST_BYTES) as file:
            while left and (chunk := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(chunk, found), left - len(chunk)
    except (OSError, ValueError):
        return False
    return position.size > 0 and not left and found == checksum


def read_rows(folder: Path, name: TableName) -> "DataFrame":
    """A run's table, of an unfinished run as far as it is; raises OSError or ValueError."""
    try:
        table = read_parquet(table_file(folder, name))
    except FileNotFoundError:
        if not stream_file(folder, name).exists():
            raise
        table = _read_stream(stream_file(folder, name))
    required = OLDEST_METRIC_COLUMNS if name == "metrics" else LAYER_COLUMNS
    return to_frame(checked(table, required))


def _read_stream(file: Path) -> "pyarrow.Table":
    import pyarrow

    with open_regular(file, MOST_BYTES) as stream:
        found = list(_batches(stream))
    if not found:
        raise ValueError("it holds no rows yet")
    return pyarrow.Table.from_batches(found)


def complete_table(folder: Path, name: TableName, columns: Sequence[str]) -> None:
    """Write the Parquet file of a run whose process is dead, from the rows that it left.

    Raises OSError, and RecordError where it cannot be written, or the rows are in no regular file
    or too many bytes.
    """
    stream, file = stream_file(folder, name), table_file(folder, name)
    if not stream.exists() and file.exists():
        return
    with contextlib.ExitStack() as stack:
        batches: Iterator[pyarrow.RecordBatch] = iter(())
        if stream.exists():
            try:
                batches = _batches(stack.enter_context(open_regular(stream, MOST_BYTES)))
            except ValueError as error:
                raise RecordError(f"{stream}: cannot be read ({error})") from error
        write_parquet(file, table_schema(columns), batches)


def _encoded(batch: "pyarrow.RecordBatch") -> Any:
    """A batch as it stands in a stream, without the stream's head and end."""
    import pyarrow

    options = pyarrow.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    sink = pyarrow.BufferOutputStream()
    writer = pyarrow.ipc.new_stream(sink, batch.schema, options=options)
    writer.write_batch(batch)
    ends = sink.tell()
    writer.close()
    return sink.getvalue()[len(batch.schema.serialize()) : ends]


def _batches(file: Any) -> Iterator["pyarrow.RecordBatch"]:
    """The whole batches of a stream, one at a time."""
    import pyarrow

    options = pyarrow.ipc.IpcReadOptions(use_threads=False)
    with contextlib.suppress(pyarrow.ArrowInvalid, OSError):  # a piece of one, at the end
        yield from pyarrow.ipc.open_stream(file, options=options)
