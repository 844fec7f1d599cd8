"""What goes on, drawn anew again and again: in a terminal, or in a notebook."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console, RenderableType
from rich.live import Live


def can_be_live(console: Console) -> bool:
    """Whether a console can draw anew what it has drawn."""
    return console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)


def live_view(
    console: Console, draw: Callable[[], RenderableType], refresh_per_second: float
) -> AbstractContextManager[object]:
    """A context in which what `draw` returns is shown, and of which nothing stays."""
    if console.is_jupyter:
        from normlab.show.notebook.live import NotebookView

        return NotebookView(draw)
    return Live(
        console=console,
        refresh_per_second=refresh_per_second,
        transient=True,
        get_renderable=draw,
    )
