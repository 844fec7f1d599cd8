"""A run's layers and steps as cells."""

import json
import math

import pytest
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.show import Screen, Subject
from normlab.show.pictures import heatmap
from tests.show.pictures.tables import encodings, history, rows, run_subject
from tests.show.terminal.printing import printed


def test_a_heatmap_of_110_layers_labels_some():
    drawn = heatmap.chart(heatmap.marked(history(), "delta_rms"), run_subject("CNN-110")).to_dict()
    (encoding,) = encodings(drawn)
    ticks = encoding["y"]["axis"]["values"]
    assert ticks[0] == 1
    assert len(ticks) <= 25
    assert "log" in json.dumps(encoding["color"])
    assert drawn["title"]["text"] == "CNN-110, seed 0"


def test_a_heatmap_marks_what_has_no_logarithm():
    table = history(20, 4)
    table.loc[table["layer"] == 1, "value"] = 0.0
    table.loc[table["layer"] == 2, "value"] = math.inf
    drawn = heatmap.chart(heatmap.marked(table, "delta_rms"), run_subject()).to_dict()
    assert {row["note"] for row in rows(drawn)} == {"", "exactly 0", "not finite"}
    assert "red" in drawn["title"]["subtitle"][-1]
    with pytest.raises(ConfigError, match="delta_rms: is 0 or not finite in every layer"):
        heatmap.marked(table.assign(value=0.0), "delta_rms")
    # A mean activation of 0 is a value like any other.
    assert set(heatmap.marked(table.assign(value=0.0), "act_mean")["note"]) == {""}


def test_blocks_are_called_so():
    table = heatmap.marked(history(20, 4).assign(unit="block"), "delta_rms")
    drawn = heatmap.chart(table, run_subject()).to_dict()
    (encoding,) = encodings(drawn)
    assert encoding["y"]["title"] == "block, from the input"
    assert "of every block by step" in drawn["title"]["subtitle"][-1]
    assert (
        "of every block by step"
        in printed(heatmap.sketch(table, run_subject(), Screen(80, 24)), 80)[1]
    )


def test_a_sketch_marks_it_too():
    table = history(20, 3)
    table.loc[table["layer"] == 2, "value"] = 0.0
    marked = heatmap.marked(table, "delta_rms")
    lines = printed(heatmap.sketch(marked, run_subject(), Screen(80, 24)), 80)
    assert sum(line.count("∅") for line in lines) == 3


def test_it_is_of_one_run():
    with pytest.raises(ConfigError, match="a heatmap is of one run, and these are 2; name one"):
        heatmap.rows(Subject(DataFrame({"name": ["a", "b"]}), "delta_rms"))
