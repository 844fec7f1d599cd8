"""Round values along a scale."""

import pytest

from normlab.show.terminal.bars import Scale
from normlab.show.terminal.ticks import tick_text, ticks


@pytest.mark.parametrize(
    ("scale", "most", "expected"),
    [
        (Scale(0, 1), 3, [0, 0.5, 1]),
        (Scale(0, 1), 6, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (Scale(-0.3, 2.4), 4, [0, 1, 2]),
        (Scale(1, 56), 6, [10, 20, 30, 40, 50]),
        (Scale(0.23, 0.26), 4, [0.23, 0.24, 0.25, 0.26]),
        (Scale(1e-6, 1e3, log=True), 5, [1e-6, 1e-4, 1e-2, 1, 100]),
        (Scale(1e-6, 1e3, log=True), 10, [10.0**e for e in range(-6, 4)]),
        (Scale(0.3, 20, log=True), 6, [0.5, 1, 2, 5, 10, 20]),
        (Scale(0.3, 20, log=True), 3, [1, 10]),
        (Scale(2.1, 2.9, log=True), 5, [2.2, 2.4, 2.6, 2.8]),  # within one power of ten
        (Scale(7, 7), 4, [7]),
    ],
)
def test_ticks_are_the_round_values_of_a_scale(scale, most, expected):
    assert ticks(scale, most) == pytest.approx(expected, rel=1e-12)


def test_whole_numbers_only_where_they_are_asked_for():
    assert ticks(Scale(0, 2), 9) == [0, 0.5, 1, 1.5, 2]
    assert ticks(Scale(0, 2), 9, whole=True) == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (20.0, "20"), (0.001, "0.001"), (1e-4, "1e-4"), (-2e6, "-2e6")],
)
def test_ticks_are_written_shortly(value, text):
    assert tick_text(value) == text
