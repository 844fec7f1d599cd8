"""Where `run --jsonl` writes a run's lines: stdout, or a file that grows."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.errors import RecordError
from normlab.text import first_line

if TYPE_CHECKING:
    from normlab.config import Config
    from normlab.runs import Finished, Note
    from normlab.training import Event

    RunEvent = Event | Note | Finished

STDOUT = "-"

Write = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def open_lines(target: str) -> Iterator[Write]:
    """What writes an object as a line into a file, from its beginning, or for `-` to stdout, at
    once.

    Where the reader has gone or the disk is full, nothing more is written and, of a file, that is
    said on stderr: the run itself goes on. Raises RecordError where the file cannot be opened.
    """
    from normlab.runs import to_json_line

    with contextlib.ExitStack() as stack:
        if target == STDOUT:
            stream = sys.stdout
        else:
            try:
                stream = stack.enter_context(Path(target).open("w", encoding="utf-8"))
            except OSError as error:
                reason = error.strerror or first_line(error)
                raise RecordError(f"--jsonl {target}: cannot be written ({reason})") from error
        broken = False

        def write(line: Mapping[str, Any]) -> None:
            nonlocal broken
            if broken:
                return
            try:
                stream.write(f"{to_json_line(line)}\n")
                stream.flush()
            except OSError as error:
                broken = True
                _leave(stream, target, error)

        yield write


def _leave(stream: Any, target: str, error: OSError) -> None:
    """Let nothing that a stream still holds be written again, as closing it would."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if not isinstance(error, BrokenPipeError):
        reason = error.strerror or first_line(error)
        print(f"--jsonl {target}: ends here ({reason}); the run goes on", file=sys.stderr)


def written(
    events: "Iterator[RunEvent]", config: "Config", write: Write, *, force: bool
) -> "Iterator[RunEvent]":
    """A run's events, whose lines are written as they pass."""
    from normlab.runs import lines_of_events

    for event, lines in lines_of_events(events, config, force=force):
        for line in lines:
            write(line)
        yield event
