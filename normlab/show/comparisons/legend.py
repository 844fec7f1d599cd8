"""What the marks of a comparison's cells mean, those that it has."""

from collections import Counter
from typing import TYPE_CHECKING

from normlab.analysis import cause_label
from normlab.show.comparisons.figures import NO_RATIO
from normlab.show.comparisons.layout import ComparisonLayout, usual_n
from normlab.vocabulary import DIAGNOSES, METRICS, Spread

if TYPE_CHECKING:
    from pandas import DataFrame


_SPREADS = {
    "interval": "95% confidence interval of the mean (Student's t)",
    "std": "standard deviation of the runs (of n − 1)",
}
_GEOMETRIC_SPREADS = {
    "interval": "that of a geometric mean",
    "std": "geometric standard deviation about a geometric mean",
}
# When, and of which nets, a mark says what it does.
_LETTERS = (
    "letters: how trainings ended that came less than 90% of the way from chance to full train "
    "accuracy"
)
# Of all letters; more of them are no help.
_MOST_CAUSES = 8
_NO_CAUSE = cause_label(None)


def legend(summary: "DataFrame", layout: ComparisonLayout, spread: Spread = "interval") -> str:
    """The signs between a cell's figures, in one line; empty where there are none."""
    shown = [cell.text for line in layout.lines for cell in line.cells]
    said = []
    # Two figures are their own count.
    if usual_n(summary) > 2:
        other = " where none is written" if any(" n=" in text for text in shown) else ""
        said.append(f"n = {usual_n(summary)} runs a cell{other}")
    if any(", " in text for text in shown):
        said.append("two figures: of both runs")
    if any("±" in text for text in shown):
        said.append(f"±: {_SPREADS[spread]}")
    if any("×÷" in text for text in shown):
        said.append(f"×÷: {_GEOMETRIC_SPREADS[spread]}, as a factor")
    if any("*" in text for text in shown):
        said.append("*: n = 1, no interval")
    if any("=" in text.replace("n=", "") for text in shown):
        said.append("=: equal in all runs, no interval")
    if any(NO_RATIO in text for text in shown):
        said.append(f"{NO_RATIO}: a gradient of exactly 0 in all runs, which has no ratio")
    if any(text.startswith("0, ") for text in shown):
        said.append("0: a gradient of exactly 0")
    if any("·0" in text for text in shown):
        said.append("+k·0: in k more runs it is of a gradient of exactly 0, which has no logarithm")
    if any(line.metric.logarithmic for line in layout.lines):
        said.append("ratio: first to last layer's gradient, factor: from layer to layer")
    missing = summary.groupby("metric", sort=False)["missing"].sum()
    said += [
        f"{count} without {METRICS[str(name)].short}" for name, count in missing.items() if count
    ]
    if any(cell.best for line in layout.lines for cell in line.cells):
        said.append("bold: best of its column, with all that ties by an interval")
    return "; ".join(said)


def cells_by_cause(summary: "DataFrame") -> str:
    """How many of the cells with a letter have which cause, in one line; empty where no cell has a
    letter.

    Such as `cells by cause: u: 3 rate_too_small, 2 depth; v: 1 vanishing_at_init`; of very many the
    first ones.
    """
    if not {"verdict", "cause"} <= set(summary):  # one of them is a key of the rows
        return ""
    cells = summary[summary["metric"] == next(iter(summary["metric"]), None)]
    counted: dict[str, Counter[str]] = {}
    for verdict, cause in zip(cells["verdict"], cells["cause"].map(cause_label), strict=True):
        diagnosis = DIAGNOSES.get(verdict or "")
        if diagnosis and diagnosis.mark:
            counted.setdefault(diagnosis.mark, Counter())[cause] += 1
    if set().union(*counted.values()) == {_NO_CAUSE}:
        return f"causes {_NO_CAUSE}: made by an older version"
    room, parts = _MOST_CAUSES, []
    for mark, counts in counted.items():
        shown = ", ".join(f"{n} {cause}" for cause, n in counts.most_common(room))
        parts += [f"{mark}: {shown}"] if shown else []
        room -= min(room, len(counts))
    left_out = sum(map(len, counted.values())) - _MOST_CAUSES
    more = f" and {left_out} more (normlab ls --where cause=…)" if left_out > 0 else ""
    return f"cells by cause: {'; '.join(parts)}{more}" if parts else ""


def marks_explained(layout: ComparisonLayout) -> list[tuple[str, str]]:
    """What the letters in the cells mean, and what those without one are; each with its style."""
    shown = {cell.diagnosis for line in layout.lines for cell in line.cells}
    found = [diagnosis for name, diagnosis in DIAGNOSES.items() if name in shown]
    plain = [(f"no letter: {d.name}", d.style) for d in found if not d.mark]
    marked = [(f"{d.mark} {d.name}: {d.meaning}", d.style) for d in found if d.mark]
    return [*plain, *([(_LETTERS, "dim"), *marked] if marked else [])]
