"""Runs by cell: how many there are, and each metric's mean over seeds with its interval."""

from collections.abc import Sequence

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.cells import (
    Cells,
    cells_of,
    distinct_runs,
    training_numbers,
    usual_cause,
    usual_diagnosis,
)
from normlab.analysis.keys import known_key, known_metric
from normlab.analysis.statistics import figures_of, means_by_cell
from normlab.vocabulary import FINAL, METRICS, STATUSES


def counts(frame: DataFrame) -> dict[str, int]:
    """The number of runs by status, and those that do not count for another reason.

    `repeated` ones are equal configs in several folders, `remeasured` ones the training of another
    run with other probes.
    """
    found = frame["status"].value_counts()
    numbers = {status: int(found[status]) for status in STATUSES if status in found}
    runs = frame["run_id"].nunique()
    again = {
        "repeated": len(frame) - runs,
        "remeasured": runs - len(np.unique(training_numbers(frame))),
    }
    return numbers | {why: count for why, count in again.items() if count > 0}


def summarize(
    frame: DataFrame, rows: Sequence[str], cols: Sequence[str], metrics: Sequence[str]
) -> DataFrame:
    """A row a cell and metric: its keys, metric, mean, low, high, n, and what stands behind them.

    low and high bound the 95 % confidence interval mean ± t₀.₉₇₅(n−1)·s/√n over the n finished and
    diverged runs, NaN for n = 1 and for equal figures, of which nothing can be inferred; `std` is
    s. Intervals are not clipped: one that leaves [0, 1] says that there are too few seeds. Gradient
    ratios and factors are averaged as logarithms: mean is the geometric mean, and interval and
    `std`, a factor, are transformed back. There a gradient of exactly 0 has no logarithm: it is
    left out and counted in `zeros`; where all ratios are 0 that is the mean.

    `diverged` counts the diverged runs of a cell, `left_out` those that failed, were interrupted,
    are running or unfinished, `missing` the results whose figure is missing or not finite,
    which summary.json does not tell apart; `verdict` is the most frequent one, of equally frequent
    ones the worst, and `cause` the most frequent one of its runs. A training counts once, in
    however many folders it lies and with whatever probes, unless a key tells them apart. Raises
    ConfigError where a key or metric is not there.
    """
    keys = [known_key(frame, key) for key in (*rows, *cols)]
    metrics = [known_metric(frame, metric) for metric in dict.fromkeys(metrics)]
    frame = distinct_runs(frame, keys)
    cells = cells_of(frame, keys)
    final = frame["status"].isin(FINAL).to_numpy(dtype=bool)
    about = {
        "diverged": cells.count(frame["status"].eq("diverged").to_numpy(dtype=bool)),
        "left_out": cells.count(~final),
        "verdict": usual_diagnosis(frame["verdict"], cells),
        "cause": usual_cause(frame, cells),
    }
    about = {name: values for name, values in about.items() if name not in keys}
    values = frame[keys].iloc[cells.first].reset_index(drop=True)
    tables = [
        pandas.concat([values, _means(frame, metric, final, cells).assign(**about)], axis=1)
        for metric in metrics
    ]
    joined = pandas.concat(tables, ignore_index=True)
    # From metric after metric to cell after cell.
    order = np.arange(len(joined)).reshape(len(tables), cells.size).T.ravel()
    return joined.iloc[order].reset_index(drop=True)


def _means(frame: DataFrame, metric: str, final: "np.ndarray", cells: Cells) -> DataFrame:
    """A metric's mean and interval in each cell, over its final runs, and what they leave out."""
    logarithmic = METRICS[metric].logarithmic
    values, rounding, zero = figures_of(frame, metric)
    finite = np.isfinite(values)
    used = final & finite
    means = means_by_cell(values[used], cells.number[used], cells.size, rounding[used])
    mean, low, high = means.bounds(logarithmic=logarithmic)
    zeros = cells.count(final & zero)
    all_zero = (means.n == 0) & (zeros > 0) & (cells.count(final & frame[metric].eq(0)) == zeros)
    return DataFrame(
        {
            "metric": np.full(cells.size, metric, dtype=object),
            "mean": np.where(all_zero, 0.0, mean),
            "low": low,
            "high": high,
            "std": means.spread(logarithmic=logarithmic),
            "n": means.n,
            "zeros": zeros,
            "missing": cells.count(final & ~finite & ~zero),
        }
    )
