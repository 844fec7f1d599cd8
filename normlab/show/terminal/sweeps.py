"""A sweep's runs: the comparison while they are made, and what is read at the end."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from normlab.results import counts, findings, layout, read_results, summarize
from normlab.show.comparisons.comparing import Comparison
from normlab.show.comparisons.origins import origin_notes
from normlab.show.terminal.comparison_tables import comparison_table
from normlab.show.terminal.run_lists import counts_line
from normlab.vocabulary import FINAL

if TYPE_CHECKING:
    from pandas import DataFrame

SWEEP_METRICS = ("train_acc", "gradient_ratio_init")


def sweep_table(folders: Sequence[Path], ids: Set[str], width: int) -> Group | None:
    """The comparison of a sweep's runs so far; None before the first has ended."""
    frame = _read_runs(folders, ids)
    frame = frame[frame["status"].isin(FINAL)]
    return None if frame.empty else _table(frame, width)


def sweep_report(folders: Sequence[Path], ids: Set[str], width: int) -> Group:
    """What a person reads at a sweep's end: the comparison, what was seen, where the files lie."""
    frame = _read_runs(folders, ids)
    if frame.empty:
        return Group(Text("no run has ended yet"))
    return Group(
        _table(frame, width, counts_line(counts(frame)), origins=True),
        Text(),
        *(Text(sentence) for sentence in findings(frame)),
        Text(f"files: {', '.join(map(str, folders))}", style="dim"),
    )


def _table(frame: "DataFrame", width: int, *notes: str, origins: bool = False) -> Group:
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, SWEEP_METRICS)
    notes = (*notes, *origin_notes(frame, [*rows, *cols])) if origins else notes
    return comparison_table(Comparison(summary, rows, cols, notes, width))


def _read_runs(folders: Sequence[Path], ids: Set[str]) -> "DataFrame":
    """Those of the runs in the folders that are the sweep's."""
    frame, _ = read_results([folder for folder in folders if folder.is_dir()])
    return frame[frame["run_id"].isin(ids)]
