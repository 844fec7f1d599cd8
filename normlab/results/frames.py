"""Results folders to DataFrames: one tidy row a run, statistics over seeds, paired comparison.

A column is a config key (`model.depth`; a group's choice stands under the group's own name, `norm`
for norm.name) or a field of summary.json (`train_acc`).
"""

import functools
import gc
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import pyarrow
from pandas import DataFrame
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from normlab.config import Config, describe, from_yaml, run_id
from normlab.errors import ConfigError, RecordError
from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO
from normlab.runs import FINAL, LOCK_FILE, is_running, write_whole
from normlab.text import did_you_mean

STATUSES = ("finished", "diverged", "failed", "interrupted", "running", "unfinished")
# From the best to the worst; where two are equally frequent, the worse one is shown.
VERDICTS = (
    "trains",
    "healthy",
    "undertrained",
    "collapsed",
    "vanishing",
    "exploding",
    "diverged",
)
CONFIDENCE = 0.95
DEPTH = "model.depth"
# Claim C14: so much more train error of the deeper net is degradation. The first figure after a
# short training, where it may be mere slowness; the second after a full schedule.
DEGRADED_SPEED = 0.05
DEGRADED_ASYMPTOTE = 0.015

_ENDED = ("finished", "diverged", "failed", "interrupted")
# Ten times what a summary takes; a buffer of more would cost more than reading does.
_SUMMARY_BYTES = 1 << 16
# A sentence names so many variants.
_LISTED = 6
_CHUNK = 100
_FIRST = ("run_id", "experiment", "name", "status", "verdict", "seed")
# A frame has these though no run of it may have been measured yet.
_ALWAYS = (
    *("train_acc", "train_loss", "test_acc", "test_loss", "seconds"),
    *("verdict_init", "gradient_ratio_init", "verdict_end", "gradient_ratio_end"),
)
_LAST = ("reason", "try", "folder")
_MEASURES = re.compile(r"(train|test)_(acc|loss)|gradient_(factor|ratio)_\w+|sample_cosine_\w+")
COMMON_METRICS = (
    *("train_acc", "train_loss", "test_acc", "test_loss"),
    *("gradient_ratio_init", "gradient_ratio_end", "gradient_factor_init", "seconds"),
)
_COUNTS = ("steps", "seconds", "parameters", "layers", "classes")
_GROUPS = ("data", "model", "norm", "optimizer", "training")  # what no config is without
_OUTSIDE_IDENTITY = ("runtime", "launcher", "output")


# ----------------------------------------------------------------------------- reading


def read_results(paths: Sequence[Path]) -> tuple[DataFrame, list[str]]:
    """Every run at or below the folders as a row, and a line for each folder that is not a run.

    Links are not followed. A run without summary.json is `running` while a live process holds its
    lock, and `unfinished` otherwise. Raises RecordError where a path is no folder.
    """
    problems: list[str] = []
    collecting = gc.isenabled()
    # Garbage collection would look through all that was read again and again.
    gc.disable()
    try:
        return to_frame(_found(paths, problems), problems), problems
    finally:
        if collecting:
            gc.enable()


def _found(paths: Sequence[Path], problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: set[str] = set()
    for path in paths:
        if not path.is_dir():
            raise RecordError(f"{path}: no such folder")
        for folder, text in _walk(str(path), problems):
            if len(paths) > 1:
                place = str(Path(folder).resolve())
                if place in seen:
                    continue
                seen.add(place)
            try:
                yield folder, _pending(folder) if text is None else _parse(text)
            except (ValueError, RecursionError, ConfigError, OSError) as error:
                problems.append(f"{folder}: {_reason(error)}")


def _walk(folder: str, problems: list[str]) -> Iterator[tuple[str, bytes | None]]:
    """The run folders at and below a folder in order of names, each with its summary's text."""
    stack = [folder]
    while stack:
        here = stack.pop()
        try:
            yield here, _read(f"{here}/summary.json")
            continue
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            problems.append(f"{here}: {_reason(error)}")
            continue
        try:
            with os.scandir(here) as entries:
                inside = [(e.name, e.path, e.is_dir(follow_symlinks=False)) for e in entries]
        except OSError as error:
            problems.append(f"{here}: {_reason(error)}")
            continue
        below = [path for name, path, is_dir in inside if is_dir and not name.startswith(".")]
        files = {name for name, _, is_dir in inside if not is_dir}
        if "config.yaml" in files:
            yield here, None
        elif LOCK_FILE in files:
            problems.append(f"{here}: just begun, it has no config.yaml yet")
        elif not below and here != folder:
            problems.append(f"{here}: not a run, it has neither config.yaml nor summary.json")
        stack.extend(sorted(below, reverse=True))


# A link could lead out of the results, and a named pipe would block.
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def _read(path: str) -> bytes:
    file = os.open(path, _FLAGS)
    try:
        text = os.read(file, _SUMMARY_BYTES)
    finally:
        os.close(file)
    if len(text) == _SUMMARY_BYTES:
        raise ValueError("summary.json is not normlab's, it is too large")
    return text


def _parse(text: bytes) -> dict[str, Any]:
    try:
        summary = json.loads(text.decode())
    except ValueError as error:
        raise ValueError(f"summary.json is damaged ({_reason(error)})") from error
    if (
        not isinstance(summary, dict)
        or not isinstance(summary.get("run_id"), str)
        or summary.get("status") not in _ENDED
    ):
        raise ValueError("summary.json is not normlab's")
    return summary


def _pending(folder: str) -> dict[str, Any]:
    """A stand-in for the summary of a run that has none yet."""
    config = from_yaml((Path(folder) / "config.yaml").read_text(encoding="utf-8"))
    return {
        "run_id": run_id(config),
        "name": describe(config),
        "status": "running" if is_running(Path(folder)) else "unfinished",
        "verdict": None,
        "config": config.model_dump(mode="json"),
    }


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


def to_frame(
    runs: Iterable[tuple[str | Path, Mapping[str, Any]]], problems: list[str] | None = None
) -> DataFrame:
    """Folders and their summaries as tidy rows; `problems` gets a line for what is damaged."""
    problems = [] if problems is None else problems
    # Runs of one kind have the same keys, so that whole columns are built at once; few runs at a
    # time stay in the processor's cache and give their memory back.
    kinds: dict[Any, list[_Row]] = {}
    tables: list[tuple[list[int], pyarrow.Table]] = []

    def build(kind: Any) -> None:
        rows = _sound(kind[0], kinds.pop(kind), problems)
        if rows:
            tables.append(([row.place for row in rows], _table(kind[0], kind[1], rows)))

    for index, (folder, summary) in enumerate(runs):
        try:
            config = _config(str(folder), summary)
        except (ValueError, OSError, ConfigError) as error:
            problems.append(f"{folder}: {_reason(error)}")
            continue
        parts = tuple((k, tuple(v) if type(v) is dict else None) for k, v in config.items())
        kind = tuple(summary), parts
        rows = kinds.setdefault(kind, [])
        rows.append(_Row(index, str(folder), summary, config))
        if len(rows) == _CHUNK:
            build(kind)
    for kind in list(kinds):
        build(kind)
    table = _concatenated([table for _, table in tables])
    found = dict.fromkeys([*_FIRST, *table.column_names, *_ALWAYS])
    frame: DataFrame = table.to_pandas().reindex(
        columns=[*(n for n in found if n not in _LAST), *_LAST]
    )
    if len(tables) > 1:
        order = list(itertools.chain.from_iterable(indices for indices, _ in tables))
        frame = frame.iloc[np.argsort(order)].reset_index(drop=True)
    return frame


class _Row(NamedTuple):
    place: int
    folder: str
    summary: Mapping[str, Any]
    config: Mapping[str, Any]


def _config(folder: str, summary: Mapping[str, Any]) -> Mapping[str, Any]:
    config = summary.get("config")
    if config is None:  # written before summaries held their config
        text = (Path(folder) / "config.yaml").read_text(encoding="utf-8")
        config = from_yaml(text).model_dump(mode="json")
    if not isinstance(config, dict) or type(config.get("seed")) is not int:
        raise ValueError("summary.json is not normlab's, its config has no seed")
    lacking = [group for group in _GROUPS if not isinstance(config.get(group), dict)]
    if lacking:
        raise ValueError(f"summary.json is not normlab's, its config has no {lacking[0]}")
    return config


def is_metric(name: str) -> bool:
    """Whether a field of a summary is a figure that can be averaged."""
    return name in _COUNTS or bool(_MEASURES.fullmatch(name))


def _sound(keys: Sequence[str], rows: list[_Row], problems: list[str]) -> list[_Row]:
    """The rows whose figures are figures."""
    allowed = {float, int, type(None)}
    for key in filter(is_metric, keys):
        if not {type(row.summary[key]) for row in rows} <= allowed:
            damaged = [row for row in rows if type(row.summary[key]) not in allowed]
            problems.extend(
                f"{row.folder}: summary.json is damaged, its {key} is not a number"
                for row in damaged
            )
            rows = [row for row in rows if type(row.summary[key]) in allowed]
    return rows


def _table(keys: Sequence[str], parts: Any, rows: list[_Row]) -> pyarrow.Table:
    """The columns of runs of one kind."""
    folders = [row.folder for row in rows]
    summaries, configs = [row.summary for row in rows], [row.config for row in rows]
    columns = {
        "folder": pyarrow.array(folders),
        "experiment": pyarrow.array([_parent(folder) for folder in folders]),
    }
    for key in keys:
        if key not in ("config", "version"):  # the file's, not the run's
            columns[key] = _array(key, [summary[key] for summary in summaries])
    for group, members in parts:
        if group == "output":  # where the folder lies now counts, not where it was written
            continue
        chosen = [config[group] for config in configs]
        if members is None:
            columns[group] = _array(group, chosen)
            continue
        same = all(part == chosen[0] for part in chosen)  # as most groups are: one cell will do
        for key in members:
            name = group if key == "name" else f"{group}.{key}"
            values = _array(name, [part[key] for part in (chosen[:1] if same else chosen)])
            columns[name] = pyarrow.repeat(values[0], len(rows)) if same else values
    return pyarrow.table(columns)


def _array(name: str, values: list[Any]) -> pyarrow.Array:
    if _MEASURES.fullmatch(name):
        return pyarrow.array(values, type=pyarrow.float64())
    types = set(map(type, values)) - {type(None)}
    if types - {bool, int, float, str} or (len(types) > 1 and not types <= {int, float}):
        values = [None if value is None else _text(value) for value in values]
    elif len(types) > 1:
        values = [None if value is None else float(value) for value in values]
    return pyarrow.array(values)


def _concatenated(tables: list[pyarrow.Table]) -> pyarrow.Table:
    """The tables below each other; a column of unlike types becomes text."""
    types: dict[str, set[Any]] = {}
    for field in itertools.chain.from_iterable(table.schema for table in tables):
        types.setdefault(field.name, set()).add(field.type)
    numeric, nothing = {pyarrow.int64(), pyarrow.float64()}, {pyarrow.null()}
    for name, found in types.items():
        if len(found - nothing) > 1 and not found <= numeric | nothing:
            tables = [
                table.set_column(
                    table.column_names.index(name), name, table[name].cast(pyarrow.string())
                )
                if name in table.column_names
                else table
                for table in tables
            ]
    return (
        pyarrow.concat_tables(tables, promote_options="permissive") if tables else pyarrow.table({})
    )


def _parent(folder: str) -> str:
    # A Path a run would take longer than reading it does.
    return os.path.abspath(folder).split(os.sep)[-2]  # noqa: PTH100, PTH206


def _text(value: Any) -> str:
    """A value as one writes it in an override."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def read_selected(paths: Sequence[Path], expressions: Sequence[str]) -> tuple[DataFrame, list[str]]:
    """The runs at or below the folders that fulfil every `where` expression, and the problems."""
    frame, problems = read_results(paths)
    return where(frame, expressions), problems


# -------------------------------------------------------------------- keys and columns


def label(key: str, value: Any) -> str:
    """A key's value as tables show it: `plain` or `residual`, `true`, `0.1`, `–` for none."""
    if value is None or value != value:
        return "–"
    if key == "model.residual":
        return "residual" if value in (True, "true") else "plain"
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


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
        if group in frame and column != group and _determined(frame, column, [group]):
            continue
        found.append(column)
    first = ("norm", "model", "model.residual")
    return sorted(found, key=lambda c: first.index(c) if c in first else len(first))


def layout(
    frame: DataFrame, rows: Sequence[str] | None = None, cols: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """The keys of a comparison's rows and columns, by default whatever varies, depth as columns.

    Raises ConfigError where a key is no column.
    """
    vary = varying(frame)
    if cols is None:
        cols = [DEPTH] if DEPTH in vary and DEPTH not in (rows or ()) else []
    cols = [_known(frame, key) for key in cols]
    if rows is None:
        rows = [key for key in vary if key not in cols]
        # What depth alone decides goes along with it and needs no rows of its own.
        rows = [key for key in rows if not cols or not _determined(frame, key, cols)]
        if not rows:
            rows, cols = cols or ["name"], []
    rows = [_known(frame, key) for key in rows]
    for key in rows:
        if key in cols:
            raise ConfigError(f"--cols {key}: is among the rows already; choose one place for it")
    return list(dict.fromkeys(rows)), list(dict.fromkeys(cols))


def pooled(frame: DataFrame, keys: Sequence[str]) -> list[str]:
    """The config keys that vary within a cell of the given keys, where n counts more than seeds."""
    return [key for key in varying(frame) if key not in keys and not _determined(frame, key, keys)]


def _determined(frame: DataFrame, column: str, keys: Sequence[str]) -> bool:
    if not keys:
        return bool(frame[column].nunique(dropna=False) < 2)
    return len(frame[[*keys, column]].drop_duplicates()) == len(frame[[*keys]].drop_duplicates())


def metric_choices(frame: DataFrame) -> list[str]:
    """The figures of a run that can be averaged over seeds."""
    return [c for c in frame.columns if is_metric(c)]


def _known(frame: DataFrame, key: str, *, metric: bool = False) -> str:
    key = key.removesuffix(".name")
    among = metric_choices(frame) if metric else list(frame.columns)
    if key in among:
        return key
    ends = [c for c in among if c.endswith(f".{key}")]
    near = f"; did you mean {ends[0]}?" if ends else did_you_mean(key, among)
    if metric:
        raise ConfigError(f"{key}: no such metric; choices: {', '.join(among)}{near}")
    choices = ", ".join([*varying(frame), "seed", "status", "verdict", *metric_choices(frame)])
    raise ConfigError(f"{key}: no such key{near or f'; some are {choices}'}")


_EXPRESSION = re.compile(r"\s*([\w.]+)\s*(==|!=|>=|<=|=|>|<)\s*(.*?)\s*")
_ABSENT = ("null", "none", "")


def check_where(expression: str) -> "re.Match[str]":
    """The parts of a `where` expression; raises ConfigError where it has no such form."""
    matched = _EXPRESSION.fullmatch(expression)
    if matched is None:
        raise ConfigError(
            f"--where {expression!r}: must be KEY=VALUE with one of =, !=, >=, <=, >, <, "
            "as in 'model.depth>=20' or 'norm=bn,ln'"
        )
    return matched


def where(frame: DataFrame, expressions: Sequence[str]) -> DataFrame:
    """The runs that fulfil every expression: `norm=bn,ln`, `model.depth>=20`, `verdict!=trains`.

    Raises ConfigError where an expression has no such form, key or type of value, or where no run
    has the value that it asks for.
    """
    for expression in expressions:
        matched = check_where(expression)
        key, operator = _known(frame, matched[1]), matched[2]
        column = frame[key]
        if operator in ("=", "==", "!="):
            chosen = np.zeros(len(frame), dtype=bool)
            for text in matched[3].split(","):
                chosen |= _equals(column, text.strip(), expression)
            chosen = ~chosen if operator == "!=" else chosen
        else:
            if is_bool_dtype(column) or not is_numeric_dtype(column):
                raise ConfigError(f"--where {expression!r}: {key} is not a number; use = or !=")
            bound = _as_number(matched[3], expression, key)
            values = column.to_numpy(dtype=np.float64)
            compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
            chosen = compare[operator](values, bound)
        if len(frame) and not chosen.any():
            choices = sorted(
                {"null" if v != v or v is None else label("", v) for v in column.unique()}
            )
            shown = f"{', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"
            raise ConfigError(
                f"--where {expression!r}: no run has it; {key} has {shown}"
                f"{did_you_mean(matched[3], choices)}"
            )
        frame = frame[chosen]
    return frame


def _equals(column: Any, text: str, expression: str) -> Any:
    if text.lower() in _ABSENT and not (column == text).any():
        return column.isna().to_numpy()
    present = column.dropna()
    if len(present) and all(isinstance(v, bool | np.bool_) for v in present.unique()):
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"--where {expression!r}: {column.name} must be true or false")
        return (column == (text.lower() == "true")).fillna(False).to_numpy(dtype=bool)
    if is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64)
        return values == _as_number(text, expression, str(column.name))
    return (column.astype(str) == text).to_numpy(dtype=bool)


def _as_number(text: str, expression: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--where {expression!r}: {key} must be a number") from None


# -------------------------------------------------------------------------- statistics


def is_log(metric: str) -> bool:
    """Whether a figure is averaged in log space: gradient ratios and factors."""
    return metric.startswith(("gradient_ratio_", "gradient_factor_"))


def counts(frame: DataFrame) -> dict[str, int]:
    """The number of runs by status, and `repeated` ones: equal configs in several folders."""
    found = frame["status"].value_counts()
    numbers = {status: int(found[status]) for status in STATUSES if status in found}
    repeated = len(frame) - frame["run_id"].nunique()
    return {**numbers, **({"repeated": repeated} if repeated else {})}


def summarize(
    frame: DataFrame,
    rows: Sequence[str],
    cols: Sequence[str],
    metrics: Sequence[str],
    sort: str | None = None,
) -> DataFrame:
    """A row a cell and metric: its keys, metric, mean, low, high, n, and what stands behind them.

    low and high bound the 95 % confidence interval mean ± t₀.₉₇₅(n−1)·s/√n over the n finished and
    diverged runs, NaN for n = 1. Intervals are not clipped: one that leaves [0, 1] says that there
    are too few seeds. Gradient ratios and factors are averaged as logarithms: mean is the geometric
    mean, and the interval is transformed back. There a 0 has no logarithm: it is left
    out and counted in `zeros`; where nothing else is left it is the mean.

    `diverged` counts the diverged runs of a cell, `left_out` those that failed, were interrupted,
    are running or unfinished, `missing` the results whose figure is missing or not finite,
    which summary.json does not tell apart; `verdict` is the most frequent one, of equally frequent
    ones the worst. A config that lies in several folders counts once, unless its experiment is a
    key. `sort` names a key or metric, with `-` for descending. Raises ConfigError where a key or
    metric is not there.
    """
    keys = [_known(frame, key) for key in (*rows, *cols)]
    metrics = [_known(frame, metric, metric=True) for metric in dict.fromkeys(metrics)]
    frame = _distinct(frame, keys)
    cell, first = _cells(frame, keys)
    size = len(first)
    status = frame["status"].to_numpy(dtype=object)
    final = np.isin(status.astype(str), FINAL)
    parts = []
    for metric in metrics:
        figures = frame[metric].to_numpy(dtype=np.float64)
        missing = final & ~np.isfinite(figures)
        zeros = final & (figures == 0) & is_log(metric)
        used = final & np.isfinite(figures) & ~zeros
        values = np.log(figures[used]) if is_log(metric) else figures[used]
        mean, half, n = _interval(values, cell[used], size)
        low, high = mean - half, mean + half
        if is_log(metric):
            mean, low, high = _exp(mean), _exp(low), _exp(high)
        zero_count = _count(cell, zeros, size)
        mean = np.where((n == 0) & (zero_count > 0), 0.0, mean)
        parts.append(
            {
                "metric": np.full(size, metric, dtype=object),
                "mean": mean,
                "low": low,
                "high": high,
                "n": n,
                "zeros": zero_count,
                "missing": _count(cell, missing, size),
            }
        )
    about = {
        "diverged": _count(cell, status == "diverged", size),
        "left_out": _count(cell, ~final, size),
        "verdict": _majority(frame["verdict"], cell, size),
    }
    cells = frame[keys].iloc[first].reset_index(drop=True)
    tables = [pandas.concat([cells, DataFrame({**part, **about})], axis=1) for part in parts]
    joined = pandas.concat(tables, ignore_index=True)
    # From metric after metric to cell after cell.
    order = np.arange(len(joined)).reshape(len(parts), size).T.ravel()
    joined = joined.iloc[order].reset_index(drop=True)
    return joined if sort is None else _sorted(joined, rows, sort)


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
    NaN for n < 2. What made no pair is counted: `unpaired` has no such baseline run, of `zeros` one
    figure is 0 and has no logarithm, of `missing` one is missing or not finite. Raises ConfigError
    where no run is of the baseline, or every one.
    """
    settings = [part.strip() for part in baseline.split(",")]
    if not all(re.fullmatch(r"[\w.]+=[^=<>!]+", setting) for setting in settings):
        raise ConfigError(f"--baseline {baseline!r}: must be KEY=VALUE, as in norm=none")
    varied = [_known(frame, setting.split("=")[0]) for setting in settings]
    cells = list(dict.fromkeys([*(_known(frame, k) for k in (*rows, *cols)), *varied]))
    metrics = [_known(frame, metric, metric=True) for metric in dict.fromkeys(metrics)]
    frame = _distinct(frame, cells)
    frame = frame[frame["status"].isin(FINAL)]
    try:
        base = where(frame, settings)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--where", "--baseline")) from error
    others = frame.drop(base.index)
    if others.empty:
        raise ConfigError(_nothing_else(frame, baseline))
    match = ["seed", *_matched(frame, base, others, varied)]
    keys = list(dict.fromkeys([*match, *cells]))
    found = []
    for metric in metrics:
        figures = [
            _scaled(part, metric)
            .groupby(by, dropna=False, sort=False)
            .agg(value=("value", "mean"), zero=("zero", "any"))
            for part, by in ((others, keys), (base, match))
        ]
        # Every cell stays, with no pairs if need be.
        joined = (
            figures[0]
            .reset_index()
            .merge(
                figures[1].reset_index(),
                on=match,
                how="left",
                suffixes=("", "_base"),
                indicator="twin",
            )
        )
        difference = (joined["value"] - joined["value_base"]).to_numpy(dtype=np.float64)
        cell, first = _cells(joined, cells)
        used = np.isfinite(difference)
        alone = joined["twin"].eq("left_only").to_numpy(dtype=bool)
        zero = ~used & ~alone & (joined["zero"] | joined["zero_base"].eq(True)).to_numpy(dtype=bool)
        lost = {"unpaired": alone, "zeros": zero, "missing": ~used & ~alone & ~zero}
        mean, half, n = _interval(difference[used], cell[used], len(first))
        p = _p_value(mean, half, n)
        low, high = mean - half, mean + half
        if is_log(metric):
            mean, low, high = _exp(mean), _exp(low), _exp(high)
        about = {"metric": metric, "baseline": baseline, "mean": mean, "low": low, "high": high}
        table = joined[cells].iloc[first].reset_index(drop=True)
        left = {why: _count(cell, chosen, len(first)) for why, chosen in lost.items()}
        found.append(table.assign(**about, n=n, p=p, **left))
    pairs: DataFrame = pandas.concat(found, ignore_index=True)
    return pairs


def _matched(
    frame: DataFrame, base: DataFrame, others: DataFrame, varied: Sequence[str]
) -> list[str]:
    """The keys but the seed in which a run and its baseline run must agree."""
    groups = tuple(f"{key}." for key in varied)
    return [
        key
        for key in varying(frame)
        if key not in varied
        and not (key.startswith(groups) and any(p[key].isna().all() for p in (base, others)))
    ]


def _nothing_else(frame: DataFrame, baseline: str) -> str:
    if frame.empty:
        return f"--baseline {baseline}: no run has ended yet"
    nets = "model=" in baseline and frame["model.residual"].nunique() > 1
    hint = "; cnn and resnet are both model=cnn, model.residual=false tells them apart"
    return f"--baseline {baseline}: every run is of the baseline{hint if nets else ''}"


def _scaled(frame: DataFrame, metric: str) -> DataFrame:
    figures = frame[metric].to_numpy(dtype=np.float64)
    zero = (figures == 0) & is_log(metric)
    if is_log(metric):
        figures = np.log(np.where(figures > 0, figures, np.nan))
    return frame.assign(value=np.where(np.isfinite(figures), figures, np.nan), zero=zero)


def _distinct(frame: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Each config once, whole runs before others: a copy is no independent sample."""
    identity = ["run_id", *(k for k in ("experiment", "folder") if k in keys)]
    if not frame.duplicated(identity).any():
        return frame
    order = np.argsort(~frame["status"].isin(FINAL).to_numpy(), kind="stable")
    once: DataFrame = frame.iloc[order].drop_duplicates(identity).sort_index()
    return once


def _cells(frame: DataFrame, keys: Sequence[str]) -> tuple[Any, Any]:
    """Each row's cell number, in the order of the keys' values, and each cell's first row."""
    number = np.zeros(len(frame), dtype=np.int64)
    for key in keys:
        codes, values = pandas.factorize(frame[key], use_na_sentinel=False)
        ordered = sorted(range(len(values)), key=[rank(value) for value in values].__getitem__)
        place = np.empty(len(values), dtype=np.int64)
        place[ordered] = np.arange(len(values))
        number = number * len(values) + place[codes]
        # Numbered anew after each key, so that many keys do not overflow.
        number = np.unique(number, return_inverse=True)[1]
    _, first, cell = np.unique(number, return_index=True, return_inverse=True)
    return cell, first


def rank(value: Any) -> tuple[int, Any]:
    """Orders a key's values: numbers, then text with `none` first, then absent ones."""
    if value is None or value != value:
        return 3, 0
    if isinstance(value, str):
        return (1, "") if value == "none" else (2, value)
    return 0, value


def _count(cell: Any, chosen: Any, size: int) -> Any:
    return np.bincount(cell[chosen], minlength=size)


def _interval(values: Any, cell: Any, size: int) -> tuple[Any, Any, Any]:
    """Each cell's mean, half its confidence interval, and n."""
    n = np.bincount(cell, minlength=size)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.bincount(cell, weights=values, minlength=size) / n
        squares = np.bincount(cell, weights=(values - mean[cell]) ** 2, minlength=size)
        error = np.sqrt(squares / (n - 1) / n)
        half = np.where(n > 1, _quantiles(n) * error, np.nan)
    return mean, half, n


def interval(values: Sequence[float], *, log: bool = False) -> tuple[float, float, float]:
    """The mean of some seeds' figures and the bounds of its 95 % confidence interval.

    mean ± t₀.₉₇₅(n−1)·s/√n, NaN for n = 1; with `log` of logarithms, transformed back: the
    geometric mean.
    """
    figures = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = np.log(figures) if log else figures
    mean, half, _ = _interval(figures, np.zeros(len(figures), dtype=np.int64), 1)
    bounds = mean[0], mean[0] - half[0], mean[0] + half[0]
    mean, low, high = (float(_exp(b)) if log else float(b) for b in bounds)
    return mean, low, high


def _exp(values: Any) -> Any:
    with np.errstate(over="ignore", under="ignore"):  # the bound of a wide interval may be infinite
        return np.exp(values)


def _p_value(mean: Any, half: Any, n: Any) -> Any:
    """Two-sided p of a mean of 0, from the mean and half its confidence interval."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / (half / _quantiles(n))
    return np.array(
        [
            max(0.0, 1 - t_within(float(t_), int(n_) - 1)) if n_ > 1 else math.nan
            for t_, n_ in zip(t, n, strict=True)
        ]
    )


def _quantiles(n: Any) -> Any:
    return np.array([t_quantile(int(size) - 1) if size > 1 else math.nan for size in n])


# Importing scipy for these two would take longer than reading some thousand runs.


def t_within(t: float, freedom: int) -> float:
    """P(|T| ≤ t) of Student's t with whole degrees of freedom, a finite sum (Abramowitz & Stegun
    26.7.3 and 26.7.4), exact to 1e-14."""
    if math.isnan(t):
        return math.nan
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    k = np.arange(2 + odd, freedom - 1, 2)
    series = 1 + float(np.cumprod((k - 1) / k * cosine**2).sum())
    if not odd:
        return sine * series
    return (angle + (sine * cosine * series if freedom > 1 else 0.0)) * 2 / math.pi


@functools.cache
def t_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """The t with P(|T| ≤ t) = confidence of Student's t, by bisection to the last digits."""
    low, high = 0.0, math.pi / 2
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return math.tan(middle) * math.sqrt(freedom)
        t = math.tan(middle) * math.sqrt(freedom)
        low, high = (middle, high) if t_within(t, freedom) < confidence else (low, middle)


def _majority(verdicts: Any, cell: Any, size: int) -> Any:
    codes = pandas.Categorical(verdicts, categories=list(VERDICTS)).codes.astype(np.int64)
    given = codes >= 0
    pairs = np.bincount(
        cell[given] * len(VERDICTS) + codes[given], minlength=size * len(VERDICTS)
    ).reshape(size, len(VERDICTS))
    worst_first = len(VERDICTS) - 1 - np.argmax(pairs[:, ::-1], axis=1)
    names = np.array(VERDICTS, dtype=object)[worst_first]
    return np.where(pairs.any(axis=1), names, None)


def _sorted(summary: DataFrame, rows: Sequence[str], sort: str) -> DataFrame:
    descending, key = sort.startswith("-"), sort.removeprefix("-").removesuffix(".name")
    metrics = list(dict.fromkeys(summary["metric"]))
    choices = [*rows, *metrics]
    if key not in choices:
        raise ConfigError(
            f"--sort {sort}: no such row key or metric in the table; "
            f"choices: {', '.join(choices)}{did_you_mean(key, choices)}"
        )
    group = summary.groupby(list(rows), dropna=False, sort=False).ngroup().to_numpy()
    if key in rows:
        score = _cells(summary, [key])[0].astype(np.float64)
    else:
        chosen = summary["mean"].where(summary["metric"] == key)
        score = chosen.groupby(group).transform("mean").to_numpy(dtype=np.float64)
    score = np.where(np.isnan(score), np.inf, -score if descending else score)
    return summary.iloc[np.lexsort((np.arange(len(group)), group, score))].reset_index(drop=True)


# ---------------------------------------------------------------------------- findings


def degraded(shallow_error: float, deep_error: float, *, full_schedule: bool = False) -> bool:
    """Whether a deeper net's train error is larger than claim C14 allows: by more than 5 points,
    or 1.5 points after a full schedule."""
    gap = DEGRADED_ASYMPTOTE if full_schedule else DEGRADED_SPEED
    return deep_error - shallow_error > gap


class _Net(NamedTuple):
    """One variant at one depth, over its seeds."""

    variant: str
    depth: float
    init: str | None
    end: str | None
    verdict: str | None
    ratio_init: float
    ratio_end: float
    error: float
    runs: int
    agree_init: int  # runs whose own verdict at init is the most frequent one
    agree_end: int


def findings(frame: DataFrame) -> list[str]:
    """Two sentences: where gradients vanished or exploded, and where depth degraded train error
    though they did neither.

    Over seeds, verdicts are the most frequent ones, ratios geometric and errors arithmetic means.
    Empty where there is no result.
    """
    if frame.empty or not frame["status"].isin(FINAL).any():
        return []
    nets = _nets(frame, variant_keys(frame))
    sentences = [_gradients(nets)]
    if len({net.depth for net in nets}) > 1:
        sentences.append(_depths(nets))
    return sentences


def _nets(frame: DataFrame, variants: list[str]) -> list[_Net]:
    keys = [*variants, DEPTH]
    frame = _distinct(frame[frame["status"].isin(FINAL)], keys)
    metrics = ("train_acc", "gradient_ratio_init", "gradient_ratio_end")
    cell, first = _cells(frame, keys)
    figures = summarize(frame, variants, [DEPTH], metrics).groupby("metric")["mean"]
    mean = {metric: values.to_numpy() for metric, values in figures}
    verdicts = {
        name: _majority(frame[name], cell, len(first))
        for name in ("verdict_init", "verdict_end", "verdict")
    }
    runs = np.bincount(cell, minlength=len(first))
    agree = {
        name: _count(cell, frame[name].to_numpy(dtype=object) == verdicts[name][cell], len(first))
        for name in ("verdict_init", "verdict_end")
    }
    return [
        _Net(
            variant_name(row, variants),
            row[DEPTH],
            verdicts["verdict_init"][i],
            verdicts["verdict_end"][i],
            verdicts["verdict"][i],
            mean["gradient_ratio_init"][i],
            mean["gradient_ratio_end"][i],
            1 - mean["train_acc"][i],
            runs=int(runs[i]),
            agree_init=int(agree["verdict_init"][i]),
            agree_end=int(agree["verdict_end"][i]),
        )
        for i, row in enumerate(frame[keys].iloc[first].to_dict("records"))
    ]


def variant_keys(frame: DataFrame) -> list[str]:
    """The keys that set variants apart: all that vary but depth and the seed."""
    keys, _ = layout(frame, None, [DEPTH])
    # Depth alone, or nothing, may vary; data drawn anew with each seed are no variant.
    along = (
        ["data.seed"] if "data.seed" in keys and _determined(frame, "data.seed", ["seed"]) else []
    )
    return [key for key in keys if key not in (DEPTH, "name", *along)]


def variant_name(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    """A variant as sentences and pictures name it, such as `bn residual`."""
    return " ".join(_word(key, row[key]) for key in keys) or "every net"


def _word(key: str, value: Any) -> str:
    if key == "norm":
        return "no-norm" if value == "none" else str(value)
    text = label(key, value)
    return text if key in ("model", "model.residual", "data") else f"{key.split('.')[-1]}={text}"


def _gradients(nets: list[_Net]) -> str:
    clauses = []
    for verdict, verb in (("vanishing", "vanished"), ("exploding", "exploded")):
        lasting = [n for n in nets if verdict in (n.end, n.verdict)]
        at_init = [n for n in nets if n.init == verdict and n not in lasting]
        if lasting:
            clauses.append(f"{verb} in {_where_seen(lasting, 'end')}")
        if at_init:
            settled = " and settled" if all(n.end == "healthy" for n in at_init) else ""
            clauses.append(f"{verb} at init in {_where_seen(at_init, 'init')}{settled}")
    diverged = [n for n in nets if n.verdict == "diverged"]
    apart = f" Diverged: {_where_seen(diverged, None)}." if diverged else ""
    if not any(n.init or n.end for n in nets):
        return f"No gradient was measured.{apart}"
    if not clauses:
        return f"No gradient vanished or exploded, at init or at the end.{apart}"
    return f"The gradient (first/last layer) {'; '.join(clauses)}.{apart}"


def _where_seen(nets: list[_Net], when: str | None) -> str:
    """Variants and depths with their ratios, and how many runs of a net showed it where not all."""
    texts = []
    for variant, group in itertools.groupby(nets, key=lambda net: net.variant):
        seen = list(group)
        agree = [getattr(net, f"agree_{when}") if when else net.runs for net in seen]
        depths = ", ".join(
            f"{net.depth:g}" + (f" in {count} of {net.runs} runs" if count < net.runs else "")
            for net, count in zip(seen, agree, strict=True)
        )
        ratios = [getattr(net, f"ratio_{when}") for net in seen] if when else []
        figures = ", ".join(_ratio(value) for value in ratios)
        texts.append(f"{variant} at depth {depths}{f' ({figures})' if figures else ''}")
    return _listed(texts)


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return f"{', '.join(texts[:_LISTED])}{more}"


def _ratio(value: float) -> str:
    if value != value:
        return "not measured"
    if 100 <= value < 9999.5:
        return f"{value:.0f}"
    return f"{value:.2g}" if 0.001 <= value < 100 else f"{value:.0e}" if value else "0"


def _depths(nets: list[_Net]) -> str:
    worse: list[str] = []
    confounded: list[str] = []
    kept: list[str] = []
    for variant, group in itertools.groupby(nets, key=lambda net: net.variant):
        ladder = sorted((n for n in group if n.error == n.error), key=lambda net: net.depth)
        fallen: list[str] = []
        other: dict[str, list[str]] = {}
        for i, deep in enumerate(ladder[1:], start=1):
            best = min(ladder[:i], key=lambda net: net.error)
            if not degraded(best.error, deep.error):
                continue
            change = (
                f"{100 * best.error:.1f}% at depth {best.depth:g} to "
                f"{100 * deep.error:.1f}% at {deep.depth:g}"
            )
            if _flows(deep):
                fallen.append(change)
            else:
                why = deep.verdict if deep.verdict == "diverged" else deep.end or deep.init
                other.setdefault(why or "not measured", []).append(f"{deep.depth:g}")
        confounded += [f"{variant} at {', '.join(at)} ({why})" for why, at in other.items()]
        if fallen:
            worse.append(f"{variant} from {fallen[-1]}")
        elif len(ladder) > 1 and not degraded(min(n.error for n in ladder), ladder[-1].error):
            kept.append(variant)
    aside = f" Worse with depth, but confounded: {_listed(confounded)}." if confounded else ""
    if not worse:
        return (
            "Depth degraded no train error by more than 5 points "
            f"where the gradient was healthy.{aside}"
        )
    but = f"; not in {_listed(kept)}" if kept else ""
    return (
        f"Depth degraded the train error with a healthy gradient (speed evidence, no full "
        f"schedule): {_listed(worse)}{but}.{aside}"
    )


def _flows(net: _Net) -> bool:
    """Whether neither the gradient nor forgotten inputs explain a bad training (claim C15)."""
    return (
        net.end == "healthy"
        and net.verdict != "diverged"
        and net.init != "vanishing"
        and VANISHING_RATIO <= net.ratio_end <= EXPLODING_RATIO
    )


# ------------------------------------------------------------------------------ export


def export(frame: DataFrame, path: Path) -> None:
    """Write a frame as .parquet or .csv, by the path's suffix, whole or not at all.

    Raises ConfigError for another suffix, RecordError where the file cannot be written.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"{path}: cannot tell its format; choices: FILE.parquet, FILE.csv")
    write = frame.to_csv if path.suffix == ".csv" else frame.to_parquet
    write_whole(path, functools.partial(write, index=False))
