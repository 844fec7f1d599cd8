"""Student's t against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from normlab.analysis import interval
from normlab.analysis.statistics import means_by_cell, rounding_of, t_beyond, t_quantile, t_within


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


@given(freedom=st.integers(1, 300), t=st.floats(0.01, 1e6))
def test_small_tails(freedom: int, t: float) -> None:
    expected = special.betainc(freedom / 2, 0.5, freedom / (freedom + t * t))
    assert t_beyond(t, freedom) == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_tails_at_their_ends() -> None:
    assert t_beyond(0, 3) == 1
    assert t_beyond(math.inf, 3) == 0
    assert t_beyond(1e300, 1) == pytest.approx(2 / math.pi / 1e300)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.sampled_from([1e-200, 1.0, 1e200]))
def test_means_of_figures_of_any_size(values: list[float], unit: float) -> None:
    figures = np.array(values) * unit
    cell = np.zeros(len(values), dtype=np.int64)
    means = means_by_cell(figures, cell, 1, rounding_of(figures, log=False))
    if np.ptp(values) > 1e-9:
        test = stats.ttest_1samp(values, 0)
        assert means.p_values()[0] == pytest.approx(test.pvalue, rel=1e-6)
        assert means.std[0] / unit == pytest.approx(np.std(values, ddof=1))
        bounds = [bound[0] / unit for bound in means.bounds(logarithmic=False)]
        assert bounds == pytest.approx([np.mean(values), *test.confidence_interval()], abs=1e-6)


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-12])
def test_a_p_is_never_0_by_rounding(noise: float) -> None:
    figures = 1 + noise * np.array([-1.0, 0.5, 1.0, -0.25, 0.75, -1.0, 0.0, 0.5, -0.5, 0.25])
    cell = np.zeros(len(figures), dtype=np.int64)
    p = means_by_cell(figures, cell, 1, rounding_of(figures, log=False)).p_values()[0]
    assert 0 < p < 1e-20
    assert p == pytest.approx(stats.ttest_1samp(figures, 0).pvalue, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3e-300, 1e308])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_of_equal_figures_nothing_can_be_inferred(value: float, n: int) -> None:
    figures = np.full(n, value)
    cell = np.zeros(n, dtype=np.int64)
    means = means_by_cell(figures, cell, 1, rounding_of(figures, log=False))
    assert means.mean.tolist() == [value]
    assert means.std.tolist() == pytest.approx([0.0 if n > 1 else math.nan], nan_ok=True)
    assert np.isnan([means.half(), means.p_values()]).all()
    mean, low, high = interval(figures.tolist())
    assert (mean, math.isnan(low), math.isnan(high)) == (value, True, True)


def test_a_geometric_mean_with_a_zero_is_zero() -> None:
    mean, low, high = interval([0.0, 2.0], log=True)
    assert (mean, math.isnan(low), math.isnan(high)) == (0.0, True, True)
    assert math.isnan(interval([-1.0, 2.0], log=True)[0])
