"""Charts as files."""

import re
import struct

import pandas
import pytest

from normlab.errors import ConfigError
from normlab.show.charts.saving import save
from normlab.show.pictures import curves, depth, gradients, heatmap, theory
from tests.show.pictures.tables import (
    VARIANTS,
    curve,
    errors,
    factors,
    marked_history,
    profile,
    run_subject,
    subject,
)


def several_curves(depths):
    return pandas.concat([curve([0.1, 0.9]).assign(depth=depth) for depth in depths])


def of(chart, table, figure="delta_rms"):
    return chart(table, subject(table, figure))


SIDES = ("width", "height")
CHARTS = {
    "gradients": lambda: of(gradients.chart, profile()),
    "one run": lambda: of(gradients.chart, profile(VARIANTS[:1], (8,), seeds=1)),
    "deep": lambda: of(gradients.chart, profile(depths=(110,))),
    "history": lambda: of(gradients.history_chart, profile()),
    "heatmap": lambda: heatmap.chart(marked_history(20, 3), run_subject("a <b> & c")),
    "curves": lambda: of(curves.chart, curve([0.1, 0.9]), "test_acc"),
    "depth": lambda: of(depth.chart, errors(depths=(8, 20)), "train_error"),
    "three panels": lambda: of(curves.chart, several_curves((8, 20, 56)), "test_acc"),
    "theory": lambda: of(theory.chart, factors(VARIANTS[:2])),
}


# Each picture is drawn as SVG, of which PNG and PDF are made: one of each is enough.
DRAWN = [*((name, "svg") for name in sorted(CHARTS)), ("deep", "png"), ("heatmap", "pdf")]


@pytest.mark.parametrize(("name", "form"), DRAWN)
def test_pictures_are_drawn(name, form, tmp_path):
    file = tmp_path / f"picture.{form}"
    save(CHARTS[name](), file)
    head = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[form]
    content = file.read_bytes()
    assert content.startswith(head)
    assert len(content) > 5000
    assert [p.name for p in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("name", ["depth", "three panels", "gradients", "heatmap"])
def test_a_file_has_the_size_that_was_asked_for(name, tmp_path):
    save(CHARTS[name](), tmp_path / "a.svg", (900, 520))
    head = (tmp_path / "a.svg").read_text()[:400]
    width, height = (float(re.search(rf' {side}="([0-9.]+)"', head)[1]) for side in SIDES)
    assert (width, height) == (pytest.approx(900, abs=2), pytest.approx(520, abs=2))


def test_a_png_has_two_by_two_pixels_for_one_of_the_size(tmp_path):
    save(CHARTS["depth"](), tmp_path / "a.png", (900, 520))
    # A PNG's size stands in its first chunk.
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert (width, height) == (pytest.approx(1800, abs=4), pytest.approx(1040, abs=4))


def test_a_size_without_room_for_what_stands_around_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--size 90x60: does not fit this picture"):
        save(CHARTS["depth"](), tmp_path / "a.svg", (90, 60))
    assert list(tmp_path.iterdir()) == []


def test_a_page_holds_all_it_needs(tmp_path):
    file = tmp_path / "picture.html"
    save(CHARTS["curves"](), file)
    page = file.read_text()
    assert "<script src=" not in page
    assert "vegaEmbed" in page


def test_nothing_in_a_page_ends_its_script(tmp_path):
    file = tmp_path / "picture.html"
    title = "</script><img src=x onerror=alert(1)>"
    save(heatmap.chart(marked_history(20, 3), run_subject(title)), file)
    own = file.read_text().split("<script>")[0]
    assert "<img" not in own
    assert "\\u003c/script" in own


def test_other_suffixes_are_refused(tmp_path):
    for name, shown in (("a.jpg", ".jpg"), ("a", "a file without a suffix")):
        with pytest.raises(ConfigError, match=f"cannot write {shown}; choices: .png, .svg"):
            save(CHARTS["curves"](), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
