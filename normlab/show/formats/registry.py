"""What a format is, and the registry of all of them.

Neither this module nor one with a format imports pandas or rich but within functions: the command
line asks the registry for its choices as it starts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from normlab.registry import Registry

if TYPE_CHECKING:
    from rich.console import RenderableType

    from normlab.claims import Verdict
    from normlab.show.comparisons.comparing import Comparison, PairedComparison
    from normlab.show.formats.run_list import RunList

    # Text is printed as it is, what is not text is drawn by a console.
    Shown = RenderableType | str


@dataclass(frozen=True)
class TableFormat:
    """How answers are printed; None where a format has no such answer."""

    comparison: "Callable[[Comparison], Shown]"
    pairs: "Callable[[PairedComparison], Shown] | None" = None  # of --baseline
    verdicts: "Callable[[Sequence[Verdict]], Shown] | None" = None
    # Of any other command: its values, and how it draws them for a person.
    answer: "Callable[[Any, Callable[[], RenderableType]], Shown] | None" = None
    runs: "Callable[[RunList], Shown] | None" = None  # one by one, as normlab ls has them
    noted: bool = True  # a comparison's notes are part of it
    for_people: bool = False  # otherwise stdout holds it and nothing else
    captioned: bool = False  # a table has a caption


TABLE_FORMATS: Registry[TableFormat] = Registry("format", "normlab.show.formats.own")


def formats_of(answer: Literal["comparison", "pairs", "verdicts", "answer", "runs"]) -> list[str]:
    """The names of the formats that have an answer of a kind."""
    return [name for name, part in TABLE_FORMATS.items() if getattr(part, answer) is not None]
