"""Runs as a table in one file: a row a run, an evaluation, or a step and layer."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from normlab.analysis.exports.registry import EXPORTS, Exported, ExportKind, RowKind, Selection
from normlab.analysis.long_tables import tables_of
from normlab.errors import ConfigError
from normlab.runs import write_whole

if TYPE_CHECKING:
    import pyarrow
    from pandas import DataFrame

# The table of a run's folder that has such rows.
_TABLES: dict[RowKind, Literal["metrics", "layers"]] = {"steps": "metrics", "layers": "layers"}

WriteRows = Callable[[Path, "pyarrow.Schema", "Iterator[DataFrame]"], None]


def _write(
    selection: Selection,
    suffix: str,
    write_runs: "Callable[[DataFrame, Path], object]",
    write_rows: WriteRows,
) -> Exported:
    """Write a table whole or not at all.

    Before the columns of a run's own table stand its id, experiment and seed, and the settings that
    vary. Raises ConfigError where no table is left, RecordError where the file cannot be written.
    """
    import pyarrow

    frame, kind, path = selection.runs, selection.rows, Path(selection.place)
    if path.suffix.removeprefix(".") in EXPORTS and path.suffix != suffix:
        other = path.suffix.removeprefix(".")
        raise ConfigError(f"-o {path}: would hold {suffix[1:]}; normlab export {other} writes such")
    if kind == "runs":
        write_whole(path, functools.partial(write_runs, frame))
        return Exported(len(frame), len(frame), selection.place)
    tables = functools.partial(tables_of, frame, _TABLES[kind])
    # Read twice, first for the columns that any run has: all of them at once may be too large.
    schemas, rows = [], 0
    for table in tables(selection.on_problem):
        schemas.append(pyarrow.Schema.from_pandas(table, preserve_index=False))
        rows += len(table)
    if not schemas:
        raise ConfigError(f"no {_TABLES[kind]}.parquet of {len(frame)} runs can be read")
    schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    write_whole(path, lambda place: write_rows(place, schema, tables(lambda _: None)))
    return Exported(len(schemas), rows, selection.place)


def _csv_runs(frame: "DataFrame", path: Path) -> None:
    frame.to_csv(path, index=False)


def _csv_rows(path: Path, schema: "pyarrow.Schema", tables: "Iterator[DataFrame]") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, table in enumerate(tables):
            columns = table.reindex(columns=schema.names)
            columns.to_csv(file, index=False, header=not number)


def _parquet_runs(frame: "DataFrame", path: Path) -> None:
    frame.to_parquet(path, index=False)


def _parquet_rows(path: Path, schema: "pyarrow.Schema", tables: "Iterator[DataFrame]") -> None:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for table in tables:
            columns = table.reindex(columns=schema.names)
            writer.write_table(pyarrow.Table.from_pandas(columns, schema, preserve_index=False))


EXPORTS.add(
    "csv",
    ExportKind(
        functools.partial(_write, suffix=".csv", write_runs=_csv_runs, write_rows=_csv_rows),
        place=lambda rows: f"{rows}.csv",
        unit="row",
        tables=True,
    ),
)
EXPORTS.add(
    "parquet",
    ExportKind(
        functools.partial(
            _write, suffix=".parquet", write_runs=_parquet_runs, write_rows=_parquet_rows
        ),
        place=lambda rows: f"{rows}.parquet",
        unit="row",
        tables=True,
    ),
)
