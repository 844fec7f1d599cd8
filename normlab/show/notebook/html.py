"""Reports as HTML for a notebook, light or dark, and as text without colours."""

import shutil
from typing import TYPE_CHECKING

from normlab.show.templates import packaged_file, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType


def to_html(shown: "RenderableType") -> str:
    """What is drawn for a terminal as an HTML element with its own style, all text escaped."""
    from normlab.show.notebook.blocks import blocks_of

    style = packaged_file("notebook/style.css")
    return render("notebook/blocks.html.j2", blocks=blocks_of(shown), style=style)


def to_text(draw: "Callable[[int], RenderableType]") -> str:
    """What is drawn so many columns wide as plain text, as wide as the terminal."""
    from rich.console import Console

    columns = shutil.get_terminal_size().columns
    console = Console(
        width=columns, color_system=None, force_terminal=False, force_jupyter=False, markup=False
    )
    with console.capture() as captured:
        console.print(draw(columns))
    return "\n".join(line.rstrip() for line in captured.get().rstrip().split("\n"))
