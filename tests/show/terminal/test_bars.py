"""Bars and scales of sketches."""

import math

import pytest
from pandas import Series

from normlab.show.terminal.bars import Scale, long_bar, scale_of


def test_a_value_has_a_place_between_the_ends():
    assert Scale(0.0, 4.0).place(1.0) == 0.25
    assert Scale(1.0, 100.0, log=True).place(10.0) == pytest.approx(0.5)
    assert Scale(3.0, 3.0).place(3.0) == 0.5
    for value in (0.0, -1.0, math.nan, math.inf):
        assert math.isnan(Scale(1.0, 100.0, log=True).place(value))


def test_a_scale_of_nothing_is_a_scale():
    assert scale_of(Series([], dtype=float)) == Scale(1.0, 1.0)
    assert scale_of(Series([2.0, 8.0]), log=True) == Scale(2.0, 8.0, True)


def test_a_long_bar_has_eighths():
    assert long_bar(0.5, 4) == "██"
    assert long_bar(0.5 + 1 / 32, 4) == "██▏"
    assert long_bar(math.nan, 4) == long_bar(0, 4) == ""
