"""The page's table: a row a variant and depth."""

import math
from typing import NamedTuple

from pandas import DataFrame

from normlab.analysis import DEPTH, summarize
from normlab.show.comparisons.figures import Figures, cell_text, figures_of
from normlab.vocabulary import CAUSES, DIAGNOSES, METRICS, Cause, Diagnosis

# The figures of a row, and what heads them.
COLUMNS = {
    "train_acc": METRICS["train_acc"].label,
    "test_acc": METRICS["test_acc"].label,
    "gradient_ratio_init": "R at init",
    "gradient_ratio_end": "R at the end",
}
HEADS = ("variant", "depth", "n", *COLUMNS.values(), "verdict", "cause")


class PageCell(NamedTuple):
    """A figure as it is read, and what a click on its head sorts it by."""

    text: str
    sortable: str


class VariantRow(NamedTuple):
    """One variant at one depth, over its seeds."""

    variant: str
    depth: int
    cells: tuple[PageCell, ...]  # n and the figures
    diagnosis: Diagnosis | None
    cause: Cause | None  # the most frequent one; of older runs none is recorded


def variant_rows(runs: DataFrame) -> list[VariantRow]:
    """The rows of runs, each of which has its variant."""
    summary = summarize(runs.assign(name=runs["variant"]), ["name"], [DEPTH], list(COLUMNS))
    # As the legends of the pictures have them.
    place = {name: index for index, name in enumerate(runs["variant"].unique())}
    summary = summary.sort_values("name", key=lambda names: names.map(place), kind="stable")
    rows = []
    for _, cell in summary.groupby(["name", DEPTH], sort=False):
        # One a metric, in their order.
        parts = [{str(key): v for key, v in part.items()} for part in cell.to_dict("records")]
        first = parts[0]
        n = PageCell(str(int(first["n"])), str(int(first["n"])))
        figures = [_cell(figures_of(part)) for part in parts]
        diagnosis = DIAGNOSES.get(first["verdict"] or "")
        cause = CAUSES.get(first["cause"] or "")
        rows.append(VariantRow(first["name"], first[DEPTH], (n, *figures), diagnosis, cause))
    return rows


def _cell(figures: Figures) -> PageCell:
    """The figures as a comparison has them; n has a column of its own."""
    mean = figures.mean
    sortable = "" if math.isnan(mean) else repr(mean)
    return PageCell(cell_text(figures, figures.n, marked=False), sortable)
