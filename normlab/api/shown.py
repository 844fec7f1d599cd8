"""Values that show themselves: in a notebook, on a rich console, and where they are printed."""

from typing import TYPE_CHECKING

# Loads what it needs when it is first asked for it.
from normlab import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType


class Shown:
    """A value that is one report everywhere: HTML in a notebook, text in colours by rich's print,
    plain text by print."""

    def _drawn(self, width: int) -> "RenderableType":
        """The report, so many columns wide."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return show.to_html(self._drawn(show.NOTEBOOK_WIDTH))

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[RenderableType]":
        yield self._drawn(options.max_width)

    def __str__(self) -> str:
        return show.to_text(self._drawn)
