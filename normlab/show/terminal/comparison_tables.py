"""Comparisons and paired differences as tables of a terminal."""

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from normlab.analysis import short_names
from normlab.show.comparisons.layout import Cell, ComparisonLayout, Line
from normlab.show.comparisons.legend import cells_by_cause, legend, marks_explained
from normlab.show.comparisons.pairs import HEADS, pair_lines, pair_notes
from normlab.show.terminal.plain_tables import diagnosis_style, dimmed
from normlab.show.terminal.row_tables import Row, RowTable

if TYPE_CHECKING:
    from normlab.show.comparisons.comparing import Comparison, PairedComparison


def comparison_table(compared: "Comparison") -> Group:
    """The comparison with its legend and notes."""
    layout = compared.layout
    metric = ["metric"] if layout.several else []
    table = RowTable(
        layout.rows,
        [*metric, *layout.columns],
        [Row(line.keys, _cells(layout, line), line.starts) for line in layout.lines],
        labels=len(metric),
        left=range(len(metric)),
        apart=layout.several,
    )
    explained = legend(compared.summary, layout, compared.options.spread)
    marks = Text("; ").join(Text(text, style) for text, style in marks_explained(layout))
    return Group(
        table,
        *dimmed([explained] if explained else []),
        *([marks] if marks else []),
        *dimmed(filter(None, (cells_by_cause(compared.summary), *compared.notes))),
    )


def _cells(layout: ComparisonLayout, line: Line) -> list[Text]:
    metric = [Text(line.metric.short, style="dim")] if layout.several else []
    return [*metric, *map(_cell, line.cells)]


def _cell(cell: Cell) -> Text:
    style = f"{'bold ' if cell.best else ''}{diagnosis_style(cell.diagnosis)}"
    return Text(cell.text, style=style.strip())


# ---------------------------------------------------------------------- paired differences


def paired_table(compared: "PairedComparison") -> Group:
    """Differences from a baseline: mean, interval, pairs and p, a line a cell and metric."""
    rows = [
        Row(
            line.keys,
            [
                Text(line.metric),
                Text(line.difference, style="bold" if line.differs else ""),
                *map(Text, (line.interval, line.n, line.p)),
            ],
        )
        for line in pair_lines(compared.pairs, compared.keys)
    ]
    table = RowTable(short_names(compared.keys), HEADS, rows, labels=1, left=[0])
    notes = [*pair_notes(compared.pairs), *compared.notes]
    return Group(table, *dimmed(notes))
