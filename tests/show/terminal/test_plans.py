"""What a sweep has to do, in words."""

from pathlib import Path

import pytest

from normlab.config import compose
from normlab.runs import Plan
from normlab.runs.estimates import Work
from normlab.show import left_alone_line, plan_lines, run_lines, waiting_line
from normlab.show.terminal.plans import MOST_LISTED
from tests.conftest import TINY

CONFIGS = tuple(compose([*TINY, "seed=0"]).model_copy(update={"seed": i}) for i in range(50))

MLP = compose([*TINY, "model=mlp", "model.depth=3", "model.width=512"])
OTHER = Work.of(CONFIGS[0])._replace(width=4 * CONFIGS[0].model.width)


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        (Plan(CONFIGS[:1], CONFIGS[:1], 0, 0, 0, {}), ["1 run: 1 to make"]),
        (
            Plan(CONFIGS, CONFIGS[:40], 7, 3, 2, {Work.of(CONFIGS[0]): 15.0}),
            [
                "50 runs: 40 to make, 7 finished before, 3 failed before (--retry-failed makes "
                "them again)",
                "2 more of the grid would be the same runs again: output, runtime, launcher and "
                "data.root make no other run",
                "about 10 min of computing, by the finished runs most alike",
            ],
        ),
        (
            Plan(CONFIGS[:3], CONFIGS[:2], 1, 0, 0, {}, of_other_data=1),
            [
                "3 runs: 2 to make, 1 finished before",
                "1 finished before of other data than are there now; --force makes all runs again",
            ],
        ),
        (
            Plan(CONFIGS[:3], CONFIGS[:2], 1, 0, 0, {}, weightless=1),
            [
                "3 runs: 2 to make, 1 finished before",
                "1 of those to make is finished, and made again to keep weights or state",
            ],
        ),
        (
            Plan(CONFIGS[:1], (), 1, 0, 0, {}, equal=1),
            [
                "1 run: 0 to make, 1 finished before",
                "1 point of the grid left out, with the same values as another",
            ],
        ),
        (
            Plan(CONFIGS[:3], CONFIGS[:3], 0, 0, 0, {OTHER: 1000.0}),
            ["3 runs: 3 to make"],
        ),
        (
            Plan((*CONFIGS[:3], MLP), (*CONFIGS[:3], MLP), 0, 0, 0, {Work.of(MLP): 1000.0}),
            [
                "4 runs: 4 to make",
                "about 17 min of computing for 1 of them, by the finished runs most alike, which "
                "the others are not",
            ],
        ),
        (
            Plan(
                CONFIGS[:2], CONFIGS[:2], 0, 0, 0, {}, elsewhere=(Path("r/one/a"), Path("r/one/b"))
            ),
            [
                "2 runs: 2 to make",
                "2 of those to make are finished in one, and made anew for this experiment, whose "
                "folder holds all of its runs; output.experiment=one takes them",
            ],
        ),
        (Plan(CONFIGS, (), 50, 0, 0, {}), ["50 runs: 0 to make, 50 finished before"]),
    ],
)
def test_a_plan_is_told(plan: Plan, lines: list[str]) -> None:
    assert plan_lines(plan) == lines


def test_very_many_runs_are_counted() -> None:
    lines = run_lines(Plan(CONFIGS, CONFIGS, 0, 0, 0, {}))
    assert len(lines) == MOST_LISTED + 1
    assert len(set(lines)) == len(lines)
    assert lines[-1] == f"  and {50 - MOST_LISTED} more"


def test_what_is_left_is_told() -> None:
    assert left_alone_line(Plan(CONFIGS, (), 48, 2, 0, {})).startswith("2 failed before")
    assert waiting_line(1) == "waiting for 1 run that another process is making"
