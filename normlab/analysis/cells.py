"""A frame's runs in the cells of a comparison: those that agree in its keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.keys import rank
from normlab.config import Config, decides_training
from normlab.vocabulary import CAUSES, DIAGNOSES, FINAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]

# Of a net that trains; and after it those that are said where no rule found another.
_FIRST_CAUSES = ("none", "memorizes", "unknown", "depth")
# Of equally frequent ones the last counts: what has a reason of its own before what is left over.
_CAUSES = (*_FIRST_CAUSES, *(name for name in CAUSES if name not in _FIRST_CAUSES))


@dataclass(frozen=True)
class Cells:
    """The cells of a frame's rows, numbered in the order of the keys' values."""

    number: "Numbers"  # of each row's cell
    first: "Numbers"  # each cell's first row

    @property
    def size(self) -> int:
        """How many cells there are."""
        return len(self.first)

    def count(self, chosen: Any) -> "Numbers":
        """How many of the chosen rows lie in each cell; a flag each chooses them."""
        return np.bincount(self.number[chosen], minlength=self.size)


def cells_of(frame: DataFrame, keys: Sequence[str]) -> Cells:
    """The cells of rows that agree in all keys."""
    number = np.zeros(len(frame), dtype=np.int64)
    for key in keys:
        codes, values = pandas.factorize(frame[key], use_na_sentinel=False)
        ordered = sorted(range(len(values)), key=[rank(value) for value in values].__getitem__)
        place = np.empty(len(values), dtype=np.int64)
        place[ordered] = np.arange(len(values))
        number = number * len(values) + place[codes]
        # Numbered anew after each key, so that many keys do not overflow.
        number = np.unique(number, return_inverse=True)[1]
    _, first, number = np.unique(number, return_index=True, return_inverse=True)
    return Cells(number, first)


def distinct_runs(frame: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Each training once, whole runs before others, then those that measured most.

    A copy, or the same training with other probes, is no independent sample. It counts where the
    keys tell it apart, as `experiment` may.
    """
    identity = frame[list(keys)].assign(training_number=training_numbers(frame))
    if not identity.duplicated().any():
        return frame
    kept = identity.iloc[best_first(frame)].drop_duplicates().index
    once: DataFrame = frame[frame.index.isin(kept)]
    return once


def training_numbers(frame: DataFrame) -> "Numbers":
    """A number for each run, the same for runs whose configs make one and the same training."""
    settings = [c for c in map(str, frame.columns) if c.split(".")[0] in Config.model_fields]
    deciding = [column for column in settings if decides_training(column)]
    beside = [column for column in settings if column not in deciding]
    if all(frame[column].nunique(dropna=False) < 2 for column in beside):
        deciding = ["run_id"]
    number: Numbers = np.zeros(len(frame), dtype=np.int64)
    # Of a training in somebody else's loop too little is known to take it for another.
    watched = frame["probes.measure"].isna() if "probes.measure" in frame else None
    if watched is not None and watched.any() and deciding != ["run_id"]:
        frame = frame.assign(run_id=frame["run_id"].where(watched))
        deciding = [*deciding, "run_id"]
    for column in deciding:
        codes, values = pandas.factorize(frame[column], use_na_sentinel=False)
        number = np.unique(number * len(values) + codes, return_inverse=True)[1]
    return number


def best_first(frame: DataFrame) -> "Numbers":
    """The places of a frame's runs: whole ones first, those with the most probes before others."""
    whole = frame["status"].isin(FINAL).to_numpy(dtype=bool)
    probes = np.zeros(len(frame), dtype=np.int64)
    if "probes.measure" in frame:  # the names of a list in one text
        names = frame["probes.measure"].tolist()
        probes = np.array([len(n) if isinstance(n, str) else 0 for n in names], dtype=np.int64)
    order: Numbers = np.lexsort((-probes, ~whole))
    return order


def usual_diagnosis(diagnoses: Any, cells: Cells) -> Any:
    """The most frequent diagnosis of each cell, of equally frequent ones the worst, or None."""
    return _usual(diagnoses, cells, list(DIAGNOSES))


def usual_cause(frame: DataFrame, cells: Cells) -> Any:
    """The most frequent cause of each cell among its runs of the usual diagnosis, or None.

    So the two agree: of a cell of which most runs train the cause is none. Of equally frequent ones
    another than `none`, `unknown` or `depth` is preferred. Runs of older versions have none.
    """
    diagnoses = frame["verdict"].to_numpy(dtype=object)
    of_it = diagnoses == usual_diagnosis(diagnoses, cells)[cells.number]
    return _usual(frame["cause"].where(of_it), cells, _CAUSES)


def _usual(given: Any, cells: Cells, names: Sequence[str]) -> Any:
    """The most frequent name of each cell, of equally frequent ones the last, or None."""
    codes = pandas.Categorical(given, categories=pandas.Index(names)).codes.astype(np.int64)
    known = codes >= 0
    pairs = np.bincount(
        cells.number[known] * len(names) + codes[known], minlength=cells.size * len(names)
    ).reshape(cells.size, len(names))
    last_first = len(names) - 1 - np.argmax(pairs[:, ::-1], axis=1)
    return np.where(pairs.any(axis=1), np.array(names, dtype=object)[last_first], None)
