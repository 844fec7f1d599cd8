"""Comparisons and paired differences as tables of a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from normlab.results import label, short_names
from normlab.show.comparisons.figures import difference_text
from normlab.show.comparisons.layout import Cell, ComparisonLayout
from normlab.show.comparisons.legend import legend, marked_name, shown_diagnoses
from normlab.show.terminal.plain_tables import GAP, diagnosis_style, dimmed, figures_table, fit
from normlab.vocabulary import METRICS, Metric

if TYPE_CHECKING:
    from normlab.show.comparisons.comparing import Comparison, PairedComparison

# Why a run makes no pair, as `paired` counts it.
_UNPAIRED = {
    "unpaired": "without such a baseline run",
    "zeros": "with a gradient of 0",
    "missing": "without the figure",
}


def comparison_table(compared: "Comparison") -> Group:
    """The comparison with its legend and notes.

    Where its columns do not fit the width, they continue in a further table below.
    """
    layout = compared.layout
    tables = [
        _table_of_columns(layout, chosen) for chosen in columns_that_fit(layout, compared.width)
    ]
    explained = legend(compared.summary, layout, compared.options.spread)
    marks = Text()
    for diagnosis in shown_diagnoses(layout):
        marks.append("  " if marks else "")
        marks.append(marked_name(diagnosis), style=diagnosis.style)
    return Group(
        *tables,
        *dimmed([explained] if explained else []),
        *([marks] if marks else []),
        *dimmed(compared.notes),
    )


def columns_that_fit(layout: ComparisonLayout, width: int) -> list[list[int]]:
    """The columns of each table, as many as fit beside the keys; one at least."""
    keys = [
        max(cell_len(name), *(cell_len(line.keys[i]) for line in layout.lines), 0)
        for i, name in enumerate(layout.rows)
    ]
    if layout.several:
        keys.append(max(6, *(cell_len(line.metric.short) for line in layout.lines)))
    room = width - sum(size + GAP for size in keys)
    tables: list[list[int]] = [[]]
    used = 0
    for i, head in enumerate(layout.columns):
        size = max(cell_len(head), *(cell_len(line.cells[i].text) for line in layout.lines)) + GAP
        if tables[-1] and used + size > room:
            tables.append([])
            used = 0
        tables[-1].append(i)
        used += size
    return tables


def _table_of_columns(layout: ComparisonLayout, chosen: Sequence[int]) -> Table:
    table = figures_table()
    for name in layout.heads:
        table.add_column(name, overflow="fold")
    for i in chosen:
        table.add_column(Text(layout.columns[i]), justify="right", overflow="fold")
    for index, line in enumerate(layout.lines, start=1):
        keys = line.keys if line.starts else ("",) * len(line.keys)
        metric = [Text(line.metric.short, style="dim")] if layout.several else []
        ends = index == len(layout.lines) or layout.lines[index].starts
        table.add_row(
            *map(Text, keys),
            *metric,
            *(_cell(line.cells[i]) for i in chosen),
            end_section=layout.several and ends,
        )
    return table


def _cell(cell: Cell) -> Text:
    style = f"{'bold ' if cell.best else ''}{diagnosis_style(cell.diagnosis)}"
    return Text(cell.text, style=style.strip())


# ---------------------------------------------------------------------- paired differences


class _Pairs(NamedTuple):
    """One metric of one cell beside the baseline."""

    metric: Metric
    mean: float
    low: float
    high: float
    n: int
    p: float
    all_paired: bool

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out that there is no difference."""
        return self.low == self.low and not self.low <= self._no_difference <= self.high

    @property
    def _no_difference(self) -> int:
        return 1 if self.metric.logarithmic else 0

    def cells(self) -> list[str | Text]:
        """Metric, difference, interval, n and p as they are read."""
        low, mean, high = (
            difference_text(self.metric, value) for value in (self.low, self.mean, self.high)
        )
        return [
            self.metric.short,
            Text(mean, style="bold" if self.differs else ""),
            f"{low} … {high}" if self.low == self.low else "–",
            str(self.n) + ("" if self.all_paired else "†"),
            "–" if self.p != self.p else "<0.001" if self.p < 0.001 else f"{self.p:.3f}",
        ]


def paired_table(compared: "PairedComparison") -> Group:
    """Differences from a baseline: mean, interval, pairs and p, a line a cell and metric."""
    pairs = compared.pairs
    table = figures_table()
    for name in short_names(compared.keys):
        table.add_column(name, overflow="fold")
    for head in ("metric", "difference", "95% interval", "n", "p"):
        table.add_column(head, justify="left" if head == "metric" else "right", no_wrap=True)
    for record in pairs.to_dict("records"):
        figures = {name: record[name] for name in ("mean", "low", "high", "n", "p")}
        all_paired = not any(record[why] for why in _UNPAIRED)
        found = _Pairs(METRICS[record["metric"]], all_paired=all_paired, **figures)
        keys = (Text(label(key, record[key])) for key in compared.keys)
        table.add_row(*keys, *found.cells())
    notes = [
        f"against {pairs['baseline'].iloc[0]}, pairs of equal seeds; p: paired t-test, two-sided, "
        "uncorrected"
    ]
    if any(METRICS[metric].logarithmic for metric in pairs["metric"]):
        notes.append("×: geometric mean of the ratios to the baseline")
    notes.append("bold: the interval leaves out no difference")
    if ((pairs["n"] > 1) & pairs["p"].isna()).any():
        notes.append("–: all pairs differ by the same, so there is no interval and no p")
    totals = ((int(pairs[why].sum()), words) for why, words in _UNPAIRED.items())
    lost = ", ".join(f"{total} {words}" for total, words in totals if total)
    notes += [f"†: not all runs made a pair: {lost}"] if lost else []
    return Group(fit(table, compared.width), *dimmed(notes), *dimmed(compared.notes))
