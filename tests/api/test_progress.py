"""Where the progress of runs is shown."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

import normlab
from normlab.api import run_config
from normlab.api.progress import console_for
from normlab.runs import Outcome, Plan
from tests.conftest import TINY


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def in_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let stderr be a terminal."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_nobody_looks_at_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    in_terminal(monkeypatch)
    assert console_for(None) is not None
    assert console_for(False) is None
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert console_for(None) is None
    assert console_for(True) is not None


def test_a_run_is_seen_in_a_terminal_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    terminal = in_terminal(monkeypatch)
    normlab.run(*TINY)
    assert "MLP-4 bn on gaussian: " in terminal.getvalue()
    seen = len(terminal.getvalue())
    normlab.run(*TINY)  # it is read
    assert len(terminal.getvalue()) == seen


def test_lines_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    normlab.run(*TINY, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("MLP-4 bn on gaussian: 4 layers")
    normlab.run(*TINY, "seed=1")
    assert capsys.readouterr() == ("", "")


def test_a_sweep_into_a_log_has_a_line_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def made_here(plan: Plan, **_: object) -> Iterator[Outcome]:  # workers take seconds to start
        for config in plan.pending:
            yield Outcome.from_summary(run_config(config).summary)

    monkeypatch.setattr("normlab.runs.sweep", made_here)
    grid = (*TINY, "seed=1,2")
    normlab.sweep(*grid, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["1/2", "2/2"]
    assert lines[0].startswith("1/2  MLP-4 bn on gaussian, seed 1: ")
    normlab.sweep(*grid, "output.root=others")
    assert capsys.readouterr() == ("", "")
