"""Metrics by epoch."""

import math

import pytest

from normlab.errors import ConfigError
from normlab.show.pictures import curves
from tests.show.pictures.tables import curve, encodings, subject
from tests.show.terminal.printing import text_of


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
    assert "runs left" not in text_of(curves.sketch(table, whole, 80), 80)
    table.loc[2, "n"] = table["runs"].max() - 1
    words = f"runs left at the end, the others diverged: {table['variant'][2]} depth"
    assert words in text_of(curves.sketch(table, whole, 120), 120)
    drawn = curves.chart(table, whole).to_dict()
    assert words in drawn["title"]["subtitle"][1]
