"""The columns of a frame: which keys vary, which become rows and columns, how values are shown."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pandas import DataFrame

from normlab.config import PROBES, Config, decides_id, decides_training
from normlab.errors import ConfigError
from normlab.text import did_you_mean
from normlab.vocabulary import METRICS

DATA = "data"
DEPTH = "model.depth"
NORM = "norm"
RESIDUAL = "model.residual"

# What is drawn anew with each: runs that differ in nothing else are repetitions of one training.
SEEDS = ("seed", "data.seed")
# No training depends on it, but what is measured of a net with BatchNorm does.
_PROBE_BATCH = "probes.batch_size"


def label(key: str, value: Any) -> str:
    """A key's value as tables show it: `plain` or `residual`, `true`, `0.1`, `–` for none.

    It stands beside its key, so that no norm is `none`, the value that one sets and filters by;
    where it stands alone, in a variant's name, it says so itself: `no-norm`, `lr=0.1`. A cause
    `none` would be read as one that is not known.
    """
    if key == "cause":
        return cause_label(value)
    if value is None or value != value:
        return "–"
    if key == RESIDUAL:
        return "residual" if value in (True, "true") else "plain"
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return shortest(value) if isinstance(value, float) else str(value)


def cause_label(cause: Any) -> str:
    """A cause as people read it: `–` where nothing is wrong, `not recorded` of older versions."""
    if cause is None or cause != cause:
        return "not recorded"
    return "–" if cause == "none" else str(cause)


def shortest(value: float) -> str:
    """A number in few digits that are its own: 0.1, 1e-05, 0.30000000000000004."""
    text = f"{value or 0.0:g}"  # -0.0 is 0.0
    return text if float(text) == value else repr(float(value)).removesuffix(".0")


def short_names(keys: Sequence[str]) -> list[str]:
    """What tables call keys: `depth` of model.depth, but the whole where two would be called alike.

    A seed of the data is never called like that of the run.
    """
    ends = [key.rsplit(".", 1)[-1] for key in keys]
    taken = [*ends, *(key for key in SEEDS if key not in keys)]
    return [end if taken.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


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
    ends = ("status", "verdict", "cause")
    choices = ", ".join([*varying(frame), "seed", *ends, *metric_choices(frame)])
    raise ConfigError(f"{key}: no such key{_near(key, columns) or f'; some are {choices}'}")


def known_metric(frame: DataFrame, name: str) -> str:
    """The column of a metric; raises ConfigError where there is none."""
    name = name.removesuffix(".name")
    choices = metric_choices(frame)
    if name in choices:
        return name
    if name in PROBES:
        raise ConfigError(
            f"{name}: is measured layer by layer, and no metric of a run; normlab plot gradients "
            f"--probe {name} draws it"
        )
    near = _near(name, choices)
    raise ConfigError(f"{name}: no such metric; choices: {', '.join(choices)}{near}")


def _near(key: str, columns: Sequence[str]) -> str:
    """`; did you mean model.depth?` of depth, or nothing where no column is near."""
    ends = [column for column in columns if column.endswith(f".{key}")]
    return f"; did you mean {ends[0]}?" if ends else did_you_mean(key, columns)


def seeds_beside(frame: DataFrame) -> list[str]:
    """The kinds of seeds that vary beside the run's own."""
    return [key for key in SEEDS[1:] if key in frame and frame[key].nunique(dropna=False) > 1]


def varying(frame: DataFrame) -> list[str]:
    """The config keys that set trainings apart; the variant (norm, model, residual) first.

    Seeds, and what cannot change a training, such as probes, are none of them. A key varies if it
    does so among runs of one choice of its group: that BatchNorm has a momentum and LayerNorm has
    none is only a consequence of `norm`.
    """
    return _varying(frame, decides_training)


def varying_identity(frame: DataFrame) -> list[str]:
    """The config keys but the seeds that set run ids apart, in the order of `varying`."""
    return _varying(frame, decides_id)


def _varying(frame: DataFrame, counts: Callable[[str], bool]) -> list[str]:
    found = []
    for column in frame.columns:
        group = column.split(".")[0]
        if group not in Config.model_fields or not counts(column) or column in SEEDS:
            continue
        # That other runs have no part of a plugin is a consequence of the parts.
        if frame[column].nunique(dropna=group == "plugins") < 2:
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

    What the columns decide needs no rows of its own, but for the data set: figures on unlike data
    are never compared in one row. Raises ConfigError where a key is no column.
    """
    vary = varying(frame)
    if cols is None:
        cols = [DEPTH] if DEPTH in vary and DEPTH not in (rows or ()) else []
    cols = [known_key(frame, key) for key in cols]
    if rows is None:
        rows = [key for key in vary if key not in cols]
        rows = [
            key for key in rows if not cols or key == DATA or not is_determined(frame, key, cols)
        ]
        if not rows:
            rows, cols = cols or ["name"], []
    rows = [known_key(frame, key) for key in rows]
    for key in rows:
        if key in cols:
            raise ConfigError(f"--cols {key}: is among the rows already; choose one place for it")
    return list(dict.fromkeys(rows)), list(dict.fromkeys(cols))


def pooled(frame: DataFrame, keys: Sequence[str], metrics: Sequence[str] = ()) -> list[str]:
    """The config keys that vary within a cell of the given keys, where n counts more than seeds.

    Of two kinds of seeds the second is one, where each has several values of the other. So is the
    size of the probe batch, where one of the metrics is measured on it.
    """
    candidates = varying(frame)
    drawn = [key for key in SEEDS if key in frame]
    if len(drawn) == len(SEEDS) and not is_determined(frame, drawn[0], [*keys, drawn[1]]):
        candidates += [] if is_determined(frame, drawn[1], [*keys, drawn[0]]) else drawn[1:]
    if any(METRICS[name].state for name in metrics if name in METRICS):
        candidates += [key for key in (_PROBE_BATCH,) if key in frame]
    return [key for key in candidates if key not in keys and not is_determined(frame, key, keys)]
