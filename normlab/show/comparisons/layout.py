"""A comparison laid out: rows of key values, columns, and a cell where they meet."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from normlab.analysis import label, rank, short_names
from normlab.show.comparisons.figures import Figures, best_of, cell_text, figures_of
from normlab.vocabulary import METRICS, Metric, Spread

if TYPE_CHECKING:
    from pandas import DataFrame

Labels = tuple[str, ...]
Values = tuple[Any, ...]


class Cell(NamedTuple):
    """One cell of a comparison."""

    text: str
    best: bool = False
    diagnosis: str | None = None


class Line(NamedTuple):
    """One line of a comparison: a row's key values, what the line says, and a cell a column."""

    keys: Labels
    metric: Metric
    cells: tuple[Cell, ...]
    starts: bool  # the first of its row's lines


class ComparisonLayout(NamedTuple):
    """A comparison laid out."""

    rows: Labels  # what heads the key values
    columns: Labels
    lines: tuple[Line, ...]
    several: bool  # a row has several lines, so that each names its metric

    @property
    def heads(self) -> Labels:
        """What heads the columns before the figures."""
        return (*self.rows, *(["metric"] if self.several else []))

    def names(self, line: Line) -> Labels:
        """What stands in a line before the figures."""
        return (*line.keys, *([line.metric.short] if self.several else []))


class _Placed(NamedTuple):
    """What a summary says of one cell."""

    figures: dict[str, Figures]  # by metric
    at_best: Labels  # the values of the best keys


_Rows = dict[Values, dict[Values, _Placed]]


def lay_out(
    summary: "DataFrame",
    rows: Sequence[str],
    cols: Sequence[str],
    best: Sequence[str] = (),
    spread: Spread = "interval",
) -> ComparisonLayout:
    """Lay `summarize`'s rows out; the best of each column and metric is marked.

    Best is what the metric says is better, the largest accuracy, the smallest loss or time, and the
    gradient ratio or factor nearest to 1 on a logarithmic scale, with all that ties; nothing is
    best of other figures. A cell with diverged runs, or whose mean leaves some out, is not ranked.
    The values of the `best` keys, at which each cell did best, stand in lines below its figures.
    """
    metrics = [METRICS[name] for name in dict.fromkeys(summary["metric"])]
    placed: _Rows = {}
    columns: dict[Values, None] = {}
    for record in summary.to_dict("records"):
        row, column = _values(record, rows), _values(record, cols)
        columns.setdefault(column)
        figures = figures_of({str(key): value for key, value in record.items()})
        at_best = tuple(label(key, record[key]) for key in best)
        cell = placed.setdefault(row, {}).setdefault(column, _Placed({}, at_best))
        cell.figures[figures.metric.name] = figures
    # A sorted summary brings its columns in any order.
    order = sorted(columns, key=lambda column: [rank(value) for value in column])
    names = short_names([*rows, *cols, *best])
    of_rows, of_cols, of_best = (
        names[: len(rows)],
        names[len(rows) : len(rows) + len(cols)],
        names[len(rows) + len(cols) :],
    )
    several = len(metrics) != 1 or bool(best)
    blocks = [
        *_figure_lines(placed, order, metrics, _Style(usual_n(summary), spread)),
        *_best_lines(placed, order, of_best),
    ]
    lines = [
        Line(tuple(map(label, rows, row)), metric, cells[place], starts=not index)
        for place, row in enumerate(placed)
        for index, (metric, cells) in enumerate(blocks)
    ]
    heads = tuple(
        " ".join(
            f"{name} {label(key, v)}" for name, key, v in zip(of_cols, cols, column, strict=True)
        )
        for column in order
    )
    if not cols:
        heads = ("" if several else metrics[0].short,)
    return ComparisonLayout(tuple(of_rows), heads, tuple(lines), several)


def _values(record: Mapping[Any, Any], keys: Sequence[str]) -> Values:
    """A row's values of some keys, what is absent as None, by which cells are told apart."""
    return tuple(None if record[key] != record[key] else record[key] for key in keys)


class _Style(NamedTuple):
    usual_n: int
    spread: Spread


# What a line of every row says, and the cells of that line for each row.
_Block = tuple[Metric, list[tuple[Cell, ...]]]


def _figure_lines(
    placed: _Rows, order: Sequence[Values], metrics: Sequence[Metric], style: _Style
) -> Iterator[_Block]:
    """A line a metric."""
    for metric in metrics:
        columns = []
        for column in order:
            found = [
                cells[column].figures.get(metric.name) if column in cells else None
                for cells in placed.values()
            ]
            columns.append(
                [
                    _cell(figures, style, is_best=is_best, marked=metric is metrics[0])
                    for figures, is_best in zip(found, best_of(found), strict=True)
                ]
            )
        yield metric, list(zip(*columns, strict=True))


def _cell(figures: Figures | None, style: _Style, *, is_best: bool, marked: bool) -> Cell:
    if figures is None:
        return Cell("")
    text = cell_text(figures, style.usual_n, style.spread, marked=marked)
    return Cell(text, is_best, figures.diagnosis)


def _best_lines(placed: _Rows, order: Sequence[Values], names: Sequence[str]) -> Iterator[_Block]:
    """A line a best key."""
    for index, name in enumerate(names):
        yield (
            Metric(name, name, f"best {name}"),
            [
                tuple(
                    Cell(cells[column].at_best[index] if column in cells else "")
                    for column in order
                )
                for cells in placed.values()
            ],
        )


def usual_n(summary: "DataFrame") -> int:
    """The most frequent n of cells with an interval, of equally frequent ones the largest."""
    sizes = summary["n"][summary["n"] > 1].value_counts()
    return int(max(sizes.index[sizes == sizes.max()])) if len(sizes) else 1
