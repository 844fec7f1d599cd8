"""What a person sees while runs are made: as the commands show it, on stderr or in a notebook."""

from typing import TYPE_CHECKING

# Each of these loads what it needs when it is first asked for it.
from normlab import show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from normlab.runs import Finished, Note, Outcome, Plan
    from normlab.training import Event


def console_for(progress: bool | None) -> "Console | None":
    """Where progress is shown; None where it is not to be, or by default nobody looks."""
    if progress is False:
        return None
    from rich.console import Console

    # What is shown may be words of files that others wrote: none of it is markup.
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    looked_at = console.is_terminal or console.is_jupyter
    return console if progress or looked_at else None


def following_run(
    console: "Console", name: str
) -> "Callable[[Iterator[Event | Note | Finished]], Finished]":
    """A way through a run's events that shows them."""
    return lambda events: show.watch(events, console, name)


def following_sweep(
    console: "Console", planned: "Plan", aside: "show.Aside"
) -> "Callable[[Iterator[Outcome]], list[Outcome]]":
    """A way through a sweep's outcomes that shows them, and what is beside them."""
    return lambda outcomes: show.watch_sweep(outcomes, planned, console, aside)
