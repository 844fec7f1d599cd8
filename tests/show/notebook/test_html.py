"""What is drawn for a terminal as HTML."""

import re

import pytest
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from normlab.show import to_html
from normlab.show.notebook.blocks import Grid, Line, blocks_of
from normlab.show.terminal.plain_tables import facts_table
from normlab.show.terminal.row_tables import Row, RowTable


def body(shown: RenderableType) -> str:
    """The page without its style, in one line."""
    page = re.sub(r"<style>.*?</style>", "", to_html(shown), flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "", page)


def test_everything_is_escaped() -> None:
    table = RowTable(("<k>",), ("<c>",), [Row(("<v>",), [Text("<&>")])])
    shown = body(Group(Text("<script>"), table, "<i>"))
    assert "<script>" not in shown
    assert shown.count("&lt;") == 6
    assert "&lt;&amp;&gt;" in shown


def test_styles_become_classes() -> None:
    assert '<p><span class="dim">a</span></p>' in body(Text("a", style="dim"))
    text = Text("a", style="dim").append("b", style="bold red").append("c", style="#123456")
    assert body(text) == (
        '<div class="normlab"><p><span class="dim">a</span><b class="bold dim red">b</b>'
        '<span class="dim">c</span></p></div>'
    )


def test_rows_keep_their_keys_in_the_first_of_their_lines() -> None:
    rows = [Row(("bn",), [Text("1"), Text("2")]), Row(("bn",), [Text("3"), Text("4")], False)]
    rows.append(Row(("ln",), [Text("5"), Text("6")]))
    (grid,) = blocks_of(RowTable(("norm",), ("a", "b"), rows, left=(0,), apart=True))
    assert isinstance(grid, Grid)
    texts = [["".join(s.text for s in cell.spans) for cell in cells] for cells, _ in grid.rows]
    assert texts == [["bn", "1", "2"], ["", "3", "4"], ["ln", "5", "6"]]
    assert [apart for _, apart in grid.rows] == [False, False, True]
    assert [cell.right for cell in grid.heads] == [False, False, True]


def test_a_table_keeps_heads_styles_and_caption() -> None:
    table = Table("a", caption="said of it")
    table.add_column("b", justify="right", style="dim")
    table.add_row("1", Text("2", style="green"))
    assert body(table) == (
        '<div class="normlab"><table><thead><tr><th class="left">a</th><th>b</th></tr></thead>'
        '<tbody><tr><td class="left">1</td><td><span class="dim green">2</span></td></tr>'
        "</tbody></table><p>said of it</p></div>"
    )
    facts = facts_table()
    facts.add_row("name", Text("what"))
    assert "<thead>" not in body(facts)
    assert "<b>name</b>" in body(facts)


def test_what_is_indented_stays_so() -> None:
    blocks = blocks_of(Padding(Group(Text("in"), Table("a")), (0, 0, 1, 5)))
    assert [block.indented for block in blocks] == [True, True]
    assert 'class="indented"' in body(Padding(Text("in"), (0, 0, 0, 2)))


def test_progress_is_a_bar() -> None:
    progress = Progress(BarColumn(), TextColumn("{task.completed}/{task.total}"))
    progress.add_task("", total=4, completed=1)
    assert '<progress value="0.250"></progress>' in body(progress)
    assert "1/4" in body(progress)


@pytest.mark.parametrize("shown", [Text("▁▂█", no_wrap=True), Panel("boxed")])
def test_what_is_drawn_with_characters_stays_drawn(shown: RenderableType) -> None:
    (line,) = blocks_of(shown)
    assert isinstance(line, Line)
    assert line.drawn
    assert body(shown).startswith('<div class="normlab"><pre class="drawn">')


def test_nothing_is_said_of_an_empty_line() -> None:
    assert blocks_of(Group(Text(), Text("a"), "")) == blocks_of(Text("a"))
