"""Comparisons and paired differences as tables of a terminal."""

from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.text import Text

from normlab.results import label, short_names
from normlab.show.comparisons.figures import difference_text
from normlab.show.comparisons.layout import Cell, ComparisonLayout, Line
from normlab.show.comparisons.legend import legend, marks_explained
from normlab.show.terminal.plain_tables import diagnosis_style, dimmed
from normlab.show.terminal.row_tables import Row, RowTable
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
        *table.drawn(compared.width),
        *dimmed([explained] if explained else []),
        *([marks] if marks else []),
        *dimmed(compared.notes),
    )


def _cells(layout: ComparisonLayout, line: Line) -> list[Text]:
    metric = [Text(line.metric.short, style="dim")] if layout.several else []
    return [*metric, *map(_cell, line.cells)]


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

    def cells(self) -> list[Text]:
        """Metric, difference, interval, n and p as they are read."""
        low, mean, high = (
            difference_text(self.metric, value) for value in (self.low, self.mean, self.high)
        )
        return [
            Text(self.metric.short),
            Text(mean, style="bold" if self.differs else ""),
            Text(f"{low} … {high}" if self.low == self.low else "–"),
            Text(str(self.n) + ("" if self.all_paired else "†")),
            Text("–" if self.p != self.p else "<0.001" if self.p < 0.001 else f"{self.p:.3f}"),
        ]


def paired_table(compared: "PairedComparison") -> Group:
    """Differences from a baseline: mean, interval, pairs and p, a line a cell and metric."""
    pairs = compared.pairs
    rows = []
    for record in pairs.to_dict("records"):
        figures = {name: record[name] for name in ("mean", "low", "high", "n", "p")}
        all_paired = not any(record[why] for why in _UNPAIRED)
        found = _Pairs(METRICS[record["metric"]], all_paired=all_paired, **figures)
        rows.append(Row([label(key, record[key]) for key in compared.keys], found.cells()))
    heads = ("metric", "difference", "95% interval", "n", "p")
    table = RowTable(short_names(compared.keys), heads, rows, labels=1, left=[0])
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
    return Group(*table.drawn(compared.width), *dimmed(notes), *dimmed(compared.notes))
