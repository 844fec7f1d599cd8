"""Each variant against a baseline, over runs of equal seeds: differences and their t-test."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.cells import cells_of, distinct_runs
from normlab.analysis.filters import split_at_commas, where
from normlab.analysis.keys import RESIDUAL, known_key, known_metric, seeds_beside, varying
from normlab.analysis.statistics import figures_of, means_by_cell
from normlab.errors import ConfigError
from normlab.vocabulary import FINAL, METRICS


class _Sides(NamedTuple):
    """The two sides of a paired comparison."""

    others: DataFrame
    base: DataFrame
    agree: list[str]  # the keys in which a run and its baseline run agree, the seed first
    cells: list[str]  # the keys of the comparison's cells


def paired(
    frame: DataFrame,
    baseline: str,
    metrics: Sequence[str],
    rows: Sequence[str],
    cols: Sequence[str],
) -> DataFrame:
    """What each variant gains over a baseline such as `norm=none`, over runs of equal seeds.

    A pair is a run and a baseline run that differ in the baseline's keys and agree in the seed and
    all else; but a key that one side has nowhere, as adam has no momentum, need not agree. A row a
    cell and metric: mean difference (of gradient ratios and factors the geometric mean ratio), the
    bounds of its 95 % confidence interval, the number of pairs n, and p of the two-sided paired
    t-test that there is no difference, not corrected for the number of rows. low, high and p are
    NaN for n < 2, and where all pairs differ by the same, if by nothing. What made no pair is
    counted: `unpaired` has no such baseline run, of `zeros` one gradient is 0 and its ratio has no
    logarithm, of `missing` one figure is missing or not finite. Raises ConfigError where no run is
    of the baseline, or every one.
    """
    settings = _settings(baseline)
    varied = baseline_keys(frame, baseline)
    cells = list(dict.fromkeys([*(known_key(frame, k) for k in (*rows, *cols)), *varied]))
    metrics = [known_metric(frame, metric) for metric in dict.fromkeys(metrics)]
    frame = distinct_runs(frame, cells)
    frame = frame[frame["status"].isin(FINAL)]
    try:
        base = where(frame, settings)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--where", "--baseline")) from error
    others = frame.drop(base.index)
    if others.empty:
        raise ConfigError(_nothing_else(frame, baseline))
    agree = _keys_to_agree(frame, base, others, varied)
    sides = _Sides(others, base, agree, cells)
    pairs: DataFrame = pandas.concat(
        [_differences(sides, metric, baseline) for metric in metrics], ignore_index=True
    )
    return pairs


def _settings(baseline: str) -> list[str]:
    """The parts of a baseline, each KEY=VALUE."""
    settings = split_at_commas(baseline, f"--baseline {baseline!r}")
    if not all(re.fullmatch(r"[\w.]+\s*=[^=<>!]+", setting) for setting in settings):
        raise ConfigError(f"--baseline {baseline!r}: must be KEY=VALUE, as in norm=none")
    return settings


def baseline_keys(frame: DataFrame, baseline: str) -> list[str]:
    """The keys by which a baseline such as `norm=none` is told from what it is compared with."""
    return [known_key(frame, part.split("=")[0].strip()) for part in _settings(baseline)]


def _keys_to_agree(
    frame: DataFrame, base: DataFrame, others: DataFrame, varied: Sequence[str]
) -> list[str]:
    """The keys in which a run and its baseline run must agree, the seed first."""
    groups = tuple(f"{key}." for key in varied)
    return ["seed"] + [
        key
        for key in [*seeds_beside(frame), *varying(frame)]
        if key not in varied
        and not (key.startswith(groups) and any(p[key].isna().all() for p in (base, others)))
    ]


def _nothing_else(frame: DataFrame, baseline: str) -> str:
    """Why there is no run to compare with the baseline."""
    if frame.empty:
        return f"--baseline {baseline}: no run has ended yet"
    nets = "model=" in baseline and frame[RESIDUAL].nunique() > 1
    hint = "; cnn and resnet are both model=cnn, model.residual=false tells them apart"
    return f"--baseline {baseline}: every run is of the baseline{hint if nets else ''}"


def _differences(sides: _Sides, metric: str, baseline: str) -> DataFrame:
    """A metric's mean difference in each cell, and what made no pair."""
    joined = _joined(sides, metric)
    difference = (joined["value"] - joined["value_base"]).to_numpy(dtype=np.float64)
    rounding = (joined["rounding"] + joined["rounding_base"]).to_numpy(dtype=np.float64)
    cells = cells_of(joined, sides.cells)
    used = np.isfinite(difference)
    alone = joined["twin"].eq("left_only").to_numpy(dtype=bool)
    either = joined["zero"] | joined["zero_base"].eq(True)
    zero = ~used & ~alone & either.to_numpy(dtype=bool)
    means = means_by_cell(difference[used], cells.number[used], cells.size, rounding[used])
    mean, low, high = means.bounds(logarithmic=METRICS[metric].logarithmic)
    table = joined[sides.cells].iloc[cells.first].reset_index(drop=True)
    return table.assign(
        metric=metric,
        baseline=baseline,
        mean=mean,
        low=low,
        high=high,
        n=means.n,
        p=means.p_values(),
        unpaired=cells.count(alone),
        zeros=cells.count(zero),
        missing=cells.count(~used & ~alone & ~zero),
    )


def _joined(sides: _Sides, metric: str) -> DataFrame:
    """Each run's figure beside its baseline run's; a run without one stays, so every cell does."""
    keys = list(dict.fromkeys([*sides.agree, *sides.cells]))
    ours, theirs = (
        _figures(part, metric)
        .groupby(by, dropna=False, sort=False)
        .agg(value=("values", "mean"), zero=("zero", "any"), rounding=("rounding", "max"))
        .reset_index()
        for part, by in ((sides.others, keys), (sides.base, sides.agree))
    )
    return ours.merge(theirs, on=sides.agree, how="left", suffixes=("", "_base"), indicator="twin")


def _figures(frame: DataFrame, metric: str) -> DataFrame:
    return frame.assign(**figures_of(frame, metric)._asdict())
