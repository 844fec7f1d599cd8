"""A comparison as it is asked for, and in the format that is asked for."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.errors import ConfigError
from normlab.results import counts, layout, paired, pooled, summarize
from normlab.show.comparisons.layout import ComparisonLayout, lay_out
from normlab.show.comparisons.legend import legend, marked_name, shown_diagnoses
from normlab.show.comparisons.origins import origin_notes
from normlab.show.formats.registry import TABLE_FORMATS, formats_of
from normlab.show.terminal.run_lists import counts_line

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared: keys of rows and columns, by default whatever varies, and metrics."""

    rows: Sequence[str] | None = None
    cols: Sequence[str] | None = None
    metrics: Sequence[str] = ("train_acc",)
    sort: str | None = None
    baseline: str | None = None  # such as norm=none: paired differences from it


@dataclass(frozen=True)
class Comparison:
    """The rows of `summarize` by the keys of a table's rows and columns."""

    summary: "DataFrame"
    rows: Sequence[str]
    cols: Sequence[str]
    notes: Sequence[str] = ()
    width: int = 80  # of a terminal

    @functools.cached_property
    def layout(self) -> ComparisonLayout:
        """The cells in their places."""
        return lay_out(self.summary, self.rows, self.cols)

    def explanations(self) -> list[str]:
        """The legend, the diagnoses and the notes, each a line of text."""
        marks = "  ".join(map(marked_name, shown_diagnoses(self.layout)))
        return [*filter(None, (legend(self.summary, self.layout), marks)), *self.notes]


@dataclass(frozen=True)
class PairedComparison:
    """The rows of `paired` by the keys of their cells."""

    pairs: "DataFrame"
    keys: Sequence[str]
    notes: Sequence[str] = ()
    width: int = 80  # of a terminal


def comparison(
    frame: "DataFrame", options: ComparisonOptions, form: str = "rich", width: int = 80
) -> RenderableType | str:
    """A comparison in a format: drawn for a terminal so wide, or text.

    With a baseline it is the paired differences. Raises ConfigError where a key, metric or format
    is not there.
    """
    table_format = TABLE_FORMATS[form]
    if frame.empty and table_format.for_people:
        return Group(Text("no runs"))
    rows, cols = layout(frame, options.rows, options.cols)
    notes = [counts_line(counts(frame))]
    mixed = pooled(frame, [*rows, *cols], options.metrics)
    if mixed:
        notes.append(f"runs that differ in {', '.join(mixed)} share a cell; name it in --rows")
    notes += origin_notes(frame, [*rows, *cols])
    if options.baseline is None:
        summary = summarize(frame, rows, cols, options.metrics, options.sort)
        return table_format.comparison(Comparison(summary, rows, cols, notes, width))
    pairs = paired(frame, options.baseline, options.metrics, rows, cols)
    if table_format.pairs is None:
        choices = ", ".join(formats_of("pairs"))
        raise ConfigError(f"--format {form}: --baseline has none; choices: {choices}")
    keys = list(pairs.columns[: pairs.columns.get_loc("metric")])
    return table_format.pairs(PairedComparison(pairs, keys, notes, width))
