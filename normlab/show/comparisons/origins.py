"""What a comparison says of runs that were made on unlike machines or with unlike versions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normlab.analysis import Mixed, mixed_origins
from normlab.text import some_of

if TYPE_CHECKING:
    from pandas import DataFrame

# A note names so many values.
_MOST_NAMED = 4


def origin_notes(frame: "DataFrame", keys: Sequence[str]) -> list[str]:
    """A line where the runs were not all made alike, and whether within a cell; else nothing."""
    told = []
    for mixed in mixed_origins(frame, keys):
        where = f"in {mixed.cells} of {mixed.of} cells" if mixed.cells else "each cell with one"
        told.append(f"{_values(mixed)} ({where})")
    return [f"made with unlike {'; '.join(told)}: figures may differ by that alone"] if told else []


def unlike_runs(mixed: Sequence[Mixed]) -> str:
    """That the runs behind one figure were not all made alike; empty where they were."""
    told = "; ".join(map(_values, mixed))
    return f"Its runs were made with unlike {told}: they may differ by that alone." if told else ""


def _values(mixed: Mixed) -> str:
    return f"{mixed.key} {some_of(mixed.values, _MOST_NAMED)}"
