"""Pictures of characters: they fit, and their bars say what the figures say."""

import math

import pytest
from rich.console import Console

from normlab.show.terminal import sketches
from tests.show.test_charts import VARIANTS, curve, history, profile


def printed(sketch, width):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(sketch)
    return capture.get().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [80, 120])
def test_sketches_fit_a_terminal(width):
    table = profile(depths=(8, 110))
    for sketch in (
        sketches.gradients(table, "delta_rms", width),
        sketches.heatmap(history(), "delta_rms", "CNN-110 bn on digits", width),
        sketches.curves(curve([0.1, 0.5, 0.9]), "train_acc", width),
        sketches.depth(table.query("step == 0 and layer == 1"), width),
        sketches.theory(table.query("step == 0").assign(predicted=0.5), width),
    ):
        lines = [line.rstrip() for line in printed(sketch, 300)]  # nothing is cropped there
        assert max(len(line) for line in lines if "▁" in line or "█" in line) <= width
        assert not any("…" in line for line in lines)


def test_bars_rise_with_the_values():
    table = profile(VARIANTS[:1], (8,))
    table["value"] = 10.0 ** table["layer"]
    line = printed(sketches.gradients(table, "delta_rms", 80), 80)[2]
    bars = [c for c in line if c in "▁▂▃▄▅▆▇█"]
    assert bars == sorted(bars)
    assert (bars[0], bars[-1]) == ("▁", "█")
    assert "10.0" in line
    assert "1.0e+07" in line


def test_names_are_no_markup():
    table = profile(("bn plain measure=[delta_rms]",), (8,))
    assert any(
        "measure=[delta_rms]" in line for line in printed(sketches.gradients(table, "x", 90), 90)
    )


def test_what_has_no_logarithm_is_marked():
    table = profile(VARIANTS[:1], (8,))
    table.loc[table["layer"] == 2, "value"] = math.nan
    lines = printed(sketches.gradients(table, "delta_rms", 80), 80)
    assert sum(line.count("∅") for line in lines[:-1]) == 2
    cells = history(20, 3)
    cells.loc[cells["layer"] == 2, "value"] = 0.0
    assert (
        sum(line.count("∅") for line in printed(sketches.heatmap(cells, "delta_rms", "x", 80), 80))
        == 3
    )
    nothing = printed(sketches.heatmap(cells.assign(value=0.0), "delta_rms", "x", 80), 80)
    assert nothing == ["delta_rms is 0 or not finite in every layer"]


def test_error_bars_are_as_long_as_the_error():
    table = profile(VARIANTS[:1], (8, 20)).query("step == 0 and layer == 1").copy()
    table["value"] = [0.25, 0.5]
    first, second = (line.count("█") for line in printed(sketches.depth(table, 80), 80)[2:4])
    assert second == pytest.approx(2 * first, abs=1)
    assert "25.0%" in printed(sketches.depth(table, 80), 80)[2]
