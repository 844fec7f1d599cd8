"""Results folders to a frame: walk them, read every run's summary, name what cannot be read."""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

from pandas import DataFrame

from normlab.analysis.filters import where
from normlab.analysis.frames import to_frame
from normlab.bounded_files import read_bounded
from normlab.config import Config, from_yaml_or_watched
from normlab.errors import ConfigError
from normlab.runs import (
    CONFIG_FILE,
    Summary,
    in_one_line,
    is_running,
    parse_summary,
    read_environment,
    run_folders,
    watched_id,
    with_origin,
)


def read_results(paths: Sequence[Path]) -> tuple[DataFrame, list[str]]:
    """Every run at or below the folders as a row, and a line for each folder that is not a run.

    Links are followed, but no folder counts twice. A run without summary.json is `running` while a
    live process holds its lock, and `unfinished` otherwise. Raises RecordError where a path is no
    folder.
    """
    problems: list[str] = []
    collecting = gc.isenabled()
    # Garbage collection would look through all that was read again and again.
    gc.disable()
    try:
        return to_frame(_summaries(paths, problems), problems), problems
    finally:
        if collecting:
            gc.enable()


def read_selected(paths: Sequence[Path], expressions: Sequence[str]) -> tuple[DataFrame, list[str]]:
    """The runs at or below the folders that fulfil every `where` expression, and the problems."""
    frame, problems = read_results(paths)
    return where(frame, expressions), problems


def _summaries(paths: Sequence[Path], problems: list[str]) -> Iterator[tuple[str, Summary]]:
    """Each run folder once, with its summary; `problems` gets a line for one that has none."""
    for folder, text in run_folders(paths, problems):
        try:
            summary = _pending(folder) if text is None else parse_summary(text)
            if summary.started is None:  # unfinished, or older than the key
                summary = with_origin(summary, read_environment(folder))
            yield folder, summary
        except (ValueError, RecursionError, ConfigError, OSError) as error:
            problems.append(f"{folder}: {in_one_line(error)}")


def _pending(folder: str) -> Summary:
    """A stand-in for the summary of a run that has none yet."""
    text = read_bounded(f"{folder}/{CONFIG_FILE}").decode()
    status = "running" if is_running(Path(folder)) else "unfinished"
    found = from_yaml_or_watched(text)
    if isinstance(found, Config):
        return Summary.pending(found, status)
    return Summary.of_watched(found, status, run_id=watched_id(Path(folder)))
