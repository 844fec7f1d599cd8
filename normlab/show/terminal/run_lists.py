"""Runs one by one, and counted."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Group
from rich.text import Text

from normlab.results import label
from normlab.show.terminal.plain_tables import diagnosis_style, figures_table, fit, status_style
from normlab.text import plural
from normlab.vocabulary import FINAL, STATUSES

if TYPE_CHECKING:
    from pandas import DataFrame


class _Column(NamedTuple):
    head: str
    figure: bool = False
    may_fold: bool = False


_COLUMNS = (
    _Column("run"),
    _Column("experiment", may_fold=True),
    _Column("network", may_fold=True),
    _Column("seed", figure=True),
    _Column("state"),
    _Column("verdict"),
    _Column("train", figure=True),
    _Column("seconds", figure=True),
)
_TWICE = {
    "repeated": "in several folders, counted once",
    "remeasured": "of another's training with other probes, counted once",
}
_NARROW = 100  # below it there is no room for the last column


def runs_table(frame: "DataFrame", *, width: int, limit: int = 0) -> Group:
    """The runs and their states, by experiment and name; the first `limit`, 0 for all."""
    ordered = frame.sort_values(["experiment", "name", "seed"], kind="stable")
    shown = ordered.head(limit) if limit else ordered
    columns = _COLUMNS[:-1] if width < _NARROW else _COLUMNS
    table = figures_table()
    for column in columns:
        table.add_column(
            column.head,
            justify="right" if column.figure else "left",
            no_wrap=not column.may_fold,
            overflow="fold",
        )
    for record in shown.to_dict("records"):
        table.add_row(*_cells({str(key): value for key, value in record.items()})[: len(columns)])
    left = len(frame) - len(shown)
    more = [Text(f"… and {left} more; --limit 0 shows all")] if left > 0 else []
    return Group(fit(table, width), *more)


def _cells(run: Mapping[str, Any]) -> list[str | Text]:
    status, diagnosis = run["status"], label("", run["verdict"])
    accuracy, seconds = run.get("train_acc", math.nan), run.get("seconds", math.nan)
    return [
        run["run_id"],
        Text(label("", run["experiment"])),
        Text(label("", run["name"])),
        str(run["seed"]),
        Text(status, style=status_style(status)),
        Text(diagnosis, style=diagnosis_style(diagnosis)),
        f"{accuracy:.3f}" if accuracy == accuracy else "–",
        f"{seconds:.1f}" if seconds == seconds else "–",
    ]


def counts_line(counts: Mapping[str, int]) -> str:
    """`24 runs: 22 finished, 1 diverged, 1 failed (not in the means)`."""
    states = {status: count for status, count in counts.items() if status in STATUSES}
    total = sum(states.values())
    if not total:
        return "no runs"
    each = ", ".join(f"{count:,} {status}" for status, count in states.items())
    out = " (not in the means)" if set(states) - set(FINAL) else ""
    twice = [f"; {counts[why]} {words}" for why, words in _TWICE.items() if counts.get(why)]
    return f"{plural(total, 'run')}: {each}{out}{''.join(twice)}"
