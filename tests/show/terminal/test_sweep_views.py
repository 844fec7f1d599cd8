"""A sweep while it goes on."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.text import Text

from normlab.config import compose, run_id
from normlab.runs import Outcome, Plan
from normlab.show import watch_sweep
from normlab.show.terminal.sweep_views import job_line, outcome_line
from tests.conftest import TINY

CONFIGS = tuple(compose([*TINY, f"seed={seed}"]) for seed in (0, 1))
PLAN = Plan(CONFIGS, CONFIGS, 0, 0, 0, {})


def outcomes() -> Iterator[Outcome]:
    first, second = map(run_id, CONFIGS)
    yield Outcome(first, "finished", verdict="vanishing", seconds=1.26)
    yield Outcome(second, "failed", "out of memory", seconds=0.5)


def shown(terminal: bool) -> tuple[list[Outcome], str]:
    stream = io.StringIO()
    environment = {"TERM": "xterm-256color"}
    console = Console(file=stream, width=80, force_terminal=terminal, _environ=environment)
    seen = watch_sweep(outcomes(), PLAN, console, lambda: Text("so far"))
    return seen, stream.getvalue()


def test_elsewhere_a_line_an_outcome() -> None:
    seen, text = shown(terminal=False)
    assert seen == list(outcomes())
    first, second = text.splitlines()
    assert first.startswith("1/2  ")
    assert first.endswith(": vanishing  1.3 s")
    assert second.endswith(": failed  0.5 s  out of memory")


def test_in_a_terminal_a_bar_and_the_comparison() -> None:
    seen, text = shown(terminal=True)
    assert seen == list(outcomes())
    assert "2/2 runs" in text
    assert "so far" in text
    assert "out of memory" in text  # only what has no result is a line of its own
    assert "1.3 s" not in text


@pytest.mark.parametrize(
    ("progress", "bar", "words"),
    [
        ({}, 0, "   net"),
        ({"step": 5, "steps": 20}, 5, " 5/20   net"),
        ({"step": 20, "steps": 20, "train_acc": 0.5}, 20, " 20/20   train acc 0.500  net"),
    ],
)
def test_a_running_job_has_a_bar(progress: dict[str, float], bar: int, words: str) -> None:
    line = job_line(progress, "net")
    assert line.plain == "━" * 20 + words
    assert line.style == "green"
    assert sum(span.end - span.start for span in line.spans if span.style == "dim") == 20 - bar


def test_an_outcome_has_its_diagnosis_in_colour() -> None:
    line = outcome_line(Outcome("id", "diverged", "never told", "exploding", 2.0), "net")
    assert line.plain == "net: exploding  2.0 s"
    assert [span.style for span in line.spans] == ["red", "dim"]
