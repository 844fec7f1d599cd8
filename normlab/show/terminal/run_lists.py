"""Runs one by one, and counted."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from normlab.analysis import cause_label, label
from normlab.show.terminal.plain_tables import diagnosis_style, status_style
from normlab.show.terminal.row_tables import Row, RowTable
from normlab.text import plural
from normlab.vocabulary import DIAGNOSES, FINAL, STATUSES

if TYPE_CHECKING:
    from normlab.show.formats.run_list import RunList

_NARROW = 100  # below it there is no room for the last figure
_ROOM_FOR_CAUSES = 54  # below it a run's id would have none beside the longest cause
_TWICE = {
    "repeated": "in several folders, counted once",
    "remeasured": "of another's training with other probes, counted once",
}


def runs_table(listed: "RunList") -> Group:
    """Runs one by one, their starts in local time, and how many more there are."""
    frame, left_out, width, where_all_are = listed
    runs = [{str(key): value for key, value in run.items()} for run in frame.to_dict("records")]
    keys = ["run", "started", "network", "settings"]
    figures = ["outcome", "train", *(["seconds"] if width >= _NARROW else [])]
    if frame["experiment"].nunique() > 1:
        keys.insert(2, "experiment")
    if any(map(_is_ill, runs)):
        place, names = (1, figures) if width >= _ROOM_FOR_CAUSES else (keys.index("network"), keys)
        names.insert(place, "cause")
    rows = [
        Row([_key(run, key) for key in keys], [_figure(run, name) for name in figures])
        for run in runs
    ]
    left = [i for i, name in enumerate(figures) if name in ("outcome", "cause")]
    bare = [keys.index("network"), keys.index("settings")]
    table = RowTable(keys, figures, rows, labels=len(figures), left=left, bare=bare)
    more = [Text(f"… and {left_out:,} more; {where_all_are}")] if left_out else []
    return Group(*([table] if rows else []), *more)


def _key(run: Mapping[str, Any], key: str) -> str:
    match key:
        case "run":
            return str(run["run_id"])
        case "started":
            return _local_time(run["started"])
        case "network":
            return label("", run["name"])
        case "settings":
            return f"seed={label('seed', run['seed'])} {run['settings']}".rstrip()
        case "cause":
            return _cause(run)
    return label("", run[key])


def _cause(run: Mapping[str, Any]) -> str:
    """Of a run that has a diagnosis."""
    return cause_label(run["cause"]) if run["verdict"] in DIAGNOSES else ""


def _is_ill(run: Mapping[str, Any]) -> bool:
    """Whether something is wrong with a run that has a diagnosis."""
    diagnosis = DIAGNOSES.get(run["verdict"] or "")
    return diagnosis is not None and not (diagnosis.sound and run["cause"] in ("none", None))


def _local_time(started: str | None) -> str:
    """The day and minute, of another year the day alone."""
    try:
        time = datetime.fromisoformat(started or "").astimezone()
    except (ValueError, OverflowError, OSError):
        return label("", None)
    this_year = time.year == datetime.now().astimezone().year
    return f"{time:%m-%d %H:%M}" if this_year else f"{time:%Y-%m-%d}"


def _figure(run: Mapping[str, Any], name: str) -> Text:
    """A run's diagnosis or its status where there is none, its cause, accuracy or seconds."""
    match name:
        case "outcome":
            status, diagnosis = run["status"], run["verdict"]
            if isinstance(diagnosis, str):
                return Text(diagnosis, style=diagnosis_style(diagnosis))
            return Text(status, style=status_style(status))
        case "cause":
            return Text(_cause(run))
        case "train":
            accuracy = run["train_acc"]
            return Text(f"{accuracy:.3f}" if accuracy == accuracy else "–")
    seconds = run["seconds"]
    return Text(f"{seconds:.1f}" if seconds == seconds else "–")


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
