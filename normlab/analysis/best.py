"""Each arm at its best: of every cell the runs at the value of a key at which it did best."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pandas import DataFrame

from normlab.analysis.cells import cells_of
from normlab.analysis.comparing import summarize
from normlab.analysis.keys import SEEDS, known_key, known_metric, varying
from normlab.config import Config
from normlab.errors import ConfigError
from normlab.vocabulary import METRICS


class AtBest(NamedTuple):
    """The runs that a comparison is left with, and the values at which they were made."""

    runs: DataFrame  # without the columns of the best keys, which set them apart no more
    values: DataFrame  # a row a cell: its keys, and the best keys
    best: list[str]

    def with_values(self, summary: DataFrame) -> DataFrame:
        """A summary's rows with the best keys' values before the metric."""
        keys = [key for key in self.values if key not in self.best]
        how = {"on": keys, "how": "left"} if keys else {"how": "cross"}
        found = summary.merge(self.values, **how)
        place = summary.columns.get_loc("metric")
        return found[[*summary.columns[:place], *self.best, *summary.columns[place:]]]


def without_keys(frame: DataFrame, best: Sequence[str]) -> DataFrame:
    """A frame without the columns of keys, and those of the settings below a group."""
    return frame.drop(columns=[column for column in map(str, frame) if goes_with(column, best)])


def goes_with(key: str, best: Sequence[str]) -> bool:
    """Whether a key is one of the best keys, or a setting below one that is a group."""
    return key in best or key.startswith(tuple(f"{group}." for group in best))


def check_best(frame: DataFrame, names: Sequence[str]) -> list[str]:
    """The columns of best keys; raises ConfigError for what is no setting that one could choose."""
    best = list(dict.fromkeys(known_key(frame, name) for name in names))
    for key in best:
        if key in SEEDS or key.split(".")[0] not in Config.model_fields:
            choices = ", ".join(varying(frame))
            raise ConfigError(f"--best {key}: is no setting to choose; choices: {choices}")
    return best


def at_best(frame: DataFrame, best: Sequence[str], by: str, keys: Sequence[str]) -> AtBest:
    """Of every cell of the keys the runs at the best keys' values with the best mean of `by`.

    Values at which a run has no such figure, as one that diverged has no loss, come after all
    others; of equally good ones the first counts. Raises ConfigError where a metric is not there or
    no value of it is better than another.
    """
    by = known_metric(frame, by)
    metric = METRICS[by]
    if metric.better is None:
        ranked = [name for name, other in METRICS.items() if other.better and name in frame]
        raise ConfigError(f"--by {by}: no {metric.label} is better; choices: {', '.join(ranked)}")
    cells = cells_of(frame, [*keys, *best])
    summary = summarize(frame, keys, best, [by])  # a row a cell, in their order
    flawed = (summary["missing"] > 0) | (summary["n"] == 0)
    distance = np.array([metric.distance(mean) for mean in summary["mean"]])
    arm = cells_of(summary, keys)
    order = np.lexsort((np.where(np.isnan(distance), math.inf, distance), flawed))
    _, first = np.unique(arm.number[order], return_index=True)
    chosen = np.sort(order[first])
    runs = frame[np.isin(cells.number, chosen)]
    values = summary.iloc[chosen][[*keys, *best]].reset_index(drop=True)
    return AtBest(without_keys(runs, best), values, list(best))
