"""Line charts of braille characters, read back dot by dot."""

import math
import unicodedata

import pytest

from normlab.show.terminal.line_charts import MARKERS, Axis, Line, line_chart
from tests.show.terminal.printing import printed


def drawn(*arguments: object, width: int = 60, height: int = 14) -> list[str]:
    return printed(line_chart(*arguments, width, height), width)


def dots(lines: list[str]) -> tuple[dict[int, list[float]], int]:
    """The rows of dots, counted from the bottom, in each column of dots; and how many there are.

    By the characters' Unicode names, which number the dots 1 2 3 7 down the left column and
    4 5 6 8 down the right one.
    """
    rows = [line.partition("│")[2] or line.partition("┤")[2] for line in lines]
    cells = [row for row in rows if row]
    found: dict[int, list[float]] = {}
    for above, row in enumerate(cells):
        for across, cell in enumerate(row):
            name = unicodedata.name(cell, "")
            for digit in name.rpartition("DOTS-")[2] if "DOTS-" in name else "":
                column, down = divmod("12374568".index(digit), 4)
                height = 4 * len(cells) - 1 - (4 * above + down)
                found.setdefault(2 * across + column, []).append(height)
    return found, 4 * len(cells)


def test_a_straight_line_is_straight_to_half_a_dot():
    lines = drawn([Line("", [(0, 0), (10, 10)])], Axis(), Axis())
    found, rows = dots(lines)
    columns = max(found) + 1
    assert min(found) == 0
    for column, heights in found.items():
        share = column / (columns - 1)
        assert [abs(h - share * (rows - 1)) <= 0.51 for h in heights] == [True] * len(heights)


def test_a_power_law_is_straight_on_logarithmic_axes():
    points = [(x, x**-3) for x in range(1, 100)]
    found, rows = dots(drawn([Line("", points)], Axis(log=True), Axis(log=True)))
    columns = max(found) + 1
    for column, heights in found.items():
        expected = (1 - column / (columns - 1)) * (rows - 1)
        assert min(abs(h - expected) for h in heights) <= 1


@pytest.mark.parametrize("log", [False, True])
def test_a_tick_stands_beside_its_value(log):
    # Level lines, one a tick: a row with a tick holds a line at just its value's height.
    values = [1, 10, 100, 1000] if log else [0, 250, 500, 750, 1000]
    levels = [Line("", [(0, value), (1, value)]) for value in values]
    chart = line_chart(levels, Axis(), Axis(log=log), 60, 16)
    lines = printed(chart, 60)[:13]
    rows = 4 * len(lines)
    for number, line in enumerate(lines):
        head, ticked, rest = line.partition("┤")
        value = float(head) if ticked else -1.0
        if value in values:
            place = math.log(value, 1000) if log else value / 1000
            assert number == round((1 - place) * (rows - 1)) // 4
        # Between them nothing is drawn.
        assert bool(rest.strip()) == (value in values)


def test_layers_are_named_below_their_columns_the_ends_first():
    lines = drawn([Line("", [(x, x) for x in range(1, 57)])], Axis("layer", whole=True), Axis())
    line, values = lines[-2:]
    assert values.split() == ["layer", "1", "10", "20", "30", "40", "50", "56"]
    first, columns = line.index("└") + 1, len(line.rstrip()) - line.index("└") - 1
    for value in (1, 10, 20, 30, 40, 50, 56):
        column = round((value - 1) / 55 * (2 * columns - 1)) // 2
        assert line[first + column] == "┬"
        middle = values.index(f" {value} " if value < 56 else " 56") + 1 + (value > 9) * 0.5
        assert abs(middle - (first + column)) <= 1


@pytest.mark.parametrize(("width", "height"), [(60, 14), (80, 24), (120, 30)])
def test_it_is_as_large_as_asked_for(width, height):
    lines = [Line(name, [(1, 0.5), (56, 1e-6 * i)]) for i, name in enumerate("abcd", start=1)]
    chart = drawn(
        lines, Axis("layer", whole=True), Axis("gradient", log=True), width=width, height=height
    )
    assert len(chart) == height
    assert max(map(len, chart)) == width


def test_lines_one_over_the_other_all_show_their_markers():
    same = [Line(f"net {i}", [(1, 1.0), (20, 1.0), (56, 2.0)]) for i in range(5)]
    *chart, legend = drawn(same, Axis(), Axis())
    for marker, line in zip(MARKERS, same, strict=False):
        assert any(marker in row for row in chart)
        assert f"{marker} {line.name}" in legend


def test_what_has_no_place_is_a_gap_and_counted():
    line = Line("a", [(0, 1.0), (1, 1.0), (2, 0.0), (3, math.nan), (4, 1.0)])
    *chart, note = drawn([line], Axis(), Axis(log=True))
    assert note == "2 points without a place on the axes: a 2"
    found, _ = dots(chart)
    last = max(found)
    assert [c for c in found if last / 4 + 1 < c < last] == []


def test_nothing_to_draw_and_a_single_point_are_drawn():
    assert "┤" in "".join(drawn([], Axis(), Axis(log=True)))
    found, _ = dots(drawn([Line("", [(3, 5.0)])], Axis(whole=True), Axis()))
    assert sum(map(len, found.values())) == 1
