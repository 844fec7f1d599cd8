"""Runs one by one: when each was made, and what sets it apart from the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.cells import cells_of
from normlab.analysis.keys import (
    SEEDS,
    is_determined,
    known_key,
    label,
    short_names,
    varying_identity,
)
from normlab.runs import start_of

_NEWEST_FIRST = "-started"
# What a list holds of each run.
LISTED = (
    *("run_id", "started", "experiment", "name", "settings", "seed"),
    *("status", "verdict", "cause", "train_acc", "test_acc", "seconds", "folder"),
)


def listed(frame: DataFrame, sort: str | None = None, limit: int = 0) -> DataFrame:
    """The columns `LISTED` of so many runs, 0 for all: the newest first, or sorted by any column,
    with `-` for descending.

    `settings` says what sets a run apart from the others of its experiment beside its seed and what
    `name` says. Raises ConfigError where there is no such column.
    """
    ordered = frame.iloc[_order(frame, sort or _NEWEST_FIRST)]
    shown = ordered.head(limit) if limit else ordered
    settings: dict[Any, str] = {}
    for experiment, rows in shown.groupby("experiment", sort=False):
        settings |= _settings(frame[frame["experiment"] == experiment], rows)
    return shown.assign(settings=[settings[place] for place in shown.index])[list(LISTED)]


def starts(frame: DataFrame) -> "pandas.Series[Any]":
    """When each run started, in UTC."""
    told = pandas.to_datetime(frame["started"], utc=True, format="ISO8601", errors="coerce")
    unknown = told.isna()
    if unknown.any():
        seconds = [start_of(Path(folder)) for folder in frame["folder"][unknown]]
        told[unknown] = pandas.to_datetime(seconds, unit="s", utc=True).as_unit(told.dt.unit)
    return told


def _order(frame: DataFrame, sort: str) -> "np.ndarray":
    """The places of a frame's rows in the order that is asked for; what has no value comes last."""
    key = known_key(frame, sort.removeprefix("-"))
    if key == "started":
        places = starts(frame).rank(method="dense").to_numpy(dtype=np.float64)
    else:
        places = cells_of(frame, [key]).number.astype(np.float64)
    absent = frame[key].isna().to_numpy() & (key != "started")
    places = np.where(absent, np.inf, -places if sort.startswith("-") else places)
    return np.lexsort((frame["folder"].rank(method="dense").to_numpy(), places))


def _settings(experiment: DataFrame, shown: DataFrame) -> dict[Any, str]:
    """Of each shown run of an experiment, by its place, the values that its name does not tell.

    What is measured is told only of runs that differ in nothing else.
    """
    varying = [
        key for key in varying_identity(experiment) if not is_determined(experiment, key, ["name"])
    ]
    probes = [key for key in varying if key.split(".")[0] == "probes"]
    keys = [key for key in varying if key not in probes]
    names = dict(zip((*keys, *probes), short_names([*keys, *probes]), strict=True))
    seeds = [key for key in SEEDS if key in experiment]
    alike = cells_of(experiment, ["name", *seeds, *keys]).number
    told = {
        key: experiment.groupby(alike)[key].transform("nunique", dropna=False) > 1 for key in probes
    }
    return {
        place: " ".join(
            f"{names[key]}={label(key, record[key])}"
            for key in [*keys, *(key for key in probes if told[key][place])]
            if record[key] == record[key] and record[key] is not None
        )
        for place, record in zip(shown.index, shown[varying].to_dict("records"), strict=True)
    }
