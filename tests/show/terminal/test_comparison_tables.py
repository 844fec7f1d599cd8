"""Comparisons and paired differences in a terminal."""

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame
from rich.cells import cell_len

from normlab.analysis import layout, paired, summarize
from normlab.analysis.frames import to_frame
from normlab.config import compose
from normlab.runs import Summary
from normlab.show.comparisons.comparing import Comparison, PairedComparison
from normlab.show.comparisons.layout import lay_out
from normlab.show.formats.data import to_json_rows
from normlab.show.formats.latex import to_latex
from normlab.show.formats.markdown import to_markdown
from normlab.show.terminal.comparison_tables import comparison_table, paired_table
from tests.show.comparisons.summaries import METRICS, tidy
from tests.show.terminal.printing import text_of


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("metrics", [["train_acc"], METRICS, [*METRICS, "seconds", "test_loss"]])
def test_the_comparison_fits(frame: DataFrame, width: int, metrics: list[str]) -> None:
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, metrics)
    text = text_of(comparison_table(Comparison(summary, rows, cols, ["a note"])), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "a note" in text
    for depth in (8, 20, 56, 110):
        assert f"depth {depth}" in text
    assert len(re.findall(r"0\.\d{3} ±0\.\d{3}", text)) >= 40


def test_nothing_is_lost_in_a_narrow_terminal(frame: DataFrame) -> None:
    """Keys that do not fit stand under their row, figures that do not in a further table."""
    rows, cols = ["norm", "model.residual", "optimizer.lr", "data"], ["model.depth"]
    summary = summarize(frame, rows, cols, ["train_acc", "gradient_ratio_init"])
    laid = lay_out(summary, rows, cols)
    tables = []
    for width in (40, 60, 100):
        shown = comparison_table(Comparison(summary, rows, cols))
        text = text_of(shown, width)
        assert max(map(cell_len, text.splitlines())) <= width
        for line in laid.lines:
            assert all(text.count(cell.text) for cell in line.cells)
        tables.append(text.split("n = ")[0].split("\n\n\n")[0])
    narrow, middle, wide = ([line.split() for line in text.splitlines()] for text in tables)
    under = [line for line in narrow if line[:1] == ["residual"]]
    assert under[:2] == [
        ["residual", "plain,", "lr", "0.01,", "data", "digits"],
        ["residual", "plain,", "lr", "0.1,", "data", "digits"],
    ]
    assert ["norm", "metric", "depth", "8"] in narrow
    assert middle[0][:4] == ["norm", "residual", "lr", "metric"]
    assert ["data", "digits"] in middle
    assert wide[0][:5] == ["norm", "residual", "lr", "data", "metric"]
    assert wide[0].count("depth") > 1


def test_rows_that_have_nothing_in_a_further_table_are_not_repeated() -> None:
    summary = tidy(norm=["bn", "bn", "ln"], depth=[8, 20, 56], mean=[0.1, 0.2, 0.3])
    text = text_of(comparison_table(Comparison(summary, ["norm"], ["depth"])), 20)
    lines = [line.split() for line in text.splitlines() if line.startswith(("bn", "ln"))]
    assert lines == [["bn", "0.100*"], ["bn", "0.200*"], ["ln", "0.300*"]]


def test_cells_say_what_they_stand_for() -> None:
    summary = tidy(
        norm=["bn"] * 8,
        metric=["train_acc", "train_acc", "gradient_ratio_end"] + ["gradient_ratio_init"] * 5,
        case=[1, 2, 3, 4, 5, 6, 7, 8],
        mean=[0.5, 0.5, 1e-4, 0.0, 2.0, math.nan, math.nan, 1.0],
        low=[0.4, math.nan, 1e-5, math.nan, 1.0, math.nan, math.nan, 1e-9],
        high=[0.6, math.nan, 1e-3, math.nan, 4.0, math.nan, math.nan, 1e9],
        std=[0.04, math.nan, 2.5, math.nan, 4.0, math.nan, math.nan, 1e4],
        n=[3, 1, 3, 0, 2, 0, 0, 3],
        zeros=[0, 0, 0, 2, 1, 0, 0, 0],
        missing=[0, 0, 0, 0, 0, 1, 2, 0],
        verdict=["vanishing", "trains", *["trains"] * 6],
    )
    laid = lay_out(summary, ["norm", "case"], [])
    texts = [cell.text for line in laid.lines for cell in line.cells if cell.text]
    assert texts == [
        "0.500 ±0.100 v",
        "0.500*",
        "1.0e-04 ×÷10",
        "0",
        "0.75, 5.3 +1·0",  # 2 ×÷ 4^√½, of which the geometric mean is 2, and s of logarithms ln 4
        "–",
        "–",
        "1.00 ×÷>999",
    ]
    text = " ".join(text_of(comparison_table(Comparison(summary, ["norm", "case"], []))).split())
    assert "n = 3 runs a cell; two figures: of both runs" in text
    assert "*: n = 1" in text
    assert "3 without ratio init" in text
    assert "v vanishing" in text


def test_cells_say_why_they_have_no_interval() -> None:
    summary = tidy(
        case=[1, 2, 3, 4],
        metric=["train_acc", "gradient_ratio_end", "gradient_ratio_end", "gradient_ratio_end"],
        mean=[1.0, 2.0, math.nan, math.nan],
        std=[0.0, 1.0, math.nan, math.nan],
        n=[3, 2, 0, 0],
        zeros=[0, 1, 3, 0],
        missing=[0, 0, 0, 3],
    )
    table = comparison_table(Comparison(summary, ["case"], []))
    text = text_of(table, 120)
    laid = lay_out(summary, ["case"], [])
    shown = [cell.text for line in laid.lines for cell in line.cells if cell.text]
    assert shown == ["1.000=", "2.0, 2.0 +1·0", "∅", "–"]
    words = " ".join(text.split())
    assert "=: equal in all runs, no interval" in words
    assert "∅: a gradient of exactly 0 in all runs, which has no ratio" in words
    assert "+k·0: in k more runs" in words
    assert "±" not in words


@pytest.mark.parametrize(
    ("metric", "figures", "shown"),
    [
        ("train_acc", (0.42, 0.102), "0.102, 0.420"),
        ("train_acc", (0.5, 0.5), "0.500, 0.500"),
        ("train_loss", (2.3026, 0.5), "0.500, 2.30"),
        ("gradient_ratio_init", (1.4e-5, 2.1e-5), "1.4e-5, 2.1e-5"),
        ("gradient_ratio_init", (1e-300, 799.0), "1.0e-300, 800"),
        ("gradient_ratio_end", (1.6e-6, 0.0), "0, 1.6e-6"),
    ],
)
def test_of_two_runs_both_figures_are_written(
    metric: str, figures: tuple[float, float], shown: str
) -> None:
    """No interval of t = 12.7 around their mean, which says nothing, and is `±2.020` at .1, .4."""
    runs = [
        Summary.pending(compose([f"seed={seed}"]), "finished", **{metric: figure})
        for seed, figure in enumerate(figures)
    ]
    frame = to_frame((f"e/{run.run_id}", run) for run in runs)
    laid = lay_out(summarize(frame, ["norm"], [], [metric]), ["norm"], [])
    assert laid.lines[0].cells[0].text == shown


def test_equal_pairs_have_no_interval_and_no_p() -> None:
    runs = tidy(norm=["bn", "ln"], baseline=["norm=none"] * 2, mean=[0.0, 0.2], n=[3, 3])
    pairs = runs.assign(p=math.nan, unpaired=0)
    text = text_of(paired_table(PairedComparison(pairs, ["norm"])), 100)
    rows = [line.split() for line in text.splitlines() if line.startswith(("bn", "ln"))]
    assert rows == [
        ["bn", "train_acc", "+0.000", "–", "3", "–"],
        ["ln", "train_acc", "+0.200", "–", "3", "–"],
    ]
    assert "–: all pairs differ by the same, so there is no interval and no p" in text
    colours = text_of(paired_table(PairedComparison(pairs, ["norm"])), 100, color="standard")
    assert not re.search(r"\x1b\[1m\+0.200", colours)


def test_best_is_per_column_and_in_bold_with_the_verdicts_colour() -> None:
    summary = tidy(
        norm=["none", "none", "bn", "bn"],
        depth=[8, 56, 8, 56],
        mean=[0.9, 0.1, 0.8, 0.7],
        verdict=["trains", "vanishing", "undertrained", "undertrained"],
    )
    laid = lay_out(summary, ["norm"], ["depth"])
    assert [[c.best for c in line.cells] for line in laid.lines] == [[True, False], [False, True]]
    text = text_of(comparison_table(Comparison(summary, ["norm"], ["depth"])), color="standard")
    assert re.search(r"\x1b\[1;32m0.900\*", text)
    assert re.search(r"\x1b\[34m0.100\* v", text)
    assert re.search(r"\x1b\[1;33m0.700\* u", text)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_paired_differences_fit(frame: DataFrame, width: int) -> None:
    rows, cols = layout(frame)
    pairs = paired(frame, "norm=ln", METRICS, rows, cols)
    compared = PairedComparison(pairs, [*rows, *cols])
    text = text_of(paired_table(compared), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "against norm=ln" in text
    assert "paired t-test" in text
    assert "×" in text
    assert "†" not in text
    pairs.loc[0, "unpaired"] = 3
    text = " ".join(text_of(paired_table(PairedComparison(pairs, [*rows, *cols])), width).split())
    assert text.count("†") == 2
    assert "†: not all runs made a pair: 3 without such a baseline run" in text


def test_brackets_in_keys_are_text(frame: DataFrame) -> None:
    """Lists of a config are written in brackets, as rich's markup is."""
    key = "probes.measure"
    odd = frame.head(80).assign(**{key: lambda t: t["norm"].map("[{}]".format)})
    summary = summarize(odd, ["model.depth"], [key], ["train_acc"])
    text = text_of(comparison_table(Comparison(summary, ["model.depth"], [key])))
    assert "measure [bn]" in text
    pairs = paired(odd, "model.depth=8", ["train_acc"], [key], ["model.depth"])
    found = PairedComparison(pairs, [key, "model.depth"])
    assert "[ln]" in text_of(paired_table(found))


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
    text = text_of(comparison_table(Comparison(summary, ["case"], [])))
    assert max(map(cell_len, text.splitlines())) <= 80
    laid = lay_out(summary, ["case"], [])
    assert to_markdown(laid).count("\n") == to_latex(laid).count("\n") - 10
    json.loads(to_json_rows(summary))
