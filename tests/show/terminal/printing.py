"""What rich makes of something, without colours."""

from typing import Any

from rich.console import Console, RenderableType


def printed(renderable: RenderableType, width: int = 80, color: Any = None) -> list[str]:
    """Its lines in a terminal of such a width."""
    return text_of(renderable, width, color).rstrip("\n").split("\n")


def text_of(renderable: RenderableType, width: int = 80, color: Any = None) -> str:
    console = Console(width=width, color_system=color, force_terminal=color is not None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()
