"""Runs that were made on unlike machines or with unlike versions, in one comparison."""

from collections.abc import Sequence
from typing import NamedTuple

from pandas import DataFrame, Series

from normlab.analysis.cells import cells_of, distinct_runs
from normlab.analysis.keys import known_key, label
from normlab.vocabulary import FINAL

# What the bits of a result depend on beside its config, and what else may.
ORIGINS = (
    *("normlab", "commit", "torch", "device", "processor", "threads", "channels_last"),
    "data_sha256",
)


class Mixed(NamedTuple):
    """One thing that results were not all made with alike."""

    key: str  # a name in `ORIGINS`
    values: tuple[str, ...]
    cells: int  # in so many cells are several of the values
    of: int  # cells in all


def mixed_origins(frame: DataFrame, keys: Sequence[str]) -> list[Mixed]:
    """What the results of a comparison by these keys were not all made with alike.

    What a run does not tell, as older ones do not tell their processor, is not held against it; a
    machine's GPUs count as one device, and data sets are each compared with themselves.
    """
    keys = [known_key(frame, key) for key in keys]
    frame = distinct_runs(frame, keys)
    frame = frame[frame["status"].isin(FINAL)]
    if frame.empty:
        return []
    number = Series(cells_of(frame, keys).number, index=frame.index)
    found = []
    for key in ORIGINS:
        known = frame[key].dropna()
        if key == "device":
            known = known.map(lambda device: str(device).partition(":")[0])
        if key == "data_sha256":
            if "data.sha256" in frame:  # of people's own data it sets runs apart by itself
                known = known[frame.loc[known.index, "data.sha256"].isna()]
            contents = known.groupby(frame.loc[known.index, "data"]).transform("nunique")
            known = known[contents > 1]
        if known.nunique() < 2:
            continue
        per_cell = known.groupby(number[known.index]).nunique()
        values = tuple(label(key, value) for value in sorted(known.unique()))
        found.append(Mixed(key, values, int((per_cell > 1).sum()), number.nunique()))
    return found
