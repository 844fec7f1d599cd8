"""The comparison of a sweep's arms while its runs are made."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from normlab.config import Config, compose_grids, grids, run_id
from normlab.runs import Outcome, Plan, Summary, run_folder
from normlab.show.terminal.arms_so_far import ArmsSoFar
from tests.conftest import TINY, replacing
from tests.show.terminal.printing import printed


@pytest.fixture
def configs(tmp_path: Path) -> list[Config]:
    """Two norms at two depths, two seeds each."""
    varied = ["norm=bn,none", "model.depth=3,10", "seed=range(2)"]
    return list(compose_grids(grids(replacing(TINY, f"output.root={tmp_path}", *varied))))


def end(config: Config, accuracy: float | None, verdict: str | None, status: str) -> Outcome:
    folder = run_folder(config)
    folder.mkdir(parents=True)
    summary = Summary.pending(config, status, train_acc=accuracy, verdict=verdict)
    (folder / "summary.json").write_text(json.dumps(summary.to_plain()))
    return Outcome(run_id(config), status)


def lines_of(arms: ArmsSoFar, at_work: Sequence[str] = (), rows: int | None = 20) -> list[str]:
    drawn = arms.drawn(at_work, 80, rows)
    return [] if drawn is None else [line.rstrip() for line in printed(drawn)]


def test_every_arm_has_its_row_from_the_first_run_on(configs: list[Config]) -> None:
    arms = ArmsSoFar(Plan(tuple(configs), tuple(configs), 0, 0, 0, {}))
    first, *rest = configs
    before = lines_of(arms)
    assert [line.split() for line in before[1:3]] == [["no-norm", "·", "·"], ["bn", "·", "·"]]
    at_work = lines_of(arms, [run_id(first)])
    arms.ended(end(first, 0.25, "vanishing", "finished"))
    after = lines_of(arms)
    for other, sign in ((at_work, "…"), (after, "0.250 v 1/2")):
        assert sign in other[2]
        # Nothing else has moved.
        assert [line for i, line in enumerate(other[:3]) if i != 2] == before[:2]
        assert other[2].rindex("·") == before[2].rindex("·")
    for config in rest:
        arms.ended(end(config, 0.75, "trains", "finished"))
    whole = lines_of(arms)
    # The mean of .25 and .75, and of equally frequent diagnoses the worst.
    assert [line.split() for line in whole[1:3]] == [
        ["no-norm", "0.750", "0.750"],
        ["bn", "0.500", "v", "0.750"],
    ]


def test_what_has_no_result_is_no_figure(configs: list[Config]) -> None:
    arms = ArmsSoFar(Plan(tuple(configs), tuple(configs), 0, 0, 0, {}))
    arms.ended(end(configs[0], None, None, "failed"))
    arms.ended(Outcome("of another sweep", "finished"))
    arms.ended(end(configs[1], None, "diverged", "diverged"))
    assert lines_of(arms)[2].split() == ["bn", "–", "d", "1/2", "·"]


def test_what_was_finished_before_is_there_and_what_is_made_again_is_not(
    configs: list[Config],
) -> None:
    for config in configs[:2]:
        end(config, 0.5, "trains", "finished")
    arms = ArmsSoFar(Plan(tuple(configs), tuple(configs[1:]), 1, 0, 0, {}))
    assert lines_of(arms)[2].split() == ["bn", "0.500", "1/2", "·"]
    assert [line.split()[0] for line in lines_of(arms, rows=None)[1:-1]] == ["bn"]


def test_of_more_arms_than_rows_those_to_be_made_next_are_shown(tmp_path: Path) -> None:
    grid = grids([*TINY, f"output.root={tmp_path}", "optimizer.lr=range(1,31)"])
    configs = list(compose_grids(grid))
    arms = ArmsSoFar(Plan(tuple(configs), tuple(configs), 0, 0, 0, {}))
    for config in configs[:10]:
        arms.ended(end(config, 0.5, "trains", "finished"))
    names = [line.split()[0] for line in lines_of(arms, rows=8)[1:-1]]
    assert names == [f"lr={rate}" for rate in range(10, 15)]
    assert lines_of(arms, rows=3) == []
    assert len(lines_of(arms, rows=None)) == 12


def test_names_are_the_rows_words(configs: list[Config]) -> None:
    arms = ArmsSoFar(Plan(tuple(configs), tuple(configs), 0, 0, 0, {}))
    assert arms.names[run_id(configs[0])] == "bn, depth 3, seed 0"
    alone = ArmsSoFar(Plan(tuple(configs[:1]), (), 0, 0, 0, {}))
    assert list(alone.names.values()) == ["MLP-3 bn on gaussian"]
