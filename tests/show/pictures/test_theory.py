"""Measured and predicted factors."""

from normlab.show.pictures import theory
from tests.show.pictures.tables import encodings, factors, subject


def test_theory_tells_skips_apart_by_shape_and_dash():
    table = factors(("bn plain", "bn residual"))
    found = list(encodings(theory.chart(table, subject(table)).to_dict()))
    for channel in ("shape", "strokeDash"):
        (scale,) = [e[channel]["scale"] for e in found if channel in e]
        assert scale["domain"] == ["bn plain", "bn residual"]
        assert scale["range"][0] != scale["range"][1]
