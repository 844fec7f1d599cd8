"""A command line run in the test's own process, as the program runs it but for signals."""

import contextlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from normlab.cli.entry import run_command_line

# What a person's shell may hold, and a test must not depend on.
UNSET = ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "NORMLAB_DATA", "TTY_COMPATIBLE")


@dataclass(frozen=True)
class Result:
    """What came of a command line."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def as_typed(*words: str, cwd: Path, **environment: str) -> Iterator[None]:
    """In a folder, with these words as the command line and these variables beside the usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["normlab", *words])
        for name in UNSET:
            patch.delenv(name, raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def normlab(*words: str, cwd: Path, **environment: str) -> Result:
    """Run a command line whose output is no terminal."""
    out, err = io.StringIO(), io.StringIO()
    with (
        as_typed(*words, cwd=cwd, **environment),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run_command_line()
    return Result(code, out.getvalue(), err.getvalue())
