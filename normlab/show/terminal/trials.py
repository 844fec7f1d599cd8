"""What the advice of a run brought: while it is tried, and at the end."""

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.plugins import command
from normlab.runs import (
    TELLING_GAIN,
    Outcome,
    Run,
    Trial,
    Tried,
    best_of,
    results_of,
    rows_of,
    run_folder,
    second_cause,
    words_with,
)
from normlab.show.terminal.plain_tables import diagnosis_style, status_style
from normlab.show.terminal.row_tables import Row, RowTable
from normlab.vocabulary import METRICS

_GIVEN = "as given"
_TO_MAKE, _AT_WORK = "·", "…"


class TrialsSoFar:
    """The table of a run's trials while they are made."""

    def __init__(self, run: Run, trials: Sequence[Trial]):
        self._run, self._trials = run, trials
        self.names: Mapping[str, str] = {
            run_folder(trial.config).name: trial.advice or _GIVEN for trial in trials
        }

    def ended(self, outcome: Outcome) -> None:
        """A run has ended: the table reads its files when it is drawn."""

    def drawn(self, at_work: Collection[str], width: int, rows: int) -> RenderableType | None:
        """The table, where there is room for it."""
        lines = _table(results_of(self._run, self._trials), at_work).drawn(width)
        return Group(*lines) if len(lines) <= rows else None


def trials_report(run: Run, results: Sequence[Tried], width: int) -> Group:
    """The table of a run's trials, the best marked, and in a sentence what it brought."""
    best = best_of(results)
    lines: list[RenderableType] = [
        Text(f"{run.summary.run_id}, {run.summary.name}: {run.summary.cause}", style="bold"),
        Text(),
        *_table(results).drawn(width),
        Text(),
        Text(_sentence(run, results, best)),
    ]
    return Group(*lines)


def command_of(run: Run, results: Sequence[Tried]) -> str | None:
    """The command that makes the run with the advice that brought most; None where none did."""
    best = best_of(results)
    if best is None:
        return None
    return shlex.join([*command(), "run", *words_with(run, best.advice)])


def trials_to_plain(
    run: Run, results: Sequence[Tried], command: str | None, why_none: str | None = None
) -> dict[str, Any]:
    """What `--format json` prints of a run's trials and the command with the best, or of a run of
    which nothing is tried."""
    best = best_of(results) if results else None
    return {
        "run": run.summary.run_id,
        "cause": run.summary.cause,
        "trials": rows_of(results) if results else [],
        "best": best.advice if best else None,
        "sentence": _sentence(run, results, best) if results else why_none,
        "next": command,
    }


def _table(results: Sequence[Tried], at_work: Collection[str] = ()) -> RowTable:
    metric, best = results[0].metric, best_of(results)
    rows = [
        Row(
            [tried.advice or _GIVEN],
            _waiting(tried, at_work)
            or [_score(tried, best), _verdict(tried), _cause(tried), _steps(tried)],
        )
        for tried in results
    ]
    columns = (METRICS[metric].label, "verdict", "cause", "steps")
    return RowTable(("tried",), columns, rows, left=(1, 2), above=True)


def _waiting(tried: Tried, at_work: Collection[str]) -> list[Text]:
    """The cells of a trial that has not ended, or is made again; none of another."""
    makes = run_folder(tried.config).name in at_work
    if tried.summary is not None and not makes:
        return []
    return [Text(_AT_WORK if makes else _TO_MAKE, style="dim"), Text(), Text(), Text()]


def _score(tried: Tried, best: Tried | None) -> Text:
    if tried.score is None:
        return Text("–", style="dim")
    if tried is best:
        return Text(f"best {tried.score:.3f}", style="bold green" if tried.cured else "bold")
    return Text(f"{tried.score:.3f}")


def _verdict(tried: Tried) -> Text:
    if tried.summary is None:
        return Text()
    verdict, status = tried.summary.verdict, tried.summary.status
    if verdict is None:
        return Text(status, style=status_style(status))
    return Text(verdict, style=diagnosis_style(verdict))


def _cause(tried: Tried) -> Text:
    return Text((tried.summary.cause if tried.summary else None) or "")


def _steps(tried: Tried) -> Text:
    steps = tried.summary.steps if tried.summary else None
    return Text("" if steps is None else f"{steps:,}")


def _sentence(run: Run, results: Sequence[Tried], best: Tried | None) -> str:
    given = results[0]
    label = METRICS[given.metric].label
    if best is None or best.score is None:
        least = "" if given.score is None else f" {given.score:.3f},"
        within = _within(given) if given.summary is not run.summary else ""
        none = (
            f"No advice brings {label} a point above{least} that of the settings as given{within}."
        )
        return f"{none}{_further(run, results, given)}"
    gain = f"{label} {_gain(run, given, best)}"
    if best.cured:
        does = "makes it train" if given.metric == "train_acc" else "makes it generalize"
        return f"{best.advice} {does}: {gain}."
    if best.score - (given.score or 0.0) < TELLING_GAIN:
        least = f"No advice brings five points; most brings {best.advice}: {gain}."
        return f"{least}{_further(run, results, best)}"
    left = f"is of cause {best.summary.cause if best.summary else None}"
    if _is_cut_short(run, given, best):
        left = "may be the few steps"
    return f"{best.advice} brings most: {gain}. What is left {left}."


def _gain(run: Run, given: Tried, best: Tried) -> str:
    """The accuracies of the best and of the given settings, and their steps where those are not the
    run's own."""
    before = "" if given.score is None else f", from {given.score:.3f}"
    if best.steps != given.steps and math.isfinite(best.steps + given.steps):
        after = f"{before} in {given.steps:,} steps" if before else ""
        return f"{best.score:.3f} in {best.steps:,} steps{after}"
    within = _within(given) if given.summary is not run.summary else ""
    return f"{best.score:.3f}{before}{within}"


def _within(tried: Tried) -> str:
    return f", in {tried.steps:,} steps" if math.isfinite(tried.steps) else ""


def _is_cut_short(run: Run, given: Tried, tried: Tried) -> bool:
    """Whether a trial is of fewer steps than the run, as all are but those whose advice is a
    length."""
    return tried.steps <= given.steps < (run.summary.steps or 0)


def _further(run: Run, results: Sequence[Tried], tried: Tried) -> str:
    """What may be behind it that no advice helps, with a space before it."""
    if _is_cut_short(run, results[0], tried):
        return " That may be the few steps."
    second = second_cause(run, results)
    if second is None:
        return ""
    words = " ".join(second.words)
    return f" With {second.advice} the cause is {second.cause}: try {words}."
