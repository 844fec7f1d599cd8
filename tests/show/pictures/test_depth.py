"""A final figure by depth, or by another key."""

import math
import re

import pandas
import pytest

from normlab.analysis import read_results
from normlab.errors import ConfigError
from normlab.show import PictureOptions, Screen, draw, sketch
from normlab.show.pictures import depth
from tests.show.pictures.tables import VARIANTS, encodings, errors, rows, subject
from tests.show.terminal.printing import printed
from tests.tools.synthetic_results import write_runs


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_runs(80, root)
    return read_results([root])[0]


def drawn(table, figure="train_error"):
    return depth.chart(table, subject(table, figure)).to_dict()


def test_depth_without_any_finite_error_is_refused():
    table = errors(value=math.nan)
    with pytest.raises(ConfigError, match="the train error is finite in no run"):
        drawn(table)


def test_guessing_stands_by_the_number_of_classes():
    """An error of 1 − 1/10 where there are ten classes, and a line for each number of them."""
    table = errors(VARIANTS[:2], (8, 20))

    def places(about):
        found = encodings(depth.chart(table, about).to_dict())
        return {e["y"]["datum"] for e in found if "datum" in e.get("y", {})}

    about = subject(table, "train_error")
    assert places(about) == {0.9}
    about.runs["classes"] = [10, 4]
    assert places(about) == {0.9, 0.75}
    assert places(subject(table, "train_loss")) == set()


def test_one_depth_is_refused_with_what_could_be_drawn(frame):
    one = frame[frame["model.depth"] == 20]
    with pytest.raises(
        ConfigError, match=r"model.depth: is 20 in every run, .*; --x norm draws by what varies$"
    ):
        sketch("depth", one, PictureOptions(), Screen(80, 24))


def test_another_key_and_metric(frame, tmp_path):
    options = PictureOptions(x="optimizer.lr", metric="gradient_ratio_init")
    draw("depth", frame, options, tmp_path / "a.svg")
    picture = (tmp_path / "a.svg").read_text()
    assert "First over last layer's gradient at init by optimizer.lr" in picture
    assert all(f">depth {number}<" in picture for number in (8, 20, 56, 110))
    assert "lr=0.1" not in picture  # the key on the axis sets no variant apart
    one = frame[frame["model.depth"] == 56].query("norm == 'none' or `model.residual` == True")
    words = printed(sketch("depth", one, PictureOptions(x="norm"), Screen(100, 24)), 100)
    errors_of = {"plain": [], "residual": []}
    for line in words:
        if found := re.match(r"(plain|residual) .* ([0-9.]+)%", line):
            errors_of[found[1]].append(float(found[2]))
    # Without norm a plain net of 56 layers has nine tenths of errors; nets with skips have none.
    assert len(errors_of["residual"]) == 4
    assert min(errors_of["plain"]) > 85 > 5 > max(errors_of["residual"])
    with pytest.raises(ConfigError, match=r"lr: no such key; did you mean optimizer.lr\?"):
        sketch("depth", frame, PictureOptions(x="lr"), Screen(80, 24))


def test_numbers_of_several_decades_stand_on_a_logarithmic_axis():
    table = pandas.concat([errors(VARIANTS[:1]).assign(x=rate) for rate in (0.001, 0.1, 1.0)])
    about = subject(table, "train_error")
    found = depth.chart(table, about).to_dict()
    (scale,) = {e["x"]["scale"]["type"] for e in encodings(found) if "scale" in e.get("x", {})}
    assert scale == "log"
    assert len(rows(found)) >= 3
