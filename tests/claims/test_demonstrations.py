"""What is shown without training, against figures that must come out."""

import math

from normlab.claims.demonstrations import identity, padding


def test_the_fill_breaks_where_science_says_and_the_mask_does_not():
    figures = padding(3)
    assert figures["fill_nan_float16"] == 1
    assert figures["uniform_float32"] == 0
    assert figures["own"] == figures["own_broken"] == 0


def test_the_papers_gamma_is_off_by_what_epsilon_adds():
    """x·√v/√(v+ε): at a deviation of .01 a relative 1 − 1/√1.1."""
    figures = identity(0)
    deviation = 0.01
    most = (1 - 1 / math.sqrt(1 + 1e-5 / deviation**2)) * 4 * deviation
    assert 1e-4 < figures["naive"] < most
    assert figures["exact"] < 1e-5 < figures["naive"]
