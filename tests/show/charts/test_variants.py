"""One variant, one colour, whatever else is in a picture."""

import colorsys
from dataclasses import replace

import pytest

from normlab.config import NORMS
from normlab.errors import ConfigError
from normlab.show.charts.variants import MOST_COLOURS, OTHER_COLOURS, looks
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
        colours(depth.chart(error, subject(error, "train_error")).to_dict()),
    ]
    for other in found[1:]:
        assert {name: found[0][name] for name in other} == other
    assert found[0]["bn plain"] == found[0]["bn residual"] == NORMS["bn"].colour
    assert found[0]["ln plain"] == NORMS["ln"].colour
    every = [norm.colour for _, norm in NORMS.items()]
    assert len({*every}) == len(every)


def test_an_ordered_second_key_is_a_shade_of_the_norms_colour():
    """BatchNorm's blue from light to dark by the rate, other norms in their own colours."""
    names = [f"{norm} plain lr={lr}" for norm in ("bn", "ln", "no-norm") for lr in (0.01, 0.1, 1)]
    found = looks(runs(names), names)
    light, middle, dark = (found[f"bn plain lr={lr}"].colour for lr in (0.01, 0.1, 1))
    # (hue, lightness, saturation) by Python's own library
    hls = [colorsys.rgb_to_hls(*rgb(colour)) for colour in (light, middle, dark)]
    own = colorsys.rgb_to_hls(*rgb(NORMS["bn"].colour))
    assert [hue for hue, _, _ in hls] == pytest.approx([own[0]] * 3, abs=0.01)
    assert hls[0][1] > hls[1][1] > hls[2][1]
    assert len({look.colour for look in found.values()}) == 9
    greys = [rgb(found[f"no-norm plain lr={lr}"].colour) for lr in (0.01, 0.1, 1)]
    assert all(len(set(grey)) == 1 for grey in greys)
    assert greys[2] == (0, 0, 0)
    # One norm with rates has shades too; with names, which have no order, colours of their own.
    assert looks(runs(names[:3]), names[:1])[names[0]].colour == light
    words = [f"bn plain activation={name}" for name in ("relu", "tanh")]
    assert {look.colour for look in looks(runs(words), words).values()} <= set(OTHER_COLOURS)


def rgb(colour):
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def test_variants_that_differ_in_more_have_colours_of_their_own():
    names = [f"bn plain data=d{name:02}" for name in range(MOST_COLOURS)]
    table = profile(variants=names, depths=(8,))
    found = colours(gradients.chart(table, subject(table)).to_dict())
    assert len(set(found.values())) == MOST_COLOURS
    many = profile(variants=[*names, "bn plain data=d99"], depths=(8,))
    with pytest.raises(ConfigError, match=r"13 variants are more than .*--where norm=bn,ln"):
        gradients.chart(many, subject(many))
    rates = [f"{norm} plain lr={lr}" for norm in ("bn", "ln", "no-norm") for lr in range(1, 9)]
    table = profile(variants=rates, depths=(8,))
    drawn = gradients.chart(table, subject(table)).to_dict()
    assert len(set(colours(drawn).values())) == len(rates) == 24


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
        depth.chart(some.assign(x=some["depth"]), replace(among, figure="train_error")),
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
