"""Metrics by epoch."""

import math

import pandas
import pytest

from normlab.errors import ConfigError
from normlab.show import Screen
from normlab.show.pictures import curves
from tests.show.pictures.tables import curve, encodings, subject
from tests.show.terminal.printing import printed, text_of


def scale(values, metric):
    table = curve(values)
    drawn = curves.chart(table, subject(table, metric)).to_dict()
    return next(e["y"]["scale"] for e in encodings(drawn) if "scale" in e.get("y", {}))


def test_accuracy_goes_from_0_to_1_and_loss_is_logarithmic():
    assert scale([0.1, 0.5, 0.9], "train_acc")["domain"] == [0, 1]
    assert scale([2.3, 0.5, 0.01], "train_loss")["type"] == "log"
    assert scale([2.3, 0.5, 0.0], "train_loss")["type"] == "linear"
    with pytest.raises(ConfigError, match="train_loss: is finite in no run"):
        scale([math.nan, math.nan], "train_loss")


def test_seeds_that_are_left_are_told():
    table = curve([0.1, 0.5, 0.9])
    whole = subject(table, "train_acc")
    assert "runs left" not in text_of(curves.sketch(table, whole, Screen(80, 24)), 80)
    table.loc[2, "n"] = table["runs"].max() - 1
    words = f"runs left at the end, the others diverged: {table['variant'][2]} depth"
    assert words in text_of(curves.sketch(table, whole, Screen(120, 30)), 120)
    drawn = curves.chart(table, whole).to_dict()
    assert words in drawn["title"]["subtitle"][-1]


def test_epochs_are_whole_and_chance_is_one_of_ten_classes():
    table = curve([0.1, 0.5, 0.9])
    found = list(encodings(curves.chart(table, subject(table, "train_acc")).to_dict()))
    axes = [e["x"]["axis"] for e in found if "axis" in e.get("x", {})]
    assert {(axis["tickMinStep"], axis["format"]) for axis in axes} == {(1, "d")}
    assert {e["y"]["datum"] for e in found if "datum" in e.get("y", {})} == {0.1}
    loss = curves.chart(table, subject(table, "train_loss")).to_dict()
    assert not any("datum" in e.get("y", {}) for e in encodings(loss))


@pytest.mark.parametrize(("depths", "columns"), [((8, 20), 2), ((8, 20, 56), 3), (range(4), 2)])
def test_panels_fill_their_rows_and_share_their_scales(depths, columns):
    """An empty place would have an axis of its own below it."""
    table = pandas.concat([curve([0.1, 0.9]).assign(depth=depth) for depth in depths])
    drawn = curves.chart(table, subject(table, "train_acc")).to_dict()
    assert drawn["columns"] == columns
    assert len(drawn["facet"]["sort"]) % columns == 0
    assert "resolve" not in drawn


def test_a_sketch_has_a_panel_a_depth_and_a_line_of_chance():
    table = pandas.concat([curve([0.1, 0.9]).assign(depth=depth) for depth in (8, 20)])
    lines = printed(curves.sketch(table, subject(table, "train_acc"), Screen(100, 30)), 100)
    assert lines[0] == "Train accuracy by epoch"
    assert "depth 8" in lines[2]
    assert "depth 20" in lines[2]
    assert "chance" in lines[-1]
    assert 20 <= len(lines) <= 30
    # Ten classes: the line of chance stands at a tenth of the height from 0 to 1.
    marked = [number for number, line in enumerate(lines[:-1]) if "○" in line]
    top, bottom = (
        next(n for n, s in enumerate(lines) if s.strip().startswith(t)) for t in ("1┤", "0┤")
    )
    assert marked == [pytest.approx(bottom - (bottom - top) / 10, abs=1)] * len(marked)
    assert marked
