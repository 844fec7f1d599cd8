"""Cells in their places, and which is best."""

import math

import pytest
from pandas import DataFrame

from normlab.analysis import Request, arrange
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
        ("train_acc", [0.99812, 0.9979, 0.2], [True, True, False]),  # both are 0.998
        ("train_acc", [0.9, 0.9, 0.9], [False, False, False]),
        ("gradient_ratio_end", [0.5, 2.0, 3.0], [True, True, False]),
        ("gradient_ratio_end", [1.9, 0.5, 0.1], [True, False, False]),
    ],
)
def test_the_best_of_each_column(metric: str, means: list[float], best: list[bool]) -> None:
    summary = tidy(norm=["none", "bn", "ln"], metric=[metric] * 3, mean=means)
    laid = lay_out(summary, ["norm"], [])
    assert [line.cells[0].best for line in laid.lines] == best


@pytest.mark.parametrize(
    ("metric", "cells", "best"),
    [
        # The second lies within the interval of the first, the third of neither.
        ("train_acc", [(0.9, 0.95), (0.86, 0.87), (0.8, 0.85)], [True, True, False]),
        # The first lies within the interval of the second.
        ("train_acc", [(0.9, math.nan), (0.86, 0.92), (0.8, 0.85)], [True, True, False]),
        ("train_acc", [(0.9, 1.1), (0.86, 1.0), (0.8, 0.85)], [False, False, False]),
        ("test_loss", [(0.1, 0.2), (0.15, 0.16), (0.5, 0.51)], [True, True, False]),
        # 3 is as far from 1 as 1/3, which is within the factor 2 of 1/2.
        ("gradient_ratio_end", [(0.5, 1.0), (3.0, 3.3), (20.0, 22.0)], [True, True, False]),
    ],
)
def test_what_ties_with_the_best(
    metric: str, cells: list[tuple[float, float]], best: list[bool]
) -> None:
    means, highs = zip(*cells, strict=True)
    summary = tidy(
        norm=["none", "bn", "ln"], metric=[metric] * 3, mean=means, high=highs, n=[3] * 3
    )
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
    found = arrange(frame, Request(["norm"], ["model.depth"], ["train_acc"], "-train_acc"))
    laid = lay_out(found.table, ["norm"], ["model.depth"])
    assert laid.columns == ("depth 8", "depth 20", "depth 56", "depth 110")
    assert laid.lines[0].keys == ("bn",)


def test_the_values_at_which_cells_did_best_stand_below_their_figures() -> None:
    columns = {"norm": ["bn", "bn", "ln"], "depth": [8, 20, 8], "optimizer.lr": [0.1, 1e-5, 0.3]}
    summary = tidy(mean=[0.9, 0.5, 0.2], **columns)
    laid = lay_out(summary, ["norm"], ["depth"], ["optimizer.lr"])
    assert laid.heads == ("norm", "metric")
    lines = [(laid.names(line), [cell.text for cell in line.cells]) for line in laid.lines]
    assert lines == [
        (("bn", "train_acc"), ["0.900*", "0.500*"]),
        (("bn", "best lr"), ["0.1", "1e-05"]),
        (("ln", "train_acc"), ["0.200*", ""]),
        (("ln", "best lr"), ["0.3", ""]),
    ]
    assert [line.starts for line in laid.lines] == [True, False, True, False]


def test_a_standard_deviation_in_place_of_the_interval() -> None:
    figures = {"high": [0.6, 4.0, 1.0], "std": [0.08, 1.5, 0.0], "n": [3, 2, 3]}
    metrics = ["train_acc", "gradient_ratio_end", "train_error"]
    summary = tidy(case=[1, 1, 1], metric=metrics, mean=[0.5, 2.0, 0.0875], **figures)
    for spread, texts in (
        ("interval", ["0.500 ±0.100", "1.5, 2.7", "8.75 ±91.25"]),
        ("std", ["0.500 ±0.080", "2.00 ×÷1.5 n=2", "8.75 ±0.00"]),
    ):
        laid = lay_out(summary, ["case"], [], (), spread)
        assert [line.cells[0].text for line in laid.lines] == texts
