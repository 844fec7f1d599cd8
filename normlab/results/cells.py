"""A frame's runs in the cells of a comparison: those that agree in its keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
from pandas import DataFrame

from normlab.results.keys import rank
from normlab.vocabulary import DIAGNOSES, FINAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


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
    """Each config once, whole runs before others: a copy is no independent sample.

    A copy in another experiment or folder counts where that is a key.
    """
    identity = ["run_id", *(k for k in ("experiment", "folder") if k in keys)]
    if not frame.duplicated(identity).any():
        return frame
    order = np.argsort(~frame["status"].isin(FINAL).to_numpy(), kind="stable")
    once: DataFrame = frame.iloc[order].drop_duplicates(identity).sort_index()
    return once


def usual_diagnosis(diagnoses: Any, cells: Cells) -> Any:
    """The most frequent diagnosis of each cell, of equally frequent ones the worst, or None."""
    names = list(DIAGNOSES)
    codes = pandas.Categorical(diagnoses, categories=names).codes.astype(np.int64)
    given = codes >= 0
    pairs = np.bincount(
        cells.number[given] * len(names) + codes[given], minlength=cells.size * len(names)
    ).reshape(cells.size, len(names))
    worst_first = len(names) - 1 - np.argmax(pairs[:, ::-1], axis=1)
    return np.where(pairs.any(axis=1), np.array(names, dtype=object)[worst_first], None)
