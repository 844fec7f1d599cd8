"""Runs one by one, and counted."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from normlab.results import label
from normlab.show.terminal.plain_tables import diagnosis_style, status_style
from normlab.show.terminal.row_tables import Row, RowTable
from normlab.text import plural
from normlab.vocabulary import DIAGNOSES, FINAL, STATUSES

if TYPE_CHECKING:
    from normlab.show.formats.run_list import RunList

_NARROW = 100  # below it there is no room for the last figure
_FIGURES = ("outcome", "train", "seconds")
_TWICE = {
    "repeated": "in several folders, counted once",
    "remeasured": "of another's training with other probes, counted once",
}


def runs_table(listed: "RunList") -> Group:
    """Runs one by one, their starts in local time, and how many more there are."""
    runs, left_out, width = listed
    several = runs["experiment"].nunique() > 1
    keys = ("run", "started", *(("experiment",) if several else ()), "network", "settings")
    figures = _FIGURES[:-1] if width < _NARROW else _FIGURES
    rows = []
    for record in runs.to_dict("records"):
        run = {str(key): value for key, value in record.items()}
        rows.append((_keys(run), _figures(run)[: len(figures)]))
    keys += ("cause",) if any(told["cause"] for told, _ in rows) else ()
    bare = [keys.index("network"), keys.index("settings")]
    lines = [Row([told[key] for key in keys], cells) for told, cells in rows]
    table = RowTable(keys, figures, lines, labels=len(figures), left=(0,), bare=bare)
    more = [Text(f"… and {left_out:,} more; --limit 0 shows all")] if left_out else []
    return Group(*(table.drawn(width) if rows else []), *more)


def _keys(run: Mapping[str, Any]) -> dict[str, str]:
    return {
        "run": run["run_id"],
        "started": _local_time(run["started"]),
        "experiment": label("", run["experiment"]),
        "network": label("", run["name"]),
        "settings": f"seed={run['seed']} {run['settings']}".rstrip(),
        "cause": _cause(run),
    }


def _cause(run: Mapping[str, Any]) -> str:
    """Of a run that has a diagnosis, and something wrong; `–` of an older version's."""
    diagnosis, cause = DIAGNOSES.get(run["verdict"] or ""), run["cause"]
    sound = diagnosis is None or (diagnosis.sound and cause in ("none", None))
    return "" if sound else label("", cause)


def _local_time(started: str | None) -> str:
    """The day and minute, of another year the day alone."""
    try:
        time = datetime.fromisoformat(started or "").astimezone()
    except (ValueError, OverflowError, OSError):
        return label("", None)
    this_year = time.year == datetime.now().astimezone().year
    return f"{time:%m-%d %H:%M}" if this_year else f"{time:%Y-%m-%d}"


def _figures(run: Mapping[str, Any]) -> list[Text]:
    """What became of a run, its diagnosis if there is one, and its figures."""
    status, diagnosis = run["status"], run["verdict"]
    style = diagnosis_style(diagnosis) if isinstance(diagnosis, str) else status_style(status)
    accuracy, seconds = run["train_acc"], run["seconds"]
    return [
        Text(diagnosis if isinstance(diagnosis, str) else status, style=style),
        Text(f"{accuracy:.3f}" if accuracy == accuracy else "–"),
        Text(f"{seconds:.1f}" if seconds == seconds else "–"),
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
