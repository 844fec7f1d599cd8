"""What goes on, in a notebook."""

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from normlab.show.notebook import live
from normlab.show.notebook.live import NotebookView
from normlab.show.terminal.live import can_be_live, live_view


class Output:
    """One output of a cell, and all that was ever shown in it."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.changed = threading.Event()

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(data["text/html"])
        self.changed.set()


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Output:
    made = Output()

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Output:
        assert display_id
        made.update(data, raw=raw)
        made.changed.clear()
        return made

    package: Any = ModuleType("IPython")
    package.display = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.01)
    return made


def test_a_view_is_one_output_that_ends_empty(output: Output) -> None:
    states = iter(["first", "second"])
    told = "nothing"

    def draw() -> Text:
        nonlocal told
        told = next(states, told)
        return Text(told)

    with NotebookView(draw):
        while not any("second" in page for page in output.shown):
            assert output.changed.wait(60)
            output.changed.clear()
    assert [("first" in page, "second" in page) for page in output.shown] == [
        *((False, False), (True, False), (False, True)),
        (False, False),
    ]
    assert output.shown[-1] == ""


def test_an_interrupted_view_ends_too(output: Output) -> None:
    def go_on() -> None:
        with NotebookView(lambda: Text("on")):
            assert output.changed.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on()
    assert output.shown[-1] == ""


def test_a_notebook_is_live_and_has_its_own_view() -> None:
    notebook = Console(force_jupyter=True)
    assert can_be_live(notebook)
    assert isinstance(live_view(notebook, Text, 4), NotebookView)
    terminal = Console(force_terminal=True, force_jupyter=False)
    assert not isinstance(live_view(terminal, Text, 4), NotebookView)
    assert not can_be_live(Console(force_terminal=False, force_jupyter=False))
