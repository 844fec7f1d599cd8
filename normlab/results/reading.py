"""Results folders to a frame: walk them, read every run's summary, name what cannot be read."""

import gc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pandas import DataFrame

from normlab.config import from_yaml
from normlab.errors import ConfigError, RecordError
from normlab.results.filters import where
from normlab.results.frames import in_one_line, to_frame
from normlab.runs import (
    CONFIG_FILE,
    LOCK_FILE,
    SUMMARY_FILE,
    Summary,
    is_running,
    parse_summary,
    read_environment,
    with_origin,
)

# Ten times what a summary takes; a buffer of more would cost more than reading does.
_SUMMARY_BYTES = 1 << 16
# A link could lead out of the results, and a named pipe would block.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def read_results(paths: Sequence[Path]) -> tuple[DataFrame, list[str]]:
    """Every run at or below the folders as a row, and a line for each folder that is not a run.

    Links are not followed. A run without summary.json is `running` while a live process holds its
    lock, and `unfinished` otherwise. Raises RecordError where a path is no folder.
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
    seen: set[str] = set()
    for path in paths:
        if not path.is_dir():
            raise RecordError(f"{path}: no such folder")
        for folder, text in _run_folders(str(path), problems):
            if len(paths) > 1:
                place = str(Path(folder).resolve())
                if place in seen:
                    continue
                seen.add(place)
            try:
                summary = _pending(folder) if text is None else parse_summary(text)
                if summary.started is None:  # unfinished, or older than the key
                    summary = with_origin(summary, read_environment(folder))
                yield folder, summary
            except (ValueError, RecursionError, ConfigError, OSError) as error:
                problems.append(f"{folder}: {in_one_line(error)}")


def _run_folders(root: str, problems: list[str]) -> Iterator[tuple[str, bytes | None]]:
    """The run folders at and below a folder in order of names, each with its summary's text."""
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            yield folder, _read_file(f"{folder}/{SUMMARY_FILE}")
            continue
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            problems.append(f"{folder}: {in_one_line(error)}")
            continue
        try:
            with os.scandir(folder) as entries:
                inside = [(e.name, e.path, e.is_dir(follow_symlinks=False)) for e in entries]
        except OSError as error:
            problems.append(f"{folder}: {in_one_line(error)}")
            continue
        below = [path for name, path, is_dir in inside if is_dir and not name.startswith(".")]
        files = {name for name, _, is_dir in inside if not is_dir}
        if CONFIG_FILE in files:
            yield folder, None
        elif LOCK_FILE in files:
            problems.append(f"{folder}: just begun, it has no config.yaml yet")
        elif not below and folder != root:
            problems.append(f"{folder}: not a run, it has neither config.yaml nor {SUMMARY_FILE}")
        stack.extend(sorted(below, reverse=True))


def _read_file(path: str) -> bytes:
    """A small file's bytes; raises OSError, and ValueError where it is larger than a summary is."""
    file = os.open(path, _FLAGS)
    try:
        text = os.read(file, _SUMMARY_BYTES)
    finally:
        os.close(file)
    if len(text) == _SUMMARY_BYTES:
        raise ValueError(f"{SUMMARY_FILE} is not normlab's, it is too large")
    return text


def _pending(folder: str) -> Summary:
    """A stand-in for the summary of a run that has none yet."""
    config = from_yaml((Path(folder) / CONFIG_FILE).read_text(encoding="utf-8"))
    return Summary.pending(config, "running" if is_running(Path(folder)) else "unfinished")
