"""The registry of pictures: its facts, its options, and one picture more."""

import subprocess
import sys

import pytest
from pandas import DataFrame
from rich.console import Group
from rich.text import Text

from normlab.analysis import read_results, series
from normlab.errors import ConfigError
from normlab.show import PICTURES, Picture, PictureOptions, Screen, draw, read_size, sketch
from normlab.show.pictures.drawing import CURVE
from tests.show.pictures.tables import (
    curve,
    errors,
    factors,
    key_subject,
    marked_history,
    phases,
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
        "train error by {name}; {name} KEY KEY, a map of verdicts or of the largest depth that "
        "trains; predicted and measured factors, {name}\n"
    )


@pytest.mark.parametrize("screen", [Screen(80, 24), Screen(120, 45)])
def test_sketches_fill_a_terminal_and_are_no_wider(screen):
    table = profile(depths=(110,))
    drawn = {
        "gradients": (table, subject(table)),
        "heatmap": (marked_history(), run_subject("CNN-110 bn on digits")),
        "curves": (curve([0.1, 0.5, 0.9]), subject(table, "train_acc")),
        "depth": (errors(depths=(8, 110)), subject(table, "train_error")),
        "theory": (factors(depths=(110,)), subject(table)),
        "phase": (phases(), key_subject("model.depth", "optimizer.lr")),
    }
    assert set(drawn) == set(PICTURES)
    for name, (rows, about) in drawn.items():
        found = printed(PICTURES[name].sketch(rows, about, screen), 300)  # nothing is cropped there
        lines = [line.rstrip() for line in found]
        widest = max(len(line) for line in lines)
        assert widest <= screen.width
        assert not any("…" in line for line in lines)
        if name not in ("heatmap", "phase"):  # which have a cell for a value
            assert widest >= screen.width - 2
            assert screen.height - 6 <= len(lines) <= screen.height
    assert CURVE.default == "train_acc"


def test_a_probe_or_metric_that_is_none_is_refused(frame):
    def refused(name, pattern, **options):
        with pytest.raises(ConfigError, match=pattern):
            sketch(name, frame, PictureOptions(**options), Screen(80, 24))

    unknown = r"--probe delta_rm: no such probe; .*; did you mean delta_rms\?"
    refused("gradients", unknown, probe="delta_rm")
    no_curve = r"--metric seconds: has no curve; choices: train_acc, test_acc, .*_loss, .*_loss$"
    refused("curves", no_curve, metric="seconds")


def test_an_option_of_another_picture_is_refused(frame):
    takers = {
        option: [name for name, part in PICTURES.items() if option in part.options]
        for option in ("probe", "metric", "x")
    }
    assert takers == {
        "probe": ["gradients", "heatmap"],
        "metric": ["curves", "depth"],
        "x": ["depth"],
    }
    for name in PICTURES:
        for option, taking in takers.items():
            if name in taking:
                continue
            with pytest.raises(ConfigError, match=f"^--{option} some: plot {name} takes none; "):
                sketch(name, frame, PictureOptions(**{option: "some"}), Screen(80, 24))
    with pytest.raises(ConfigError, match=r"^--size: is of a file"):
        sketch("depth", frame, PictureOptions(size=(800, 500)), Screen(80, 24))


def test_a_size_is_a_width_and_a_height():
    assert read_size("800x500") == (800, 500)
    for text in ("800", "0x0", "axb", "800x500x3", "-8x5", "99999x10"):
        with pytest.raises(ConfigError, match=f"--size {text}: give width and height in pixels"):
            read_size(text)


def test_a_picture_from_outside_is_drawn_as_its_own_are(frame, tmp_path):
    import altair

    def rows(subject):
        return series.finals(subject.runs, "train_error")

    def chart(table: DataFrame, _):
        return altair.Chart(table).mark_bar().encode(x="variant:N", y="value:Q")

    def sketched(table: DataFrame, _, screen):
        return Group(Text(f"{len(table)} bars, {screen.width} wide"))

    PICTURES.add("bars", Picture("errors as {name}", rows, chart, sketched))
    try:
        draw("bars", frame, PictureOptions(), tmp_path / "bars.svg")
        sketched_bars = sketch("bars", frame, PictureOptions(), Screen(80, 24))
        assert printed(sketched_bars, 80) == ["40 bars, 80 wide"]
    finally:
        PICTURES.remove("bars")
    assert (tmp_path / "bars.svg").read_text().startswith("<svg")
