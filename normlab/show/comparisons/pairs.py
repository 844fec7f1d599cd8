"""Paired differences from a baseline laid out, and what is said of them."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from normlab.analysis import label
from normlab.show.comparisons.figures import ABSENT, difference_text
from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame

HEADS = ("metric", "difference", "95% interval", "n", "p")
# Why a run makes no pair, as `paired` counts it.
_UNPAIRED = {
    "unpaired": "without such a baseline run",
    "zeros": "with a gradient of 0",
    "missing": "without the figure",
}


class PairLine(NamedTuple):
    """One metric of one cell beside the baseline: its key values, and a text for each of HEADS."""

    keys: tuple[str, ...]
    metric: str
    difference: str
    interval: str
    n: str
    p: str
    differs: bool  # the interval leaves out that there is no difference


def pair_lines(pairs: "DataFrame", keys: Sequence[str]) -> list[PairLine]:
    """The rows of `paired` as they are read."""
    return [_line(record, keys) for record in pairs.to_dict("records")]


def _line(record: Mapping[Any, Any], keys: Sequence[str]) -> PairLine:
    metric = METRICS[record["metric"]]
    low, high, p = (float(record[name]) for name in ("low", "high", "p"))
    bounds = [difference_text(metric, bound) for bound in (low, high)]
    known = not math.isnan(low)
    same = 1 if metric.logarithmic else 0
    return PairLine(
        keys=tuple(label(key, record[key]) for key in keys),
        metric=metric.short,
        difference=difference_text(metric, float(record["mean"])),
        interval=" … ".join(bounds) if known else ABSENT,
        n=f"{record['n']}{'†' if any(record[why] for why in _UNPAIRED) else ''}",
        p=ABSENT if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}",
        differs=known and not low <= same <= high,
    )


def pair_notes(pairs: "DataFrame") -> list[str]:
    """What the differences are of, what their signs mean, and which runs made no pair."""
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
    return [*notes, *([f"†: not all runs made a pair: {lost}"] if lost else [])]
