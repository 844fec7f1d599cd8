"""The columns of a frame: which keys vary, which become rows and columns, how values are shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pandas import DataFrame

from normlab.config import Config
from normlab.errors import ConfigError
from normlab.text import did_you_mean
from normlab.vocabulary import METRICS

DEPTH = "model.depth"
NORM = "norm"
RESIDUAL = "model.residual"

_OUTSIDE_IDENTITY = ("runtime", "launcher", "output")


def label(key: str, value: Any) -> str:
    """A key's value as tables show it: `plain` or `residual`, `true`, `0.1`, `–` for none."""
    if value is None or value != value:
        return "–"
    if key == RESIDUAL:
        return "residual" if value in (True, "true") else "plain"
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def rank(value: Any) -> tuple[int, Any]:
    """Orders a key's values: numbers, then text with `none` first, then absent ones."""
    if value is None or value != value:
        return 3, 0
    if isinstance(value, str):
        return (1, "") if value == "none" else (2, value)
    return 0, value


def metric_choices(frame: DataFrame) -> list[str]:
    """The figures of a run that can be averaged over seeds."""
    return [column for column in frame.columns if column in METRICS]


def known_key(frame: DataFrame, key: str) -> str:
    """The column of a key, `norm` for norm.name; raises ConfigError where there is none."""
    key = key.removesuffix(".name")
    columns = list(frame.columns)
    if key in columns:
        return key
    choices = ", ".join([*varying(frame), "seed", "status", "verdict", *metric_choices(frame)])
    raise ConfigError(f"{key}: no such key{_near(key, columns) or f'; some are {choices}'}")


def known_metric(frame: DataFrame, name: str) -> str:
    """The column of a metric; raises ConfigError where there is none."""
    name = name.removesuffix(".name")
    choices = metric_choices(frame)
    if name in choices:
        return name
    near = _near(name, choices)
    raise ConfigError(f"{name}: no such metric; choices: {', '.join(choices)}{near}")


def _near(key: str, columns: Sequence[str]) -> str:
    """`; did you mean model.depth?` of depth, or nothing where no column is near."""
    ends = [column for column in columns if column.endswith(f".{key}")]
    return f"; did you mean {ends[0]}?" if ends else did_you_mean(key, columns)


def varying(frame: DataFrame) -> list[str]:
    """The config keys that vary, but the seed; the variant (norm, model, residual) first.

    A key varies if it does so among runs of one choice of its group: that BatchNorm has a momentum
    and LayerNorm has none is only a consequence of `norm`.
    """
    found = []
    for column in frame.columns:
        group = column.split(".")[0]
        if group not in Config.model_fields or group in (*_OUTSIDE_IDENTITY, "seed"):
            continue
        if frame[column].nunique(dropna=False) < 2:
            continue
        if group in frame and column != group and is_determined(frame, column, [group]):
            continue
        found.append(column)
    first = (NORM, "model", RESIDUAL)
    return sorted(found, key=lambda c: first.index(c) if c in first else len(first))


def is_determined(frame: DataFrame, column: str, keys: Sequence[str]) -> bool:
    """Whether runs that agree in the keys agree in the column too."""
    if not keys:
        return bool(frame[column].nunique(dropna=False) < 2)
    return len(frame[[*keys, column]].drop_duplicates()) == len(frame[[*keys]].drop_duplicates())


def layout(
    frame: DataFrame, rows: Sequence[str] | None = None, cols: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """The keys of a comparison's rows and columns, by default whatever varies, depth as columns.

    Raises ConfigError where a key is no column.
    """
    vary = varying(frame)
    if cols is None:
        cols = [DEPTH] if DEPTH in vary and DEPTH not in (rows or ()) else []
    cols = [known_key(frame, key) for key in cols]
    if rows is None:
        rows = [key for key in vary if key not in cols]
        # What depth alone decides goes along with it and needs no rows of its own.
        rows = [key for key in rows if not cols or not is_determined(frame, key, cols)]
        if not rows:
            rows, cols = cols or ["name"], []
    rows = [known_key(frame, key) for key in rows]
    for key in rows:
        if key in cols:
            raise ConfigError(f"--cols {key}: is among the rows already; choose one place for it")
    return list(dict.fromkeys(rows)), list(dict.fromkeys(cols))


def pooled(frame: DataFrame, keys: Sequence[str]) -> list[str]:
    """The config keys that vary within a cell of the given keys, where n counts more than seeds."""
    return [
        key for key in varying(frame) if key not in keys and not is_determined(frame, key, keys)
    ]
