"""The runs by which a claim is judged, and the figures of their seeds as one with its spread."""

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
from pandas import DataFrame

from normlab.claims.registries import Figures
from normlab.errors import ConfigError, RecordError
from normlab.results import interval, metric_choices, where
from normlab.runs import read_table

if TYPE_CHECKING:
    from normlab.claims.claim import Measure, Statistic


@dataclass(frozen=True)
class Evidence:
    """What a claim is judged by: the finished and diverged runs of its experiment."""

    runs: DataFrame
    figures: Mapping[int, Figures] = field(default_factory=dict)  # of a demonstration, by seed

    def metric(self, name: str, *filters: str) -> "pandas.Series[float]":
        """A metric by seed, of the runs that fulfil the filters; one run for each seed.

        Raises ConfigError where there is no such metric, or a seed has several runs.
        """
        if name not in metric_choices(self.runs):
            raise ConfigError(
                f"{name}: no such metric; choices: {', '.join(metric_choices(self.runs))}"
            )
        chosen = where(self.runs, filters)
        if chosen["seed"].duplicated().any():
            raise ConfigError(
                f"{name}({', '.join(map(repr, filters))}): {len(chosen)} runs of "
                f"{chosen['seed'].nunique()} seeds; add filters until one run a seed is left"
            )
        return chosen.set_index("seed")[name].astype(float).sort_index()

    def layers(self, *filters: str) -> Iterator[tuple[int, DataFrame]]:
        """The seed and layers.parquet of every run that fulfils the filters."""
        yield from self._tables("layers", filters)

    def metrics(self, *filters: str) -> Iterator[tuple[int, DataFrame]]:
        """The seed and metrics.parquet of every run that fulfils the filters."""
        yield from self._tables("metrics", filters)

    def _tables(self, name: Any, filters: tuple[str, ...]) -> Iterator[tuple[int, DataFrame]]:
        runs = where(self.runs, filters)
        for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
            if (name, folder) not in self._read:
                self._read[name, folder] = read_table(Path(folder), name)
            yield int(seed), self._read[name, folder]

    @functools.cached_property
    def _read(self) -> dict[tuple[str, str], DataFrame]:
        """Tables that one measure has read and the next one asks for again."""
        return {}


@dataclass(frozen=True)
class Measured:
    """A measure's figure: its statistic over n seeds, with the spread low to high."""

    measure: "Measure"
    value: float
    low: float
    high: float
    n: int
    missing: int = 0  # of the seeds

    @property
    def holds(self) -> bool:
        """Whether the figure lies within the gate."""
        gate = self.measure.gate
        return gate is None or gate[0] <= self.value <= gate[1]


def measure_seeds(measure: "Measure", evidence: Evidence) -> Measured:
    """A measure's figure; raises NormlabError where the evidence lacks what it is made of."""
    by_seed = measure.by_seed(evidence)
    seeds = sorted({int(seed) for seed in evidence.runs["seed"]}) if len(evidence.runs) else []
    # A seed without the figure must not drop out: it may be the one that tells.
    values = np.array([by_seed.get(s, math.nan) for s in seeds or by_seed], dtype=np.float64)
    if not len(values):
        raise RecordError(f"{measure.name}: no seed has what it is made of")
    value, low, high = with_spread(values, measure.statistic)
    return Measured(measure, value, low, high, len(values), int(np.isnan(values).sum()))


def with_spread(
    values: "np.ndarray[Any, np.dtype[np.float64]]", statistic: "Statistic"
) -> tuple[float, float, float]:
    """A statistic and its spread over the seeds.

    The spread is the 95 % confidence interval of a (geometric) mean, the 10th and 90th percentile
    about a median, and the least and greatest value of a minimum or maximum.
    """
    match statistic:
        case "mean" | "geomean":
            if not np.isfinite(values).all():
                mean = float(values.mean())
                return mean, math.nan, math.nan
            return interval(values.tolist(), log=statistic == "geomean")
        case "median":
            if not np.isfinite(values).all():
                return float(np.median(values)), math.nan, math.nan
            low, high = np.percentile(values, [10, 90])
            return float(np.median(values)), float(low), float(high)
    chosen = values.min() if statistic == "min" else values.max()
    return float(chosen), float(values.min()), float(values.max())
