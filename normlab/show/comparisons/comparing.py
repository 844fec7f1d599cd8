"""A comparison as it is asked for, and in the format that is asked for."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.analysis import DATA, Request, arrange, counts, pooled
from normlab.errors import ConfigError
from normlab.show.comparisons.layout import ComparisonLayout, lay_out
from normlab.show.comparisons.legend import cells_by_cause, legend, marks_explained
from normlab.show.comparisons.origins import origin_notes
from normlab.show.formats.registry import TABLE_FORMATS, formats_of
from normlab.show.terminal.run_lists import counts_line
from normlab.text import some_of
from normlab.vocabulary import METRICS, Spread

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ComparisonOptions(Request):
    """What is compared, and how it is shown."""

    spread: Spread = "interval"
    caption: str | None = None  # of LaTeX; by default what the table says of itself


@dataclass(frozen=True)
class Comparison:
    """The rows of `summarize` by the keys of a table's rows and columns."""

    summary: "DataFrame"
    rows: Sequence[str]
    cols: Sequence[str]
    notes: Sequence[str] = ()
    best: Sequence[str] = ()  # keys whose values at best are columns of the summary
    options: ComparisonOptions = ComparisonOptions()
    cautions: Sequence[str] = ()  # those of the notes that no format may leave out

    @functools.cached_property
    def layout(self) -> ComparisonLayout:
        """The cells in their places."""
        return lay_out(self.summary, self.rows, self.cols, self.best, self.options.spread)

    def explanations(self) -> list[str]:
        """The legend, the diagnoses, their causes and the notes, each a line of text."""
        marks = "; ".join(text for text, _ in marks_explained(self.layout))
        explained = legend(self.summary, self.layout, self.options.spread)
        causes = cells_by_cause(self.summary)
        return [*filter(None, (explained, marks, causes)), *self.notes]


@dataclass(frozen=True)
class PairedComparison:
    """The rows of `paired` by the keys of their cells."""

    pairs: "DataFrame"
    keys: Sequence[str]
    notes: Sequence[str] = ()
    options: ComparisonOptions = ComparisonOptions()
    cautions: Sequence[str] = ()  # those of the notes that no format may leave out


def comparison(
    frame: "DataFrame",
    options: ComparisonOptions,
    form: str = "rich",
    on_caution: Callable[[str], object] = lambda _: None,
) -> RenderableType | str:
    """A comparison in a format: drawn for a console, or text.

    With a baseline it is the paired differences. `on_caution` hears what a reader must know where
    the format has no place for it. Raises ConfigError where a key, metric or format is not there.
    """
    if frame.empty and TABLE_FORMATS[form].for_people:
        return Group(Text("no runs"))
    check_options(options, form)
    compared = compare(frame, options)
    for caution in [] if TABLE_FORMATS[form].noted else compared.cautions:
        on_caution(caution)
    return in_format(compared, form)


def check_options(options: ComparisonOptions, form: str) -> None:
    """Raise ConfigError where a format has no place for what is asked for."""
    table_format = TABLE_FORMATS[form]
    if options.baseline is not None and table_format.pairs is None:
        choices = ", ".join(formats_of("pairs"))
        raise ConfigError(f"--format {form}: --baseline has none; choices: {choices}")
    if options.baseline is not None and options.spread != "interval":
        raise ConfigError(f"--spread {options.spread}: --baseline has intervals only")
    if options.caption is not None and not table_format.captioned:
        choices = ", ".join(name for name, part in TABLE_FORMATS.items() if part.captioned)
        raise ConfigError(f"--caption: --format {form} has none; choices: {choices}")


def compare(frame: "DataFrame", options: ComparisonOptions) -> Comparison | PairedComparison:
    """A comparison of runs, or with a baseline the paired differences from it, with notes on what
    a reader must know; raises ConfigError where a key or metric is not there."""
    found = arrange(frame, options)
    keys = [*found.rows, *found.cols]
    notes = [counts_line(counts(frame))]
    if found.best:
        names = ", ".join(found.best)
        notes.append(f"each cell at its best {names}, chosen on the mean {METRICS[found.by].label}")
    mixed = pooled(found.runs, keys, found.metrics)
    cautions = origin_notes(found.runs, keys)
    if mixed:
        names = ", ".join(mixed)
        cautions.insert(0, f"runs that differ in {names} share a cell; name it in --rows")
    if unlike := _unlike_data(found.runs, [*keys, *mixed]):
        cautions.insert(0, unlike)
    notes += cautions
    table = found.table
    if options.baseline is not None:
        keys = list(table.columns[: table.columns.get_loc("metric")])
        return PairedComparison(table, keys, notes, options, cautions)
    return Comparison(table, found.rows, found.cols, notes, found.best, options, cautions)


def in_format(compared: Comparison | PairedComparison, form: str) -> RenderableType | str:
    """A comparison in a format that has such."""
    table_format = TABLE_FORMATS[form]
    if isinstance(compared, Comparison):
        return table_format.comparison(compared)
    assert table_format.pairs is not None  # of `check_options`
    return table_format.pairs(compared)


def _unlike_data(frame: "DataFrame", keys: Sequence[str]) -> str:
    """That cells, each of one data set, are of several; empty where they are not or a key says."""
    names = sorted(map(str, frame[DATA].unique())) if DATA in frame else []
    if DATA in keys or len(names) < 2:
        return ""
    return f"cells are of unlike data ({some_of(names)}); name data in --rows"
