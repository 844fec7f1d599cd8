"""Runs to a file that other programs open: a row a run, an evaluation, or a step and layer."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow
import pyarrow.parquet
from pandas import DataFrame

from normlab.analysis.keys import seeds_beside, varying
from normlab.errors import ConfigError, RecordError
from normlab.runs import read_table, write_whole

# What a row is, and the table of a run's folder that has it; None for the frame itself.
RowKind = Literal["runs", "steps", "layers"]
_TABLES: dict[RowKind, Literal["metrics", "layers"]] = {"steps": "metrics", "layers": "layers"}
_SUFFIXES = (".parquet", ".csv")


class Exported(NamedTuple):
    """How much was written."""

    runs: int
    rows: int


def export(
    frame: DataFrame,
    path: Path,
    kind: RowKind = "runs",
    on_problem: Callable[[str], object] = lambda _: None,
) -> Exported:
    """Write runs as .parquet or .csv, by the path's suffix, whole or not at all.

    A row is a run, one of its evaluations, or a layer at one of its steps. Before the columns of a
    run's own table stand its id, experiment and seed, and the settings that vary. `on_problem`
    hears of each run whose table cannot be read, which is left out. Raises ConfigError for another
    suffix or where no table is left, RecordError where the file cannot be written.
    """
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"{path}: cannot tell its format; choices: FILE.parquet, FILE.csv")
    if kind == "runs":
        write = frame.to_csv if path.suffix == ".csv" else frame.to_parquet
        write_whole(path, functools.partial(write, index=False))
        return Exported(len(frame), len(frame))
    tables = functools.partial(_tables, frame, kind)
    # Read twice, first for the columns that any run has: all of them at once may be too large.
    schemas, rows = [], 0
    for table in tables(on_problem):
        schemas.append(pyarrow.Schema.from_pandas(table, preserve_index=False))
        rows += len(table)
    if not schemas:
        raise ConfigError(f"no {_TABLES[kind]}.parquet of {len(frame)} runs can be read")
    schema = pyarrow.unify_schemas(schemas, promote_options="permissive")
    write_rows = _write_csv if path.suffix == ".csv" else _write_parquet
    write_whole(path, lambda place: write_rows(place, schema, tables(lambda _: None)))
    return Exported(len(schemas), rows)


def _tables(
    frame: DataFrame, kind: RowKind, on_problem: Callable[[str], object]
) -> Iterator[DataFrame]:
    """Each run's table below the columns that tell which run it is."""
    keys = ["run_id", "experiment", *varying(frame), *seeds_beside(frame), "seed"]
    for values, folder in zip(
        frame[keys].itertuples(index=False, name=None), frame["folder"], strict=True
    ):
        try:
            table = read_table(Path(folder), _TABLES[kind])
        except RecordError as error:
            on_problem(str(error))
            continue
        of_run: dict[str, Any] = dict(zip(keys, values, strict=True))
        about = DataFrame(of_run, index=table.index).astype(frame[keys].dtypes)
        yield about.join(table.drop(columns=[c for c in keys if c in table]))


def _write_csv(path: Path, schema: pyarrow.Schema, tables: Iterator[DataFrame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, table in enumerate(tables):
            columns = table.reindex(columns=schema.names)
            columns.to_csv(file, index=False, header=not number)


def _write_parquet(path: Path, schema: pyarrow.Schema, tables: Iterator[DataFrame]) -> None:
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for table in tables:
            columns = table.reindex(columns=schema.names)
            writer.write_table(pyarrow.Table.from_pandas(columns, schema, preserve_index=False))
