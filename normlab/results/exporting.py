"""A frame to a file that other programs open."""

import functools
from pathlib import Path

from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.runs import write_whole


def export(frame: DataFrame, path: Path) -> None:
    """Write a frame as .parquet or .csv, by the path's suffix, whole or not at all.

    Raises ConfigError for another suffix, RecordError where the file cannot be written.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{path}: cannot tell its format; choices: FILE.parquet, FILE.csv")
    write = frame.to_csv if path.suffix == ".csv" else frame.to_parquet
    write_whole(path, functools.partial(write, index=False))
