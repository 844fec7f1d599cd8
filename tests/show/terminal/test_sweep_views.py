"""A sweep while it goes on."""

import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from normlab.config import Config, compose, compose_grids, grids, run_id
from normlab.runs import Outcome, Plan, run_folder
from normlab.show import ArmsSoFar, watch_sweep
from normlab.show.terminal import sweep_views
from normlab.show.terminal.sweep_views import SweepView, outcome_line
from tests.conftest import TINY
from tests.show.terminal.printing import printed, text_of

CONFIGS = tuple(compose([*TINY, f"seed={seed}"]) for seed in (0, 1))
PLAN = Plan(CONFIGS, CONFIGS, 0, 0, 0, {})


def outcomes() -> Iterator[Outcome]:
    first, second = map(run_id, CONFIGS)
    yield Outcome(first, "finished", verdict="vanishing", seconds=1.26)
    yield Outcome(second, "failed", "out of memory", seconds=0.5)


class Heard:
    """An aside that says how many outcomes it has heard of."""

    def __init__(self) -> None:
        self.names = {run_id(CONFIGS[1]): "the second"}
        self.outcomes: list[Outcome] = []

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def drawn(self, at_work: Collection[str], width: int, rows: int) -> Text:
        return Text(f"{len(self.outcomes)} heard, {len(at_work)} at work, {width} by {rows}")


def shown(terminal: bool) -> tuple[list[Outcome], str, Heard]:
    stream, heard = io.StringIO(), Heard()
    environment = {"TERM": "xterm-256color"}
    console = Console(file=stream, width=80, force_terminal=terminal, _environ=environment)
    seen = watch_sweep(outcomes(), PLAN, console, heard)
    return seen, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()), heard


def test_elsewhere_a_line_an_outcome() -> None:
    seen, text, heard = shown(terminal=False)
    assert seen == list(outcomes()) == heard.outcomes
    first, second = text.splitlines()
    assert first.startswith("1/2  ")
    assert first.endswith(": vanishing  1.3 s")
    assert second == "2/2  the second: failed  0.5 s  out of memory"


def test_in_a_terminal_a_bar_and_what_is_beside() -> None:
    seen, text, heard = shown(terminal=True)
    assert seen == list(outcomes()) == heard.outcomes
    assert "2/2 runs, 1 failed" in text
    assert "2 heard, 0 at work, 80 by" in text
    assert "the second: failed  0.5 s  out of memory" in text
    assert "1.3 s" not in text  # only what has no result is a line of its own


def lock(config: Config, **progress: object) -> None:
    folder = run_folder(config)
    folder.mkdir(parents=True)
    (folder / "lock.json").write_text(json.dumps({"progress": progress}))


def view_of(configs: Sequence[Config], width: int, height: int) -> list[str]:
    plan = Plan(tuple(configs), tuple(configs), 0, 0, 0, {})
    view = SweepView(plan, Console(width=width, height=height), ArmsSoFar(plan))
    return text_of(view.drawn(), width).removesuffix("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 12)])
def test_the_bar_is_at_the_top_and_all_of_it_is_on_the_screen(
    tmp_path: Path, width: int, height: int
) -> None:
    """Of 60 arms at work on 30 runs at once."""
    grid = grids([*TINY, f"output.root={tmp_path}", "optimizer.lr=range(1,61)", "norm=none,ln"])
    configs = list(compose_grids(grid))
    for config in configs[:30]:
        lock(config, step=3, steps=9, train_acc=0.25)
    lines = view_of(configs, width, height)
    assert len(lines) < height
    assert lines[0].startswith("0/120 runs ━")
    assert max(map(len, lines)) <= width
    shown = [line for line in lines if "3/9" in line]
    assert f"and {30 - len(shown)} more at work" in lines
    assert len(shown) > 1
    assert [line for line in lines if line.startswith("no-norm lr=") and line not in shown]
    assert lines[-1] == ""  # not full, or the echo of Ctrl-C would scroll the bar out of reach


def test_the_start_of_the_workers_is_told_until_one_has_begun(tmp_path: Path) -> None:
    configs = [compose([*TINY, f"output.root={tmp_path}", f"seed={seed}"]) for seed in (0, 1)]
    assert view_of(configs, 80, 24)[1].startswith("starting worker processes, which load PyTorch")
    lock(configs[0], step=0, steps=9)
    assert "0/9" in view_of(configs, 80, 24)[1]


def test_the_bar_is_of_work_and_the_time_left_falls_within_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two runs, of 4 and of 36 layers, has half of its steps after 10 s: 1/20 of all."""
    root = f"output.root={tmp_path}"
    configs = [compose([*TINY, root, f"model.depth={depth}"]) for depth in (4, 36)]
    plan, now = Plan(tuple(configs), tuple(configs), 0, 0, 0, {}), 100.0
    monkeypatch.setattr(sweep_views.time, "monotonic", lambda: now)
    view = SweepView(plan, Console(width=100, height=24), ArmsSoFar(plan))
    lock(configs[0], step=0, steps=8)
    assert "left" not in printed(view.drawn(), 100)[0]
    now = 110.0
    (run_folder(configs[0]) / "lock.json").write_text('{"progress": {"step": 4, "steps": 8}}')
    head, job = printed(view.drawn(), 100)[:2]
    assert head.endswith("10 s, about 3 min left")  # 190 s
    assert job.split()[-1] == "4/8"
    now = 115.0
    (run_folder(configs[0]) / "lock.json").write_text('{"progress": {"step": 8, "steps": 8}}')
    head = printed(view.drawn(), 100)[0]
    assert head.endswith("15 s, about 2 min left")  # 135 s
    # A tenth of what lies between the counts and the time.
    room = 100 - len("0/2 runs ") - len(" 15 s, about 2 min left")
    assert abs(head.count("━") + head.count("╸") - room / 10) <= 1


def test_ctrl_c_says_at_once_what_is_waited_for() -> None:
    def interrupted() -> Iterator[Outcome]:
        raise KeyboardInterrupt
        yield

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, _environ={"TERM": "xterm"})
    with pytest.raises(KeyboardInterrupt):
        watch_sweep(interrupted(), PLAN, console, Heard())
    assert "stopping: the runs at work keep what they have" in stream.getvalue()


def test_an_outcome_has_its_diagnosis_in_colour() -> None:
    line = outcome_line(Outcome("id", "diverged", "never told", "exploding", 2.0), "net")
    assert line.plain == "net: exploding  2.0 s"
    assert [span.style for span in line.spans] == ["red", "dim"]
