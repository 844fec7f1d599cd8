"""One variant, one colour, whatever else is in a picture."""

import pytest

from normlab.config import NORMS
from normlab.errors import ConfigError
from normlab.show.charts.variants import MOST_VARIANTS, OTHER_COLOURS, looks
from normlab.show.pictures import curves, depth, gradients, theory
from tests.show.pictures.tables import VARIANTS, colours, errors, profile, runs, subject


def test_a_variant_has_one_colour_wherever_it_is_drawn():
    """Colour is the norm, the dash is the skips, whatever else is in the picture."""
    table = profile()
    some = profile(variants=("bn residual", "bn plain"))
    error = errors()
    found = [
        colours(gradients.chart(table, subject(table)).to_dict()),
        colours(gradients.chart(some, subject(some)).to_dict()),
        colours(gradients.history_chart(some, subject(some)).to_dict()),
        colours(depth.chart(error, subject(error)).to_dict()),
    ]
    for other in found[1:]:
        assert {name: found[0][name] for name in other} == other
    assert found[0]["bn plain"] == found[0]["bn residual"] == NORMS["bn"].colour
    assert found[0]["ln plain"] == NORMS["ln"].colour
    every = [norm.colour for _, norm in NORMS.items()]
    assert len({*every}) == len(every)


def test_variants_that_differ_in_more_have_colours_of_their_own():
    names = [f"bn plain lr={lr}" for lr in range(MOST_VARIANTS)]
    table = profile(variants=names, depths=(8,))
    found = colours(gradients.chart(table, subject(table)).to_dict())
    assert len(set(found.values())) == MOST_VARIANTS
    many = profile(variants=[*names, "bn plain lr=99"], depths=(8,))
    with pytest.raises(ConfigError, match=r"13 variants are more than .*--where norm=bn,ln"):
        gradients.chart(many, subject(many))


def test_variants_keep_their_colours_where_a_picture_holds_only_some():
    names = [f"bn plain lr={lr}" for lr in range(6)]
    whole = profile(names, (8,))
    all_of_them = colours(gradients.chart(whole, subject(whole)).to_dict())
    some = profile(names[3:], (8,))
    among = subject(some, "delta_rms", names)
    curve = some.assign(epoch=some["layer"], runs=some["n"])
    for chart in (
        gradients.chart(some, among),
        gradients.history_chart(some, among),
        curves.chart(curve, subject(some, "train_acc", names)),
        depth.chart(some, among),
        theory.chart(some.assign(predicted=0.5), among),
    ):
        found = colours(chart.to_dict())
        assert found == {name: all_of_them[name] for name in names[3:]}
    assert len(set(all_of_them.values())) == 6


def test_a_norm_that_is_not_known_has_some_colour():
    found = looks(runs([*VARIANTS, "own plain"]), ["own plain", "bn residual"])
    assert found["own plain"].colour in OTHER_COLOURS
    assert found["bn residual"].colour == NORMS["bn"].colour
    assert (found["own plain"].dash, found["bn residual"].dash) == ((1, 0), (5, 3))
