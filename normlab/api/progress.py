"""Where the progress of runs is shown."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console_for(progress: bool | None) -> "Console | None":
    """Where progress is shown; None where it is not to be, or by default nobody looks."""
    if progress is False:
        return None
    from rich.console import Console

    # What is shown may be words of files that others wrote: none of it is markup.
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    looked_at = console.is_terminal or console.is_jupyter
    return console if progress or looked_at else None
