"""Train error by depth."""

import math

import pytest

from normlab.errors import ConfigError
from normlab.show.pictures import depth
from tests.show.pictures.tables import VARIANTS, errors, subject
from tests.show.terminal.printing import printed


def test_depth_without_any_finite_error_is_refused():
    table = errors(value=math.nan)
    with pytest.raises(ConfigError, match="finite in no run"):
        depth.chart(table, subject(table))


def test_error_bars_are_as_long_as_the_error():
    table = errors(VARIANTS[:1], (8, 20)).assign(value=[0.25, 0.5])
    lines = printed(depth.sketch(table, subject(table), 80), 80)[2:4]
    first, second = (line.count("█") for line in lines)
    assert second == pytest.approx(2 * first, abs=1)
    assert "25.0%" in lines[0]
