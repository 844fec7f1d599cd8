"""Values as a person reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.text import number


@given(st.floats())
def test_a_number_takes_little_room(value: float) -> None:
    text = number(value)
    assert len(text) <= 9
    if abs(value) < 1e300:
        assert float(text) == pytest.approx(value, rel=0.06)
