"""A comparison as it is asked for: which runs, in which cells, in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

from pandas import DataFrame

from normlab.analysis.best import AtBest, at_best, check_best, goes_with, without_keys
from normlab.analysis.comparing import summarize
from normlab.analysis.keys import known_key, layout
from normlab.analysis.pairing import baseline_keys, paired
from normlab.analysis.sorting import sorted_pairs, sorted_summary
from normlab.errors import ConfigError

BY = "test_acc"


@dataclass(frozen=True)
class Request:
    """What is compared: keys of rows and columns, by default whatever varies, and metrics."""

    rows: Sequence[str] | None = None
    cols: Sequence[str] | None = None
    metrics: Sequence[str] = ()  # by default train_acc, or gradient ratios where no run has it
    sort: str | None = None  # a column, with - for descending
    baseline: str | None = None  # such as norm=none: paired differences from it
    best: Sequence[str] = ()  # keys of which each cell has the best value only
    by: str | None = None  # the metric whose mean says which is best; test_acc


@dataclass(frozen=True)
class Arranged:
    """A comparison in tidy rows."""

    table: DataFrame  # of `summarize`, or of `paired`, with the best keys' values before the metric
    runs: DataFrame
    rows: list[str]
    cols: list[str]
    best: list[str]
    by: str  # the metric that chose them
    metrics: Sequence[str]


def arrange(frame: DataFrame, request: Request) -> Arranged:
    """The tidy rows of a comparison; raises ConfigError where a key or metric is not there."""
    best = check_best(frame, request.best)
    against = baseline_keys(frame, request.baseline) if request.baseline else []
    for option, keys in (("rows", request.rows), ("cols", request.cols), ("baseline", against)):
        for key in keys or ():
            if goes_with(known_key(frame, key), best):
                raise ConfigError(f"--best {', '.join(best)}: leaves no {key} for --{option}")
    rows, cols = layout(without_keys(frame, best), request.rows, request.cols)
    chosen: AtBest | None = None
    if request.by and not best:
        raise ConfigError(f"--by {request.by}: says what --best KEY chooses by; name the key")
    if best:
        cells = list(dict.fromkeys([*rows, *cols, *against]))
        chosen = at_best(frame, best, request.by or BY, cells)
        frame = chosen.runs
    metrics = request.metrics or _usual_metrics(frame)
    if request.baseline is None:
        table = summarize(frame, rows, cols, metrics)
    else:
        table = paired(frame, request.baseline, metrics, rows, cols)
    table = chosen.with_values(table) if chosen else table
    if request.sort is not None and request.baseline is None:
        table = sorted_summary(table, rows, cols, request.sort)
    elif request.sort is not None:
        table = sorted_pairs(table, request.sort)
    return Arranged(table, frame, rows, cols, best, request.by or BY, metrics)


def _usual_metrics(frame: DataFrame) -> tuple[str, ...]:
    """What runs are compared by where nothing is said; watched ones may have been told no score."""
    if "train_acc" in frame and not frame["train_acc"].notna().any():
        ratios = ("gradient_ratio_init", "gradient_ratio_end")
        if any(frame[name].notna().any() for name in ratios if name in frame):
            return ratios
    return ("train_acc",)
