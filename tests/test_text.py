"""Values as a person reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.text import brief, factor, number


@given(st.floats())
def test_a_number_takes_little_room(value: float) -> None:
    text = number(value)
    assert len(text) <= 9
    if abs(value) < 1e300:
        assert float(text) == pytest.approx(value, rel=0.06)


@given(st.floats())
def test_a_brief_figure_has_two_digits(value: float) -> None:
    text = brief(value)
    assert len(text) <= 9
    if 1e-300 < abs(value) < 1e300:
        assert float(text) == pytest.approx(value, rel=0.051)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0227, "0.023"), (799.6, "800"), (4.75, "4.8"), (0.0995, "0.10"), (1.7e-5, "1.7e-5")),
        *((9.96, "10"), (12345.0, "1.2e4"), (0.0, "0"), (-0.5, "-0.50"), (float("nan"), "–")),
    ],
)
def test_brief_figures(value: float, text: str) -> None:
    assert brief(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1.04, "1.04"), (1.003, "1.00"), (0.97, "0.97"), (0.996, "1.00"), (1.06, "1.1")),
        *((2.0, "2"), (27.4, "27"), (140.4, "140"), (1e9, ">999"), (float("nan"), "nan")),
    ],
)
def test_a_factor_near_1_says_how_near(value: float, text: str) -> None:
    assert factor(value) == text
