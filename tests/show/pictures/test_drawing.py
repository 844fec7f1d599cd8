"""The registry of pictures: its facts, its options, and one picture more."""

import subprocess
import sys

import pytest
from pandas import DataFrame
from rich.console import Group
from rich.text import Text

from normlab.errors import ConfigError
from normlab.results import read_results, series
from normlab.show import PICTURES, Picture, PictureOptions, draw, sketch
from normlab.show.pictures.drawing import CURVE, PROBE
from tests.show.pictures.tables import (
    curve,
    errors,
    factors,
    history,
    profile,
    run_subject,
    subject,
)
from tests.show.terminal.printing import printed
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_runs(40, root, with_tables=True)
    return read_results([root])[0]


def test_the_command_line_asks_for_the_choices_without_loading_what_draws():
    heavy = ("torch", "pandas", "numpy", "altair", "pydantic", "rich", "jinja2")
    code = (
        "import sys; from normlab.show import PICTURES; "
        "print(*[picture.about for _, picture in PICTURES.items()], sep='; '); "
        f"assert not [m for m in {heavy} if m in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "{name} by layer; {name} layer × step of one run; {name} by epoch; "
        "train error by {name}; predicted and measured factors, {name}\n"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_sketches_fit_a_terminal(width):
    table = profile(depths=(8, 110))
    drawn = {
        "gradients": (table, subject(table)),
        "heatmap": (history(), run_subject("CNN-110 bn on digits")),
        "curves": (curve([0.1, 0.5, 0.9]), subject(table, "train_acc")),
        "depth": (errors(depths=(8, 110)), subject(table)),
        "theory": (factors(depths=(8, 110)), subject(table)),
    }
    assert set(drawn) == set(PICTURES)
    for name, (rows, about) in drawn.items():
        found = printed(PICTURES[name].sketch(rows, about, width), 300)  # nothing is cropped there
        lines = [line.rstrip() for line in found]
        assert max(len(line) for line in lines if "▁" in line or "█" in line) <= width
        assert not any("…" in line for line in lines)


def test_a_probe_or_metric_that_is_none_is_refused(frame):
    with pytest.raises(
        ConfigError, match=r"--probe delta_rm: no such probe; .*; did you mean delta_rms\?"
    ):
        sketch("gradients", frame, PictureOptions(probe="delta_rm"), 80)
    with pytest.raises(
        ConfigError,
        match=r"--metric seconds: has no curve; "
        r"choices: train_acc, test_acc, train_loss, test_loss$",
    ):
        sketch("curves", frame, PictureOptions(metric="seconds"), 80)
    # Of another picture's option nothing is asked.
    assert sketch("depth", frame, PictureOptions("none", "none"), 80)
    assert {name for name, part in PICTURES.items() if part.takes is PROBE} == {
        "gradients",
        "heatmap",
    }
    assert {name for name, part in PICTURES.items() if part.takes is CURVE} == {"curves"}


def test_a_picture_from_outside_is_drawn_as_its_own_are(frame, tmp_path):
    import altair

    def rows(subject):
        return series.errors(subject.runs)

    def chart(table: DataFrame, _):
        return altair.Chart(table).mark_bar().encode(x="variant:N", y="value:Q")

    def sketched(table: DataFrame, _, width):
        return Group(Text(f"{len(table)} bars, {width} wide"))

    PICTURES.add("bars", Picture("errors as {name}", rows, chart, sketched))
    try:
        draw("bars", frame, PictureOptions(), tmp_path / "bars.svg")
        assert printed(sketch("bars", frame, PictureOptions(), 80), 80) == ["40 bars, 80 wide"]
    finally:
        PICTURES.remove("bars")
    assert (tmp_path / "bars.svg").read_text().startswith("<svg")
