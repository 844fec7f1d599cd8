"""rich: drawn for a terminal."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from normlab.show.formats.registry import TableFormat

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from normlab.claims import Verdict
    from normlab.show.comparisons.comparing import Comparison, PairedComparison
    from normlab.show.formats.run_list import RunList


def comparison(compared: "Comparison") -> "Group":
    """Tables as wide as the terminal, in colours."""
    from normlab.show.terminal.comparison_tables import comparison_table

    return comparison_table(compared)


def pairs(compared: "PairedComparison") -> "Group":
    """Differences from a baseline."""
    from normlab.show.terminal.comparison_tables import paired_table

    return paired_table(compared)


def verdicts(judged: "Sequence[Verdict]") -> "Group":
    """Each claim's report below the other."""
    from rich.console import Group

    from normlab.show.terminal.verdicts import verdict_report

    return Group(*map(verdict_report, judged))


def runs(listed: "RunList") -> "Group":
    """A line a run, and what sets it apart."""
    from normlab.show.terminal.run_lists import runs_table

    return runs_table(listed)


def answer(_: Any, draw: "Callable[[], RenderableType]") -> "RenderableType":
    """As the command draws it."""
    return draw()


RICH = TableFormat(comparison, pairs, verdicts, answer, runs, for_people=True)
