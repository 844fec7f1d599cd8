"""Cells in their places, and which is best."""

import math

import pytest
from pandas import DataFrame

from normlab.results import summarize
from normlab.show.comparisons.layout import lay_out
from tests.show.comparisons.summaries import tidy


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
    laid = lay_out(summary, ["norm"], [])
    assert [line.cells[0].best for line in laid.lines] == best


@pytest.mark.parametrize("short", ["zeros", "missing", "diverged", "left_out"])
def test_a_cell_that_is_not_whole_is_never_best(short: str) -> None:
    counts = {short: [1, 0, 0, 0]}
    summary = tidy(norm=["none", "bn", "ln", "gn"], mean=[0.9, 0.9, 0.8, 0.7], **counts)
    laid = lay_out(summary, ["norm"], [])
    assert [line.cells[0].best for line in laid.lines] == [False, True, False, False]
    alone = lay_out(summary[:2], ["norm"], [])
    assert not any(line.cells[0].best for line in alone.lines)


def test_cells_of_nearly_equal_values_stay_apart() -> None:
    rates = [0.3, 0.1 + 0.2]
    summary = tidy(lr=rates * 2, norm=["bn", "bn", "ln", "ln"], mean=[0.1, 0.2, 0.3, 0.4])
    by_rows = lay_out(summary, ["lr"], ["norm"])
    assert [line.keys for line in by_rows.lines] == [("0.3",), ("0.30000000000000004",)]
    by_columns = lay_out(summary, ["norm"], ["lr"])
    assert by_columns.columns == ("lr 0.3", "lr 0.30000000000000004")
    texts = [[cell.text for cell in line.cells] for line in by_columns.lines]
    assert texts == [["0.100*", "0.200*"], ["0.300*", "0.400*"]]


def test_sorted_rows_keep_their_columns_in_order(frame: DataFrame) -> None:
    summary = summarize(frame, ["norm"], ["model.depth"], ["train_acc"], "-train_acc")
    laid = lay_out(summary, ["norm"], ["model.depth"])
    assert laid.columns == ("depth 8", "depth 20", "depth 56", "depth 110")
    assert laid.lines[0].keys == ("bn",)
