"""What is shown of skips at initialization, and that it would show if it were otherwise."""

import pytest

from normlab.claims.residual_branches import residual_stream


def test_the_stream_doubles_without_norm():
    figures = residual_stream(7)
    assert figures["factor"] == pytest.approx(2, rel=0.05)
    assert figures["increment"] == pytest.approx(1, rel=0.1)
