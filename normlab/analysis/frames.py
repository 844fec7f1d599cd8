"""Summaries to one DataFrame, a tidy row a run.

A column is a config key (`model.depth`; a group's choice stands under the group's own name, `norm`
for norm.name) or a key of summary.json (`train_acc`).
"""

import itertools
import json
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from pandas import DataFrame

from normlab.analysis.keys import shortest
from normlab.bounded_files import read_bounded
from normlab.config import completed, from_yaml
from normlab.errors import ConfigError
from normlab.runs import CONFIG_FILE, SUMMARY_FILE, Summary, in_one_line
from normlab.vocabulary import ERRORS, METRICS

_CHUNK = 100
# The fields of a summary that are columns, under their keys in summary.json: the version is the
# file's, a config has columns of its own, and evidence is no value of a cell.
_FIELDS = {
    name: field.alias or name
    for name, field in Summary.model_fields.items()
    if name not in ("version", "config", "evidence")
}
_field_values = operator.attrgetter(*_FIELDS)
_FIRST = ("run_id", "experiment", "name", "status", "verdict", "cause", "seed")
_LAST = ("reason", "try", "folder")
_GROUPS = ("data", "model", "norm", "optimizer", "training")  # what no config is without


class _Row(NamedTuple):
    place: int  # among all runs, in the order in which they were read
    folder: str
    summary: Summary
    config: Mapping[str, Any]


class _Kind(NamedTuple):
    """What runs have in common whose columns are built together: all names, of whatever values."""

    further: tuple[str, ...]  # keys of the summary that a later version added
    groups: tuple[tuple[str, tuple[str, ...] | None], ...]  # of the config; None for a lone value


def to_frame(
    runs: Iterable[tuple[str | Path, Summary]], problems: list[str] | None = None
) -> DataFrame:
    """Folders and their summaries as tidy rows; `problems` gets a line for what is damaged."""
    problems = [] if problems is None else problems
    # Runs of one kind have the same keys, so that whole columns are built at once; few runs at a
    # time stay in the processor's cache and give their memory back.
    kinds: dict[_Kind, list[_Row]] = {}
    tables: list[tuple[list[int], pyarrow.Table]] = []

    def build(kind: _Kind, rows: list[_Row]) -> None:
        try:
            tables.append(([row.place for row in rows], _columns(kind, rows)))
        except (OverflowError, pyarrow.ArrowException) as error:  # a damaged number's digits
            if len(rows) == 1:
                line = f"{SUMMARY_FILE} is damaged ({in_one_line(error)})"
                problems.append(f"{rows[0].folder}: {line}")
                return
            for row in rows:
                build(kind, [row])

    for place, (folder, summary) in enumerate(runs):
        try:
            config = _config(str(folder), summary)
        except (ValueError, OSError, ConfigError) as error:
            problems.append(f"{folder}: {in_one_line(error)}")
            continue
        groups = tuple((k, tuple(v) if type(v) is dict else None) for k, v in config.items())
        kind = _Kind(tuple(summary.model_extra or ()), groups)
        rows = kinds.setdefault(kind, [])
        rows.append(_Row(place, str(folder), summary, config))
        if len(rows) == _CHUNK:
            build(kind, kinds.pop(kind))
    for kind, rows in kinds.items():
        build(kind, rows)
    return _in_order(tables)


def _config(folder: str, summary: Summary) -> Mapping[str, Any]:
    """The config of a run as nested dicts; raises ValueError where it cannot be normlab's."""
    config = summary.config
    if config is None:  # written before summaries held their config
        config = from_yaml(read_bounded(f"{folder}/{CONFIG_FILE}").decode()).model_dump(mode="json")
    watched = "probes" not in config  # in somebody else's loop
    if type(config.get("seed")) is not int and not (watched and config.get("seed") is None):
        raise ValueError(f"{SUMMARY_FILE} is not normlab's, its config has no seed")
    lacking = [group for group in _GROUPS if not isinstance(config.get(group), dict)]
    if lacking:
        raise ValueError(f"{SUMMARY_FILE} is not normlab's, its config has no {lacking[0]}")
    if type(config["model"].get("depth", 0)) is not int:
        raise ValueError(f"{SUMMARY_FILE} is not normlab's, its model.depth is no whole number")
    return completed(config)


def _columns(kind: _Kind, rows: list[_Row]) -> pyarrow.Table:
    """The columns of runs of one kind."""
    folders = [row.folder for row in rows]
    summaries, configs = [row.summary for row in rows], [row.config for row in rows]
    by_field = zip(*map(_field_values, summaries), strict=True)
    columns = {
        "folder": pyarrow.array(folders),
        "experiment": pyarrow.array([_parent(folder) for folder in folders]),
    }
    for key, values in zip(_FIELDS.values(), by_field, strict=True):
        columns[key] = _column(key, values)
    for key in kind.further:
        columns[key] = _column(key, [(summary.model_extra or {})[key] for summary in summaries])
    for group, members in kind.groups:
        if group == "output":  # where the folder lies now counts, not where it was written
            continue
        chosen = [config[group] for config in configs]
        if members is None:
            columns[group] = _column(group, chosen)
            continue
        same = all(part == chosen[0] for part in chosen)  # as most groups are: one cell will do
        for key in members:
            name = group if key == "name" else f"{group}.{key}"
            column = _column(name, [part[key] for part in (chosen[:1] if same else chosen)])
            columns[name] = pyarrow.repeat(column[0], len(rows)) if same else column
    return pyarrow.table(columns)


def _column(name: str, values: Sequence[Any]) -> pyarrow.Array:
    """Values as a column of one type: of metrics a number, of unlike or nested values text."""
    metric = METRICS.get(name)
    if metric is not None and not metric.whole:
        return pyarrow.array(values, type=pyarrow.float64())
    types = set(map(type, values)) - {type(None)}
    if types - {bool, int, float, str} or (len(types) > 1 and not types <= {int, float}):
        values = _as_texts(values)
    elif len(types) > 1:
        values = [None if value is None else float(value) for value in values]
    return pyarrow.array(values)


def _as_texts(values: Iterable[Any]) -> list[str | None]:
    """Values of unlike types as texts: a number as tables show it, however it was kept."""
    return [
        None if value is None else shortest(value) if isinstance(value, float) else _text(value)
        for value in values
    ]


def _text(value: Any) -> str:
    """A value as one writes it in an override."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def _parent(folder: str) -> str:
    """The name of the folder that a folder lies in."""
    # A Path a run would take longer than reading it does.
    return os.path.abspath(folder).split(os.sep)[-2]  # noqa: PTH100, PTH206


def _in_order(tables: list[tuple[list[int], pyarrow.Table]]) -> DataFrame:
    """Tables with the places of their rows as one frame, rows and columns in their order."""
    table = _concatenated([table for _, table in tables])
    found = dict.fromkeys([*_FIRST, *_FIELDS.values(), *table.column_names])
    frame: DataFrame = table.to_pandas().reindex(
        columns=[*(n for n in found if n not in _LAST), *_LAST]
    )
    if len(tables) > 1:
        places = list(itertools.chain.from_iterable(places for places, _ in tables))
        frame = frame.iloc[np.argsort(places)].reset_index(drop=True)
    if "data.sha256" in frame:
        frame["data.sha256"] = _with_names_of_data(frame)
    for error, accuracy in ERRORS.items():
        frame.insert(list(frame).index(accuracy) + 1, error, 1 - frame[accuracy])
    return frame


def _with_names_of_data(frame: DataFrame) -> list[str | None]:
    """The hashes of people's own data, shortened, behind the name that their file had first: as
    `photos-3f9a1c`, by which rows of a table are known."""
    names: dict[str, str] = {}
    places = frame.reindex(columns=["data.file", "data.root"]).itertuples(index=False)
    found: list[str | None] = []
    for content, place in zip(frame["data.sha256"], places, strict=True):
        where = next((p for p in place if isinstance(p, str)), "data")
        known = isinstance(content, str)
        found.append(
            f"{names.setdefault(content, PurePath(where).stem)}-{content[:6]}" if known else None
        )
    return found


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
                    table.column_names.index(name),
                    name,
                    pyarrow.array(_as_texts(table[name].to_pylist()), type=pyarrow.string()),
                )
                if name in table.column_names
                else table
                for table in tables
            ]
    return (
        pyarrow.concat_tables(tables, promote_options="permissive") if tables else pyarrow.table({})
    )
