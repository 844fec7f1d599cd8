"""Student's t against scipy."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from normlab.results.statistics import t_quantile, t_within


@given(freedom=st.integers(1, 3000), t=st.floats(0, 1e4))
def test_students_t(freedom: int, t: float) -> None:
    # P(|T| ≤ t) as a regularized incomplete beta function; scipy's own stats.t.cdf is off by 2e-12
    # for small t.
    expected = special.betainc(0.5, freedom / 2, t * t / (freedom + t * t))
    assert t_within(t, freedom) == pytest.approx(expected, abs=1e-12)
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-11)


def test_students_t_at_its_ends() -> None:
    assert t_within(math.inf, 3) == 1
    assert t_within(math.inf, 4) == 1
    assert t_within(0, 1) == 0
    assert t_within(1, 1) == pytest.approx(0.5)  # Cauchy's quartile
