import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame
from rich.cells import cell_len
from rich.console import Console, RenderableType

from normlab.results import layout, paired, read_results, summarize
from normlab.show import comparison, counts_line, runs_table
from normlab.show.terminal.comparisons import (
    comparison_grid,
    comparison_table,
    paired_table,
    to_csv,
    to_json_rows,
    to_latex,
    to_markdown,
)
from tests.tools.synthetic_results import write_runs

METRICS = ["train_acc", "gradient_ratio_end"]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    root: Path = tmp_path_factory.mktemp("many")
    write_runs(300, root)
    return read_results([root])[0]


def printed(renderable: RenderableType, width: int = 80, color: Any = None) -> str:
    console = Console(width=width, color_system=color, force_terminal=color is not None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def tidy(**columns: Any) -> DataFrame:
    """Rows as summarize gives them."""
    size = len(next(iter(columns.values())))
    rest = {"low": math.nan, "high": math.nan, "n": 1, "verdict": "trains"}
    zeros = dict.fromkeys(("zeros", "missing", "diverged", "left_out"), 0)
    return DataFrame(
        {**{k: [v] * size for k, v in {**rest, **zeros}.items()}, "metric": "train_acc", **columns}
    )


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("metrics", [["train_acc"], METRICS, [*METRICS, "seconds", "test_loss"]])
def test_the_comparison_fits(frame: DataFrame, width: int, metrics: list[str]) -> None:
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, metrics)
    text = printed(comparison_table(summary, rows, cols, width=width, notes=["a note"]), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "a note" in text
    if width >= 80:
        for depth in (8, 20, 56, 110):
            assert f"depth {depth}" in text
        assert len(re.findall(r"0\.\d{3} ±0\.\d{3}", text)) >= 40


def test_a_wide_comparison_continues_below(frame: DataFrame) -> None:
    rows, cols = layout(frame)
    table = comparison_table(summarize(frame, rows, cols, METRICS), rows, cols, width=60)
    text = printed(table, 60)
    assert text.index("depth 8") < text.index("depth 110")
    assert text.count("residual") > 5


def test_cells_say_what_they_stand_for() -> None:
    summary = tidy(
        norm=["bn"] * 8,
        metric=["train_acc", "train_acc", "gradient_ratio_end"] + ["gradient_ratio_init"] * 5,
        case=[1, 2, 3, 4, 5, 6, 7, 8],
        mean=[0.5, 0.5, 1e-4, 0.0, 2.0, math.nan, math.nan, 1.0],
        low=[0.4, math.nan, 1e-5, math.nan, 1.0, math.nan, math.nan, 1e-9],
        high=[0.6, math.nan, 1e-3, math.nan, 4.0, math.nan, math.nan, 1e9],
        n=[3, 1, 3, 0, 2, 0, 0, 3],
        zeros=[0, 0, 0, 2, 1, 0, 0, 0],
        missing=[0, 0, 0, 0, 0, 1, 2, 0],
        verdict=["vanishing", "trains", *["trains"] * 6],
    )
    grid = comparison_grid(summary, ["norm", "case"], [])
    texts = [cell.text for line in grid.lines for cell in line.cells if cell.text]
    assert texts == [
        "0.500 ±0.100 v",
        "0.500*",
        "1.0e-04 ×÷10",
        "0",
        "2.00 ×÷2 n=2 +1·0",
        "–",
        "–",
        "1.00 ×÷>999",
    ]
    text = " ".join(printed(comparison_table(summary, ["norm", "case"], [], width=80)).split())
    assert "n = 3 runs a cell where none is written" in text
    assert "*: n = 1" in text
    assert "3 without ratio init" in text
    assert "v vanishing" in text


@pytest.mark.parametrize(
    ("metric", "means", "best"),
    [
        ("train_acc", [0.1, 0.9, 0.9], [False, True, True]),
        ("test_loss", [0.1, 0.9, math.nan], [True, False, False]),
        ("gradient_ratio_end", [1e-3, 0.0, 20.0], [False, False, True]),
        ("gradient_ratio_end", [math.inf, 5.0, 0.5], [False, False, True]),
        ("parameters", [1.0, 2.0, 3.0], [False, False, False]),
        ("train_acc", [0.5, math.nan, math.nan], [False, False, False]),
    ],
)
def test_the_best_of_each_column(metric: str, means: list[float], best: list[bool]) -> None:
    summary = tidy(norm=["none", "bn", "ln"], metric=[metric] * 3, mean=means)
    grid = comparison_grid(summary, ["norm"], [])
    assert [line.cells[0].best for line in grid.lines] == best


@pytest.mark.parametrize("short", ["zeros", "missing", "diverged", "left_out"])
def test_a_cell_that_is_not_whole_is_never_best(short: str) -> None:
    counts = {short: [1, 0, 0, 0]}
    summary = tidy(norm=["none", "bn", "ln", "gn"], mean=[0.9, 0.9, 0.8, 0.7], **counts)
    grid = comparison_grid(summary, ["norm"], [])
    assert [line.cells[0].best for line in grid.lines] == [False, True, False, False]
    alone = comparison_grid(summary[:2], ["norm"], [])
    assert not any(line.cells[0].best for line in alone.lines)


def test_best_is_per_column_and_in_bold_with_the_verdicts_colour() -> None:
    summary = tidy(
        norm=["none", "none", "bn", "bn"],
        depth=[8, 56, 8, 56],
        mean=[0.9, 0.1, 0.8, 0.7],
        verdict=["trains", "vanishing", "undertrained", "undertrained"],
    )
    grid = comparison_grid(summary, ["norm"], ["depth"])
    assert [[c.best for c in line.cells] for line in grid.lines] == [[True, False], [False, True]]
    text = printed(comparison_table(summary, ["norm"], ["depth"], width=80), color="standard")
    assert re.search(r"\x1b\[1;32m +0.900\*", text)
    assert re.search(r"\x1b\[34m *0.100\* v", text)
    assert re.search(r"\x1b\[1;33m *0.700\* u", text)


def test_sorted_rows_keep_their_columns_in_order(frame: DataFrame) -> None:
    summary = summarize(frame, ["norm"], ["model.depth"], ["train_acc"], "-train_acc")
    grid = comparison_grid(summary, ["norm"], ["model.depth"])
    assert grid.columns == ("depth 8", "depth 20", "depth 56", "depth 110")
    assert grid.lines[0].keys == ("bn",)


# --------------------------------------------------------------------- other formats


def test_json_is_strict_and_tidy(frame: DataFrame) -> None:
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, METRICS)
    summary.loc[0, ["mean", "low", "high"]] = [math.inf, math.nan, -math.inf]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    back = json.loads(to_json_rows(summary), parse_constant=refuse)
    assert len(back) == len(summary)
    assert list(back[0])[:9] == [*rows, *cols, "metric", "mean", "low", "high", "n"]
    assert (back[0]["mean"], back[0]["low"], back[0]["high"]) == (None, None, None)
    assert back[1]["mean"] == summary["mean"][1]
    assert back[1]["model.residual"] is False
    assert type(back[1]["model.depth"]) is int
    assert json.loads(to_json_rows(summary[:0])) == []


def test_csv_reads_back(frame: DataFrame) -> None:
    summary = summarize(frame, ["norm"], ["model.depth"], METRICS)
    back = pandas.read_csv(io.StringIO(to_csv(summary)), keep_default_na=False)
    assert back["norm"].tolist() == summary["norm"].tolist()
    assert back["mean"].astype(float).tolist() == summary["mean"].tolist()


def test_markdown_reads_back(frame: DataFrame) -> None:
    grid = comparison_grid(
        summarize(frame, ["norm"], ["model.depth"], METRICS), ["norm"], ["model.depth"]
    )
    lines = to_markdown(grid).splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert table[0] == ["norm", "metric", "depth 8", "depth 20", "depth 56", "depth 110"]
    assert table[1] == ["---", "---", "---:", "---:", "---:", "---:"]
    assert len(table) == 2 + 3 * 2
    texts = [cell.removeprefix("**").removesuffix("**") for cell in table[2][2:]]
    assert texts == [cell.text for cell in grid.lines[0].cells]
    assert "**" in to_markdown(grid)


def test_latex_is_a_tabular(frame: DataFrame) -> None:
    grid = comparison_grid(
        summarize(frame, ["norm"], ["model.depth"], METRICS), ["norm"], ["model.depth"]
    )
    lines = to_latex(grid).splitlines()
    assert lines[0] == r"\begin{tabular}{llrrrr}"
    assert lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + 3 * 2
    assert {line.count(" & ") for line in body} == {5}
    assert r"train\_acc" in body[1]
    assert r"$\pm$" in body[1]
    assert r"$\times\!\div$" in body[2]
    assert "_" not in re.sub(r"\\_", "", "".join(body))


@pytest.mark.parametrize("form", ["md", "latex"])
def test_other_formats_say_what_their_figures_leave_out(frame: DataFrame, form: str) -> None:
    broken = frame.head(30).copy()
    broken["status"] = ["failed", "diverged", *["finished"] * 28]
    options: dict[str, Any] = {"sort": None, "baseline": None, "form": form, "width": 80}
    metrics = ["train_acc", "gradient_ratio_end"]
    text = comparison(broken, rows=["norm"], cols=["model.depth"], metrics=metrics, **options)
    assert isinstance(text, str)
    notes = text.split("\n\n" if form == "md" else r"\end{tabular}")[1].strip().splitlines()
    assert all(line.startswith("% ") for line in notes) == (form == "latex")
    words = " ".join(notes)
    for said in (
        "30 runs: 28 finished, 1 diverged, 1 failed (not in the means)",
        "share a cell; name it in --rows",
        "(Student's t)",
        "bold: best of its column",
        "v vanishing",
    ):
        assert said in words
    one = comparison(frame.head(3), rows=["run_id"], cols=[], metrics=metrics, **options)
    assert (r"\*: n = 1" if form == "md" else "% *: n = 1") in str(one)


@pytest.mark.parametrize("form", ["rich", "csv", "json", "md", "latex"])
def test_no_runs_are_no_crash(form: str) -> None:
    nothing = read_results([])[0]
    shown = comparison(
        nothing,
        rows=None,
        cols=None,
        metrics=["train_acc"],
        sort=None,
        baseline=None,
        form=form,
        width=80,
    )
    text = shown if isinstance(shown, str) else printed(shown)
    assert text.strip() if form == "csv" else "no runs" in text or text == "[]"


# ----------------------------------------------------------------------- other tables


@pytest.mark.parametrize("width", [80, 120])
def test_paired_differences_fit(frame: DataFrame, width: int) -> None:
    rows, cols = layout(frame)
    pairs = paired(frame, "norm=ln", METRICS, rows, cols)
    text = printed(paired_table(pairs, [*rows, *cols], width=width), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "against norm=ln" in text
    assert "paired t-test" in text
    assert "×" in text
    assert "†" not in text
    pairs.loc[0, "unpaired"] = 3
    text = " ".join(printed(paired_table(pairs, [*rows, *cols], width=width), width).split())
    assert text.count("†") == 2
    assert "†: not all runs made a pair: 3 without such a baseline run" in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_runs_fits_and_says_what_it_leaves_out(frame: DataFrame, width: int) -> None:
    text = printed(runs_table(frame, width=width, limit=7), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "and 293 more" in text
    assert sum(str(i) in text for i in frame["run_id"]) == 7
    assert "more" not in printed(runs_table(frame[:5], width=width), width)


def test_markup_in_names_is_text(frame: DataFrame) -> None:
    odd = frame.head(3).assign(experiment="[red]x[/]", norm="[bold]n")
    assert "[red]x[/]" in printed(runs_table(odd, width=120), 120)
    summary = summarize(odd, ["norm"], [], ["train_acc"])
    assert "[bold]n" in printed(comparison_table(summary, ["norm"], [], width=80))


def test_the_counts_in_one_line() -> None:
    assert counts_line({}) == "no runs"
    assert counts_line({"finished": 1}) == "1 run: 1 finished"
    assert counts_line({"finished": 3, "failed": 1, "repeated": 2}) == (
        "4 runs: 3 finished, 1 failed (not in the means); 2 in several folders, counted once"
    )


@given(
    st.lists(
        st.tuples(st.floats(), st.floats(), st.integers(0, 3), st.integers(0, 2)),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["train_acc", "train_loss", "gradient_ratio_end"]),
)
def test_any_figures_fit(cells: list[tuple[float, float, int, int]], metric: str) -> None:
    means, highs, ns, zeros = map(list, zip(*cells, strict=True))
    summary = tidy(
        case=list(range(len(cells))),
        metric=[metric] * len(cells),
        mean=means,
        high=highs,
        n=ns,
        zeros=zeros,
    )
    if metric == "gradient_ratio_end":
        summary["mean"] = summary["mean"].abs()
    text = printed(comparison_table(summary, ["case"], [], width=80))
    assert max(map(cell_len, text.splitlines())) <= 80
    grid = comparison_grid(summary, ["case"], [])
    assert to_markdown(grid).count("\n") == to_latex(grid).count("\n") - 4
    json.loads(to_json_rows(summary))
