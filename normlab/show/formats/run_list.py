"""What every format makes a list of runs of."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pandas import DataFrame


class RunList(NamedTuple):
    """Runs one by one, as `results.listed` gives them."""

    runs: "DataFrame"
    left_out: int = 0  # so many more there are
    width: int = 80  # of a terminal
    where_all_are: str = "--limit 0 shows all"
