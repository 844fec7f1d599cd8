"""What a comparison says of runs that were made on unlike machines or with unlike versions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from normlab.results import mixed_origins

if TYPE_CHECKING:
    from pandas import DataFrame

# A note names so many values.
_MOST_NAMED = 4


def origin_notes(frame: "DataFrame", keys: Sequence[str]) -> list[str]:
    """A line where the runs were not all made alike, and whether within a cell; else nothing."""
    told = []
    for mixed in mixed_origins(frame, keys):
        more = len(mixed.values) - _MOST_NAMED
        named = ", ".join(mixed.values[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        where = f"in {mixed.cells} of {mixed.of} cells" if mixed.cells else "each cell with one"
        told.append(f"{mixed.key} {named} ({where})")
    if not told:
        return []
    return [f"made with unlike {'; '.join(told)}: figures may differ by that alone"]
