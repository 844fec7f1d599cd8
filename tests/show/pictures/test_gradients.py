"""Gradients by layer: what is encoded, on which scales, and what has no place there."""

import json
import math

import pandas
import pytest

from normlab.errors import ConfigError
from normlab.show import Screen
from normlab.show.charts.panels import MOST_DEPTHS
from normlab.show.charts.saving import specification
from normlab.show.pictures import gradients
from tests.show.pictures.tables import VARIANTS, encodings, profile, rows, subject
from tests.show.terminal.printing import printed


def drawn(table, figure="delta_rms"):
    return gradients.chart(table, subject(table, figure)).to_dict()


def slider_of(table):
    found = specification(gradients.history_chart(table, subject(table)))
    assert [p["value"] for p in found["params"] if p["name"] == "snapshot"] == [0]
    return found, found["usermeta"]["snapshots"]


def sketched(table, width=80, figure="delta_rms"):
    return printed(gradients.sketch(table, subject(table, figure), Screen(width, 30)), width)


def test_gradients_stand_on_a_log_scale_of_at_least_four_decades():
    for table in (profile(), profile(value=0.1)):
        scales = [e["y"]["scale"] for e in encodings(drawn(table)) if "scale" in e.get("y", {})]
        assert scales
        for scale in scales:
            assert scale["type"] == "log"
            low, high = scale["domain"]
            assert math.log10(high / low) >= 4 - 1e-9


def test_blocks_are_called_so_in_picture_and_sketch():
    table = profile(depths=(8,)).assign(unit="block")
    found = drawn(table, "token_cosine")
    assert found["title"]["text"] == "Cosine between tokens by block"
    titles = {e["x"]["title"] for e in encodings(found) if "title" in e.get("x", {})}
    assert titles == {"block, from the input"}
    assert "by block" in sketched(table, figure="token_cosine")[0]
    mixed = pandas.concat([table, profile(depths=(20,)).assign(unit="layer")])
    assert drawn(mixed)["title"]["text"] == "Gradient by layer or block"


def test_gradients_show_init_and_end_a_panel_a_depth():
    found = drawn(profile())
    assert found["facet"]["column"]["sort"] == ["at init", "at the end"]
    assert found["facet"]["row"]["sort"] == ["depth 8", "depth 20"]
    assert {row["place"] for row in rows(found)} == {"init", "end"}


@pytest.mark.parametrize(
    ("probe", "title"),
    [
        ("delta_rms", "Gradient by layer"),
        ("grad_norm", "Gradient by layer"),
        ("mean_delta", "Gradient by layer"),
        ("sample_cosine", "Cosine between samples by layer"),
    ],
)
def test_the_title_says_what_is_drawn_of_which_networks(probe, title):
    found = drawn(profile(depths=(8,)), probe)["title"]
    assert found["text"] == title
    assert found["subtitle"][0] == "CNN-20 and ResNet-20 on digits, 110 steps"


def test_layers_are_whole_from_1_to_the_last_on_one_scale():
    found = drawn(profile(depths=(8, 20)))
    axes = [e["x"] for e in encodings(found) if "scale" in e.get("x", {})]
    assert axes
    for x in axes:
        assert x["scale"]["domain"] == [1, 19]
        assert x["axis"]["values"][0] == 1
        assert all(isinstance(tick, int) for tick in x["axis"]["values"])
    assert "resolve" not in found


def test_a_gradient_of_0_or_infinity_stands_at_the_edge():
    table = profile(depths=(8,))
    nothing = [math.nan] * 3 + [0, 2]
    table.loc[table["layer"] == 3, ["value", "low", "high", "n", "zeros"]] = nothing
    table.loc[table["layer"] == 5, ["value", "low", "high", "n", "broken"]] = nothing
    found = drawn(table)
    edges = [row for row in rows(found) if row.get("edge")]
    assert {(row["layer"], row["edge"]) for row in edges} == {(3, "0"), (5, "not finite")}
    least = min(row["low"] for row in rows(found) if row.get("low"))
    assert {row["value"] for row in edges if row["edge"] == "0"} == {least}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_gradients_without_any_finite_value_are_refused(value):
    table = profile(value=math.nan).assign(zeros=int(value == 0), broken=int(value != 0))
    with pytest.raises(ConfigError, match="every value is 0 or not finite"):
        drawn(table)


def test_at_most_four_depths_are_panels_and_the_picture_says_so():
    found = drawn(profile(depths=range(8, 62, 6)))
    panels = found["facet"]["row"]["sort"]
    assert len(panels) == MOST_DEPTHS
    assert (panels[0], panels[-1]) == ("depth 8", "depth 56")
    assert found["title"]["subtitle"][-1].endswith("; 4 of 9 depths")
    assert "depths" not in drawn(profile())["title"]["subtitle"][-1]


# ------------------------------------------------------------------------ all snapshots


def test_the_slider_goes_through_every_snapshot():
    found, names = slider_of(profile())
    assert names == ["step 0", "step 100"]
    assert "datum.snapshot == snapshot" in json.dumps(found)
    assert {row["snapshot"] for row in rows(found)} == {0, 1}


def test_long_histories_are_thinned_and_say_so():
    table = profile(VARIANTS, (110,))
    steps = [table.assign(step=step) for step in range(100)]
    found, names = slider_of(pandas.concat(steps, ignore_index=True).drop_duplicates())
    assert len(rows(found)) <= gradients.MOST_ROWS
    kept = len(names)
    assert (names[0], names[-1]) == ("step 0", "step 99")
    assert found["title"]["subtitle"][-1].endswith(f"; {kept} of 100 snapshots")
    assert {row["snapshot"] for row in rows(found)} == set(range(kept))
    assert {0, 99} < {row["step"] for row in rows(found)}


# ------------------------------------------------------------------------------ sketches


def test_lines_rise_with_the_values_on_a_logarithmic_scale():
    table = profile(VARIANTS[:1], (8,)).query("place == 'init'")
    table["value"] = 10.0 ** table["layer"]
    lines = sketched(table)
    cells = [
        (column, -row)
        for row, line in enumerate(lines)
        for column, character in enumerate(line)
        if "\u2800" < character <= "\u28ff"
    ]
    (left, low), (right, high) = min(cells), max(cells)
    # A straight line from corner to corner.
    for column, row in cells:
        share = (column - left) / (right - left)
        assert row == pytest.approx(low + share * (high - low), abs=1)
    assert high - low > 10
    labels = [line.split("┤")[0].strip() for line in lines if "┤" in line]
    assert [float(label) for label in labels] == [10.0**power for power in range(7, 0, -1)]


def test_names_are_no_markup():
    table = profile(("bn plain measure=[delta_rms]", "ln plain measure=[delta_rms]"), (8,))
    assert any("measure=[delta_rms]" in line for line in sketched(table, 90, "act_mean"))


def test_what_has_no_logarithm_is_marked():
    table = profile(VARIANTS[:1], (8,))
    table.loc[table["layer"] == 2, "value"] = math.nan
    notes = [line for line in sketched(table) if "without a place" in line]
    assert notes == ["1 point without a place on the axes: no-norm plain 1"] * 2  # init and end
