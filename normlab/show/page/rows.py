"""The page's table: a row a variant and depth."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from pandas import DataFrame

from normlab.results import DEPTH, summarize
from normlab.text import factor, number
from normlab.vocabulary import METRICS

# The figures of a row, and what heads them.
COLUMNS = {
    "train_acc": METRICS["train_acc"].label,
    "test_acc": METRICS["test_acc"].label,
    "gradient_ratio_init": "R at init",
    "gradient_ratio_end": "R at the end",
}
HEADS = ("variant", "depth", "n", *COLUMNS.values(), "verdict")


class PageCell(NamedTuple):
    """A figure as it is read, and what a click on its head sorts it by."""

    text: str
    sortable: str


class VariantRow(NamedTuple):
    """One variant at one depth, over its seeds."""

    variant: str
    depth: int
    cells: tuple[PageCell, ...]  # n and the figures
    diagnosis: str


def variant_rows(runs: DataFrame) -> list[VariantRow]:
    """The rows of runs, each of which has its variant."""
    summary = summarize(runs.assign(name=runs["variant"]), ["name"], [DEPTH], list(COLUMNS))
    rows = []
    for _, cell in summary.groupby(["name", DEPTH], sort=False):
        parts = cell.to_dict("records")  # one a metric, in their order
        first = parts[0]
        n = PageCell(str(int(first["n"])), str(int(first["n"])))
        figures = [_cell(metric, part) for metric, part in zip(COLUMNS, parts, strict=True)]
        diagnosis = str(first["verdict"] or "")
        rows.append(VariantRow(first["name"], first[DEPTH], (n, *figures), diagnosis))
    return rows


def _cell(metric: str, part: Mapping[Any, Any]) -> PageCell:
    mean, high = float(part["mean"]), float(part["high"])
    if math.isnan(mean):
        return PageCell("–", "")
    if METRICS[metric].share:
        spread = "" if math.isnan(high) else f" ±{100 * (high - mean):.1f}"
        return PageCell(f"{100 * mean:.1f}{spread} %", repr(mean))
    spread = "" if math.isnan(high) or not mean else f" ×÷{factor(high / mean)}"
    zeros = int(part["zeros"]) if mean else 0
    return PageCell(f"{number(mean)}{spread}{f' +{zeros}·0' if zeros else ''}", repr(mean))
