"""Gradients by layer: what is encoded, on which scales, and what has no place there."""

import json
import math

import pandas
import pytest

from normlab.errors import ConfigError
from normlab.show.charts.panels import MOST_DEPTHS
from normlab.show.pictures import gradients
from tests.show.pictures.tables import VARIANTS, encodings, profile, rows, subject
from tests.show.terminal.printing import printed


def drawn(table, figure="delta_rms"):
    return gradients.chart(table, subject(table, figure)).to_dict()


def slider_of(table):
    found = gradients.history_chart(table, subject(table)).to_dict()
    (slider,) = [p for p in found["params"] if p["name"] == "snapshot"]
    return found, slider["bind"]


def sketched(table, width=80, figure="delta_rms"):
    return printed(gradients.sketch(table, subject(table, figure), width), width)


def test_gradients_stand_on_a_log_scale_of_at_least_four_decades():
    for table in (profile(), profile(value=0.1)):
        scales = [e["y"]["scale"] for e in encodings(drawn(table)) if "scale" in e.get("y", {})]
        assert scales
        for scale in scales:
            assert scale["type"] == "log"
            low, high = scale["domain"]
            assert math.log10(high / low) >= 4 - 1e-9


def test_gradients_show_init_and_end_a_panel_a_depth():
    found = drawn(profile())
    assert found["facet"]["column"]["sort"] == ["at init", "at the end"]
    assert found["facet"]["row"]["sort"] == ["depth 8", "depth 20"]
    assert {row["place"] for row in rows(found)} == {"init", "end"}


@pytest.mark.parametrize(
    ("probe", "title"),
    [
        ("delta_rms", "Gradient by layer, depth 8"),
        ("grad_norm", "Gradient by layer, depth 8"),
        ("mean_delta", "Gradient by layer, depth 8"),
        ("sample_cosine", "Cosine between samples by layer, depth 8"),
    ],
)
def test_the_title_says_what_is_drawn(probe, title):
    assert drawn(profile(depths=(8,)), probe)["title"]["text"] == title


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
    assert found["title"]["subtitle"].endswith("; 4 of 9 depths")
    assert "depths" not in drawn(profile())["title"]["subtitle"]


# ------------------------------------------------------------------------ all snapshots


def test_the_slider_goes_through_every_snapshot():
    found, slider = slider_of(profile())
    assert (slider["min"], slider["max"]) == (0, 1)
    assert "datum.snapshot == snapshot" in json.dumps(found)
    assert {row["snapshot"] for row in rows(found)} == {0, 1}


def test_long_histories_are_thinned_and_say_so():
    table = profile(VARIANTS, (110,))
    steps = [table.assign(step=step) for step in range(100)]
    found, slider = slider_of(pandas.concat(steps, ignore_index=True).drop_duplicates())
    assert len(rows(found)) <= gradients.MOST_ROWS
    kept = slider["max"] + 1
    assert found["title"]["subtitle"].endswith(f"; {kept} of 100 snapshots")
    assert {row["snapshot"] for row in rows(found)} == set(range(kept))
    assert {0, 99} < {row["step"] for row in rows(found)}


# ------------------------------------------------------------------------------ sketches


def test_bars_rise_with_the_values():
    table = profile(VARIANTS[:1], (8,))
    table["value"] = 10.0 ** table["layer"]
    line = sketched(table)[2]
    bars = [c for c in line if c in "▁▂▃▄▅▆▇█"]
    assert bars == sorted(bars)
    assert (bars[0], bars[-1]) == ("▁", "█")
    assert "10.0" in line
    assert "1.0e+07" in line


def test_names_are_no_markup():
    table = profile(("bn plain measure=[delta_rms]",), (8,))
    assert any("measure=[delta_rms]" in line for line in sketched(table, 90, "act_mean"))


def test_what_has_no_logarithm_is_marked():
    table = profile(VARIANTS[:1], (8,))
    table.loc[table["layer"] == 2, "value"] = math.nan
    assert sum(line.count("∅") for line in sketched(table)[:-1]) == 2
