"""The tables of many runs, each row with what tells which run it is of.

The kinds of export are registered as the command line starts, so that what is heavy is imported
within functions.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normlab.errors import RecordError

if TYPE_CHECKING:
    from pandas import DataFrame


def long_table(
    frame: "DataFrame", name: Literal["metrics", "layers"], on_problem: Callable[[str], object]
) -> "DataFrame":
    """One of the tables of all runs, as `tables_of` gives them, below each other; without rows
    where no run has one."""
    import pandas

    tables = list(tables_of(frame, name, on_problem))
    if not tables:
        return pandas.DataFrame(columns=_keys_of(frame))
    found: DataFrame = pandas.concat(tables, ignore_index=True)
    return found


def tables_of(
    frame: "DataFrame", name: Literal["metrics", "layers"], on_problem: Callable[[str], object]
) -> "Iterator[DataFrame]":
    """Each run's table behind its id, experiment and seed, and the settings that vary.

    `on_problem` hears of each that cannot be read, which is left out.
    """
    from pandas import DataFrame

    from normlab.runs import read_table

    keys = _keys_of(frame)
    for values, folder in zip(
        frame[keys].itertuples(index=False, name=None), frame["folder"], strict=True
    ):
        try:
            table = read_table(Path(folder), name)
        except RecordError as error:
            on_problem(str(error))
            continue
        of_run: dict[str, Any] = dict(zip(keys, values, strict=True))
        about = DataFrame(of_run, index=table.index).astype(frame[keys].dtypes)
        yield about.join(table.drop(columns=[c for c in keys if c in table]))


def _keys_of(frame: "DataFrame") -> list[str]:
    from normlab.analysis.keys import seeds_beside, varying

    return ["run_id", "experiment", *varying(frame), *seeds_beside(frame), "seed"]
