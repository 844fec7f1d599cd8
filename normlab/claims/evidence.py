"""The runs that are a claim's evidence, and the figures taken from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pandas import DataFrame, Series

from normlab.analysis import interval, metric_choices, where
from normlab.claims.claim import MEASURES, Measure, Measured, Statistic, read_arguments
from normlab.claims.expressions import BySeed, evaluate_expression
from normlab.errors import ConfigError, RecordError
from normlab.runs import read_table


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a claim is judged by: the finished and diverged runs of its experiment.

    A run's tables are read when a measure first asks for them, and once.
    """

    runs: DataFrame
    figures: Mapping[int, Mapping[str, float]] = field(default_factory=dict)  # demonstrated by seed
    _tables: dict[tuple[str, str], DataFrame] = field(default_factory=dict, repr=False)

    def metric_by_seed(self, metric: str, *filters: str) -> "Series[float]":
        """A metric by seed, of the runs that fulfil the filters; one run for each seed.

        Raises ConfigError where there is no such metric, or a seed has several runs.
        """
        if metric not in metric_choices(self.runs):
            raise ConfigError(
                f"{metric}: no such metric; choices: {', '.join(metric_choices(self.runs))}"
            )
        chosen = where(self.runs, filters)
        if chosen.empty:
            raise ConfigError(f"{metric}({', '.join(map(repr, filters))}): no run is so")
        if chosen["seed"].duplicated().any():
            raise ConfigError(
                f"{metric}({', '.join(map(repr, filters))}): {len(chosen)} runs of "
                f"{chosen['seed'].nunique()} seeds; add filters until one run a seed is left"
            )
        return chosen.set_index("seed")[metric].astype(float).sort_index()

    def layers(self, folder: str) -> DataFrame:
        """A run's layers.parquet; raises RecordError."""
        return self._table(folder, "layers")

    def metrics(self, folder: str) -> DataFrame:
        """A run's metrics.parquet; raises RecordError."""
        return self._table(folder, "metrics")

    def _table(self, folder: str, name: Literal["metrics", "layers"]) -> DataFrame:
        if (folder, name) not in self._tables:
            self._tables[folder, name] = read_table(Path(folder), name)
        return self._tables[folder, name]


def figures_by_seed(measure: Measure, evidence: Evidence) -> BySeed:
    """The value of a measure's expression or function for each seed."""
    if measure.measure is not None:
        arguments = read_arguments(measure.measure, measure.arguments)
        try:
            return MEASURES[measure.measure](evidence, **arguments)
        except LookupError as error:
            raise RecordError(f"{measure.name}: the runs or figures have no {error}") from error
    assert measure.value is not None  # a measure has one of the two
    return evaluate_expression(measure.value, evidence)


def measured(measure: Measure, evidence: Evidence) -> Measured:
    """A measure's figure; raises NormlabError where the evidence lacks what it is made of."""
    by_seed = figures_by_seed(measure, evidence)
    seeds = sorted({int(seed) for seed in evidence.runs["seed"]}) if len(evidence.runs) else []
    # A seed without the figure must not drop out: it may be the one that tells.
    values = np.array([by_seed.get(s, math.nan) for s in seeds or by_seed], dtype=np.float64)
    if not len(values):
        raise RecordError(f"{measure.name}: no seed has what it is made of")
    value, low, high = statistic_and_spread(values, measure.statistic)
    missing = int(np.isnan(values).sum())
    return Measured(measure, value, low, high, n=len(values), missing=missing)


def statistic_and_spread(
    values: "np.ndarray[Any, np.dtype[np.float64]]", statistic: Statistic
) -> tuple[float, float, float]:
    """A statistic and its spread over the seeds.

    The spread is the 95 % confidence interval of a (geometric) mean, the 10th and 90th percentile
    about a median, and the least and greatest value of a minimum or maximum.
    """
    match statistic:
        case "mean" | "geomean":
            if len(values) > 1 and np.isfinite(values).all() and values.min() == values.max():
                # Of equal figures there is no interval; their spread is known.
                return float(values[0]), float(values[0]), float(values[0])
            return interval(values.tolist(), log=statistic == "geomean")
        case "median":
            if not np.isfinite(values).all():
                return float(np.median(values)), math.nan, math.nan
            low, high = np.percentile(values, [10, 90])
            return float(np.median(values)), float(low), float(high)
    chosen = values.min() if statistic == "min" else values.max()
    return float(chosen), float(values.min()), float(values.max())
