"""The rows of a comparison in an order that is asked for by the name of a column."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas
from pandas import DataFrame
from pandas.api.types import is_numeric_dtype

from normlab.analysis.cells import cells_of
from normlab.analysis.filters import where
from normlab.errors import ConfigError
from normlab.text import did_you_mean
from normlab.vocabulary import CAUSES, DIAGNOSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

DIFFERENCE = "difference"  # what a table calls the mean of paired differences


def sorted_summary(
    summary: DataFrame, rows: Sequence[str], cols: Sequence[str], sort: str
) -> DataFrame:
    """A summary's rows by a column of its table or of its own, with `-` for descending.

    `norm` sorts by a key of the rows, `train_acc` by a metric's mean over the columns,
    `model.depth=56` by the first metric in that column, `train_loss@model.depth=56` by another one
    there; `n`, `std` and the summary's other columns sort by those of the first metric. What has no
    value comes last. Raises ConfigError for what is none of these.
    """
    if summary.empty:
        return summary
    name = sort.removeprefix("-")
    metrics = list(dict.fromkeys(summary["metric"]))
    metric, _, column = name.rpartition("@") if "=" in name else ("", "", "")
    metric = metric or (name if name in metrics else metrics[0])
    chosen = summary["metric"] == metric
    if column:
        chosen &= _in_column(summary, cols, column)
    key = "mean" if column or name in metrics else name.removesuffix(".name")
    if key not in summary or key in cols or metric not in metrics:
        example = [f"{col}={summary[col].iloc[0]}" for col in cols[:1]]
        others = [c for c in map(str, summary) if c not in (*rows, *cols, "metric")]
        raise _unknown(sort, [*rows, *metrics, *example, *others])
    group = pandas.Series(0, index=summary.index)
    if rows:
        group = summary.groupby(list(rows), dropna=False, sort=False).ngroup()
    scores = pandas.Series(_scores(summary, key), index=summary.index).where(chosen)
    return _ordered(summary, scores.groupby(group).transform("mean"), group, sort)


def sorted_pairs(pairs: DataFrame, sort: str) -> DataFrame:
    """Paired differences by any of their columns, or by a metric's difference."""
    name = sort.removeprefix("-")
    metrics = list(dict.fromkeys(pairs["metric"]))
    key = "mean" if name in (DIFFERENCE, *metrics) else name.removesuffix(".name")
    if key not in pairs:
        raise _unknown(sort, [*metrics, DIFFERENCE, *map(str, pairs.columns)])
    scores = pandas.Series(_scores(pairs, key), index=pairs.index)
    scores = scores.where(pairs["metric"] == name) if name in metrics else scores
    return _ordered(pairs, scores, pandas.Series(np.arange(len(pairs))), sort)


def _in_column(summary: DataFrame, cols: Sequence[str], column: str) -> "pandas.Series[bool]":
    """Which rows of a summary stand in a column of its table, such as `model.depth=56`."""
    try:
        found = where(summary[list(cols)], [column])
    except ConfigError as error:
        raise ConfigError(str(error).replace("--where", "--sort", 1)) from error
    return pandas.Series(summary.index.isin(found.index), index=summary.index)


def _scores(table: DataFrame, key: str) -> "Scores":
    """A column as numbers: diagnoses from the best to the worst, causes in the order of their list,
    text by the order of values."""
    column = table[key]
    if key in _PLACES:
        return np.array([_PLACES[key].get(name, np.nan) for name in column])
    if is_numeric_dtype(column) and not column.isna().all():
        return column.to_numpy(dtype=np.float64)
    return cells_of(table, [key]).number.astype(np.float64)


_PLACES = {
    key: {name: float(place) for place, name in enumerate(names)}
    for key, names in (("verdict", DIAGNOSES), ("cause", CAUSES))
}


def _ordered(
    table: DataFrame, scores: "pandas.Series[float]", group: "pandas.Series[int]", sort: str
) -> DataFrame:
    score = scores.to_numpy(dtype=np.float64)
    score = np.where(np.isnan(score), np.inf, -score if sort.startswith("-") else score)
    order = np.lexsort((np.arange(len(table)), group, score))
    return table.iloc[order].reset_index(drop=True)


def _unknown(sort: str, choices: Sequence[str]) -> ConfigError:
    choices = list(dict.fromkeys(choices))
    near = did_you_mean(sort.removeprefix("-"), choices)
    return ConfigError(f"--sort {sort}: no such column; choices: {', '.join(choices)}{near}")
