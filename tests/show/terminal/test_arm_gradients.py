"""The gradient by layer of a sweep's arms, as lines of characters."""

from pathlib import Path

import pytest

from normlab.analysis import read_results
from normlab.show.terminal.arm_gradients import LEAST_LAYERS, MOST_ARMS, MOST_RUNS, arm_gradients
from tests.show.terminal.printing import printed
from tests.tools.synthetic_results import write_runs


@pytest.mark.parametrize("width", [80, 120])
def test_each_arm_has_a_line_in_both_panels_on_one_scale(tmp_path: Path, width: int) -> None:
    write_runs(40, tmp_path, with_tables=True)
    frame, _ = read_results([tmp_path])
    few = frame[frame["optimizer.lr"] == 0.1]
    drawn = arm_gradients(few, width)
    assert drawn is not None
    lines = [line.rstrip() for line in printed(drawn, width)]
    depth = few["model.depth"].max()
    assert lines[0] == (
        f"Gradient by layer at depth {depth}, as a multiple of the last hidden layer's"
    )
    assert lines[1].startswith("at init  ")
    assert lines[1].endswith("at the end")
    assert max(map(len, lines)) <= width
    body = "".join(lines[2:-2])
    for marker in "●■":
        assert body.count(marker) >= 2
    ticks = [line.split("┤")[0].split()[-1] for line in lines if line.count("┤") == 2]
    right = [line.split("┤")[1].split()[-1] for line in lines if line.count("┤") == 2]
    assert ticks == right
    assert f"{depth - 1}" in lines[-2]


def test_what_would_show_nothing_is_not_drawn(tmp_path: Path) -> None:
    write_runs(40, tmp_path, with_tables=True)
    frame, _ = read_results([tmp_path])
    one = frame.iloc[[0]]
    assert arm_gradients(one, 80) is not None
    assert arm_gradients(one.assign(**{"model.depth": LEAST_LAYERS - 1}), 80) is None
    assert arm_gradients(frame.iloc[[0] * (MOST_RUNS + 1)], 80) is None
    many = frame.iloc[[0] * (MOST_ARMS + 1)].reset_index(drop=True)
    ids = [f"run {i}" for i in range(len(many))]
    apart = many.assign(**{"run_id": ids, "optimizer.lr": range(len(many))})
    assert arm_gradients(apart, 80) is None
    assert arm_gradients(apart.iloc[:MOST_ARMS], 80) is not None
    gone = one.assign(folder=str(tmp_path / "nowhere"))
    assert arm_gradients(gone, 80) is None
