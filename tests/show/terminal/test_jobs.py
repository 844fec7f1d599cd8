"""A line for each run that is being made."""

import json
from pathlib import Path

import pytest
from rich.cells import cell_len

from normlab.runs import Stage
from normlab.show.terminal.jobs import Job, job_lines, jobs_at_work, telling

LONG = "bn residual lr=0.1 momentum=0.9 batch_size=128, depth {depth}, seed {seed}"
NAMES = {str(seed): LONG.format(depth=depth, seed=seed) for seed, depth in enumerate((56, 20))}
JOBS = {"0": Job(Stage(20, 40), 0.5), "1": Job(Stage(0, 40))}


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_words_that_differ_are_kept(width: int) -> None:
    lines = [line.plain for line in job_lines(JOBS, NAMES, width)]
    assert max(map(cell_len, lines)) <= width
    assert [
        "depth 56 seed 0" in lines[0].replace(",", ""),
        "depth 20 seed 1" in lines[1].replace(",", ""),
    ] == [True, True]
    assert [("momentum" in line) for line in lines] == [width == 120] * 2
    assert [line.index("━" if "━" in line else "─") for line in lines] == [lines[0].index("━")] * 2


def test_a_bar_is_as_long_as_its_share_without_colour_too() -> None:
    first, second = (line.plain for line in job_lines(JOBS, {"0": "a", "1": "b"}, 80))
    assert (first.count("━"), first.count("─")) == (10, 10)
    assert (second.count("━"), second.count("─")) == (0, 20)
    assert first.endswith("20/40  train acc 0.500")
    assert second.endswith(" 0/40")


@pytest.mark.parametrize(
    ("names", "room", "told", "dropped"),
    [
        (["bn depth 8", "ln depth 8"], 20, ["bn depth 8", "ln depth 8"], ""),
        (["bn depth 8", "ln depth 8"], 5, ["bn", "ln"], "depth 8"),
        (["bn", "bn depth 8"], 5, ["bn", "bn depth 8"], ""),  # one would have no name
        (
            ["bn momentum=0.9 lr=1", "ln momentum=0.5 lr=1"],
            11,
            ["bn mom…=0.9", "ln mom…=0.5"],
            "lr=1",
        ),
        (["momentum=0.9"], 7, ["m…=0.9"], ""),
    ],
)
def test_too_long_names_keep_what_sets_them_apart(
    names: list[str], room: int, told: list[str], dropped: str
) -> None:
    assert telling(names, room) == (told, dropped)


@pytest.mark.parametrize(
    ("progress", "job"),
    [
        ({"step": 3, "steps": 9, "resumed": 1, "train_acc": 0.5}, Job(Stage(3, 9, 1), 0.5)),
        ({"step": 3, "steps": 9}, Job(Stage(3, 9, 0))),
        ({}, Job()),
        ({"step": 9, "steps": 3}, Job()),
        ({"step": "3", "steps": 9, "train_acc": "much"}, Job(Stage(0, 9, 0))),
        ({"step": 0, "steps": 0}, Job()),
        ([1], Job()),
    ],
)
def test_a_lock_tells_how_far_its_run_is(tmp_path: Path, progress: object, job: Job) -> None:
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / "lock.json").write_text(json.dumps({"progress": progress}))
    assert jobs_at_work([tmp_path / "held", tmp_path / "free"]) == {"held": job}
