"""Measured and predicted factors."""

from normlab.show.pictures import theory
from normlab.show.pictures.drawing import Screen
from tests.show.pictures.tables import encodings, factors, subject
from tests.show.terminal.printing import printed


def test_theory_tells_skips_apart_by_shape_and_dash():
    table = factors(("bn plain", "bn residual"))
    found = list(encodings(theory.chart(table, subject(table)).to_dict()))
    for channel in ("shape", "strokeDash"):
        (scale,) = [e[channel]["scale"] for e in found if channel in e]
        assert scale["domain"] == ["bn plain", "bn residual"]
        assert scale["range"][0] != scale["range"][1]


def test_the_terminals_legend_has_only_what_theory_covers():
    covered = factors(("no-norm plain",))
    both = subject(factors(("ln plain", "no-norm plain")))
    found = "\n".join(printed(theory.sketch(covered, both, Screen(80, 24)), 80))
    assert "no-norm plain, predicted" in found
    assert "ln plain" not in found
