"""δ of every layer in one line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.show.terminal.strips import BARS, gradient_strip, ratio_style


def test_strips_lie_under_one_another() -> None:
    strips = [
        gradient_strip("δ", [scale * 1.5**i for i in range(60)], 80).plain for scale in (1, 1e-9)
    ]
    assert len({strip.index(" output") for strip in strips}) == 1


def test_a_strip_draws_a_bar_a_layer_on_a_log_scale() -> None:
    deltas = [10.0**power for power in range(-7, 1)]  # eight bars, eight decades
    text = gradient_strip("δ", [*deltas, 1.0], 80).plain
    bars = list(text.split("input ")[1].split(" output")[0])
    assert "".join(dict.fromkeys(bars)) == BARS
    assert "min 1.0e-07 max 1.00" in text


def test_a_level_gradient_looks_level() -> None:
    text = gradient_strip("δ", [1.0, 0.8, 1.2, 0.9, 1.0], 80).plain
    assert set(text.split("input ")[1].split(" output")[0]) <= set(BARS[-2:])


@pytest.mark.parametrize(
    ("deltas", "mark"),
    [
        ([0.0, 0.0, 1.0, 1.0], "·"),
        ([math.inf, 1.0, 1.0], "!"),
        ([math.nan, 1.0], "!"),
        ([0.0], "·"),
    ],
)
def test_a_strip_marks_what_has_no_logarithm(deltas: list[float], mark: str) -> None:
    assert mark in gradient_strip("δ", deltas, 80).plain


@given(
    deltas=st.lists(st.floats(), min_size=1, max_size=300),
    width=st.integers(70, 200),
)
def test_any_strip_fits(deltas: list[float], width: int) -> None:
    assert len(gradient_strip("δ at step 10", [abs(d) for d in deltas], width)) <= width


@pytest.mark.parametrize(
    ("ratio", "style"),
    [
        (1e-9, "blue"), (0.05, "cyan"), (0.5, "green"), (1, "green"), (2.0, "green"),
        (50, "yellow"), (1e3, "red"), (math.inf, "red"), (math.nan, "red"),
    ],
)  # fmt: skip
def test_colours(ratio: float, style: str) -> None:
    assert ratio_style(ratio) == style
