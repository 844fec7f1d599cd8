"""A view of what goes on that a notebook shows in one place, and that leaves nothing behind."""

import contextvars
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import RenderableType

from normlab.show.notebook.html import to_html

REFRESH_SECONDS = 0.5
_NOTHING = {"text/plain": "", "text/html": ""}


class NotebookView:
    """Draws something anew now and then, in a thread, in one output of the cell that runs.

    rich's own view would need widgets, or fill the notebook's file with every state.
    """

    def __init__(self, draw: Callable[[], RenderableType]):
        self._draw, self._last = draw, ""
        self._ended = threading.Event()
        # A notebook's outputs belong to the cell in whose context they are made.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._keep_drawing,), daemon=True)

    def __enter__(self) -> Self:
        from IPython import display

        show: Any = display.display
        self._handle = show(_NOTHING, raw=True, display_id=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._handle.update(_NOTHING, raw=True)

    def _keep_drawing(self) -> None:
        while not self._ended.is_set():
            page = to_html(self._draw())
            if page != self._last:
                self._last = page
                self._handle.update({"text/plain": "", "text/html": page}, raw=True)
            self._ended.wait(REFRESH_SECONDS)
