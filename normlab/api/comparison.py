"""A comparison of runs: a frame, and a table in any form."""

from dataclasses import replace
from typing import TYPE_CHECKING

# Loads what it needs when it is first asked for it.
from normlab import show
from normlab.api.arguments import named_as_arguments
from normlab.api.shown import Shown

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import RenderableType


class Comparison(Shown):
    """Runs by cell, with each metric's mean over seeds and its interval, or with the paired
    differences from a baseline."""

    def __init__(self, compared: "show.Comparison | show.PairedComparison"):
        self._compared = compared

    @property
    def frame(self) -> "DataFrame":
        """A row a cell and metric: its keys, mean, low, high, n, and what stands behind them; of
        paired differences p, too."""
        if isinstance(self._compared, show.PairedComparison):
            return self._compared.pairs
        return self._compared.summary

    @property
    def notes(self) -> list[str]:
        """How many runs there are, and what a reader must know of them."""
        return list(self._compared.notes)

    @named_as_arguments
    def to(self, form: str, caption: str | None = None) -> str:
        """The table as text: md, latex, csv or json; only LaTeX has a caption.

        Raises ConfigError for another form.
        """
        options = replace(self._compared.options, caption=caption)
        show.check_options(options, form)
        shown = show.in_format(replace(self._compared, options=options), form)
        return shown if isinstance(shown, str) else str(self)

    def __repr__(self) -> str:
        metrics = ", ".join(self.frame["metric"].unique())
        return f"<Comparison of {metrics}: {len(self.frame)} rows>"

    def _drawn(self, width: int) -> "RenderableType":  # noqa: ARG002  # as wide as its console
        shown = show.in_format(self._compared, "rich")
        assert not isinstance(shown, str)
        return shown
