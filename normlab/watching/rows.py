"""Measurements of watched weights as rows of layers.parquet."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from normlab.training import LAYER_COLUMNS, PLACE_COLUMNS
from normlab.watching.weights import WatchedWeight

if TYPE_CHECKING:
    import pyarrow

Values = NDArray[np.float64]


def columns_of(probes: Sequence[str]) -> tuple[str, ...]:
    """The columns of a watched training's layers.parquet."""
    return (*LAYER_COLUMNS, *PLACE_COLUMNS, *probes)


def rows_of(
    weights: Sequence[WatchedWeight],
    layers: Sequence[int],
    steps: Sequence[int],
    measured: Mapping[str, Values],
    probes: Sequence[str],
) -> "pyarrow.RecordBatch":
    """A row for each step and weight, of values [steps, weights]; null for what is not measured.

    `layers` are the weights' numbers, from 1. Built column by column: a dict a row would take
    longer than measuring it.
    """
    import pyarrow

    count = len(steps)

    def texts(values: Sequence[str]) -> "pyarrow.Array":
        places = pyarrow.array(np.tile(np.arange(len(weights)), count))
        return pyarrow.array(values, pyarrow.string()).take(places)

    blocks = [np.nan if weight.block is None else float(weight.block) for weight in weights]
    nothing = np.full((count, len(weights)), np.nan)
    columns: dict[str, Any] = {
        "step": pyarrow.array(np.repeat(np.asarray(steps, np.int64), len(weights))),
        "layer": pyarrow.array(np.tile(np.asarray(layers, np.int64), count)),
        "name": texts([weight.name for weight in weights]),
        "kind": texts([weight.kind for weight in weights]),
        "block": _numbers(np.tile(blocks, count)),
        "role": texts([weight.role for weight in weights]),
    }
    for name in probes:
        columns[name] = _numbers(measured.get(name, nothing).ravel())
    return pyarrow.RecordBatch.from_pydict(columns)


def _numbers(values: Values) -> "pyarrow.Array":
    import pyarrow

    return pyarrow.array(values, pyarrow.float64(), from_pandas=True)  # null for NaN
