"""A comparison laid out: rows of key values, columns, and a cell where they meet."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from normlab.results import label, rank, short_names
from normlab.show.comparisons.figures import Figures, best_of, cell_text, figures_of
from normlab.vocabulary import METRICS, Metric

if TYPE_CHECKING:
    from pandas import DataFrame

Labels = tuple[str, ...]
Values = tuple[Any, ...]
Cells = dict[Values, dict[str, Figures]]  # by column and metric


class Cell(NamedTuple):
    """One cell of a comparison."""

    text: str
    best: bool = False
    diagnosis: str | None = None


class Line(NamedTuple):
    """One line of a comparison: a row's key values, which of its metrics, and a cell a column."""

    keys: Labels
    metric: Metric
    cells: tuple[Cell, ...]
    starts: bool  # the first of its row's lines


class ComparisonLayout(NamedTuple):
    """A comparison laid out."""

    rows: Labels  # what heads the key values
    columns: Labels
    lines: tuple[Line, ...]
    several: bool  # metrics, so that each line names its own

    @property
    def heads(self) -> Labels:
        """What heads the columns before the figures."""
        return (*self.rows, *(["metric"] if self.several else []))

    def names(self, line: Line) -> Labels:
        """What stands in a line before the figures."""
        return (*line.keys, *([line.metric.short] if self.several else []))


def lay_out(summary: "DataFrame", rows: Sequence[str], cols: Sequence[str]) -> ComparisonLayout:
    """Lay `summarize`'s rows out; the best of each column and metric is marked.

    Best is what the metric says is better, the largest accuracy, the smallest loss or time, and the
    gradient ratio or factor nearest to 1 on a logarithmic scale, with all that ties; nothing is
    best of other figures. A cell with diverged runs, or whose mean leaves some out, is not ranked.
    """
    metrics = [METRICS[name] for name in dict.fromkeys(summary["metric"])]
    placed: dict[Values, Cells] = {}
    columns: dict[Values, None] = {}
    for record in summary.to_dict("records"):
        row, column = _values(record, rows), _values(record, cols)
        columns.setdefault(column)
        figures = figures_of({str(key): value for key, value in record.items()})
        placed.setdefault(row, {}).setdefault(column, {})[figures.metric.name] = figures
    # A sorted summary brings its columns in any order.
    order = sorted(columns, key=lambda column: [rank(value) for value in column])
    names = short_names([*rows, *cols])
    heads = [
        " ".join(
            f"{name} {label(key, value)}"
            for name, key, value in zip(names[len(rows) :], cols, column, strict=True)
        )
        for column in order
    ]
    if not cols:
        heads = [metrics[0].short if len(metrics) == 1 else ""]
    labelled = [(tuple(map(label, rows, row)), cells) for row, cells in placed.items()]
    lines = _lines(labelled, order, metrics, usual_n(summary))
    return ComparisonLayout(tuple(names[: len(rows)]), tuple(heads), lines, len(metrics) > 1)


def _values(record: Mapping[Any, Any], keys: Sequence[str]) -> Values:
    """A row's values of some keys, what is absent as None, by which cells are told apart."""
    return tuple(None if record[key] != record[key] else record[key] for key in keys)


def _lines(
    placed: Sequence[tuple[Labels, Cells]],
    order: Sequence[Values],
    metrics: Sequence[Metric],
    usual: int,
) -> tuple[Line, ...]:
    best = {
        (column, metric): best_of([cells.get(column, {}).get(metric.name) for _, cells in placed])
        for column in order
        for metric in metrics
    }
    lines = []
    for place, (row, cells) in enumerate(placed):
        for metric in metrics:
            first = metric is metrics[0]
            line = []
            for column in order:
                figures = cells.get(column, {}).get(metric.name)
                if figures is None:
                    line.append(Cell(""))
                    continue
                text = cell_text(figures, usual, marked=first)
                line.append(Cell(text, best[column, metric][place], figures.diagnosis))
            lines.append(Line(row, metric, tuple(line), first))
    return tuple(lines)


def usual_n(summary: "DataFrame") -> int:
    """The most frequent n of cells with an interval, of equally frequent ones the largest."""
    sizes = summary["n"][summary["n"] > 1].value_counts()
    return int(max(sizes.index[sizes == sizes.max()])) if len(sizes) else 1
