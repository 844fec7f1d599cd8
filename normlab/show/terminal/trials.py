"""What the advice of a run brought: while it is tried, and at the end."""

import shlex
from collections.abc import Collection, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.runs import (
    TELLING_GAIN,
    Outcome,
    Run,
    Trial,
    Tried,
    best_of,
    results_of,
    run_folder,
    words_with,
)
from normlab.show.terminal.plain_tables import diagnosis_style, status_style
from normlab.show.terminal.row_tables import Row, RowTable
from normlab.vocabulary import METRICS

_GIVEN = "as given"
_TO_MAKE = "·"


class TrialsSoFar:
    """The table of a run's trials while they are made."""

    def __init__(self, run: Run, trials: Sequence[Trial]):
        self._run, self._trials = run, trials
        self.names: Mapping[str, str] = {
            run_folder(trial.config).name: trial.advice or _GIVEN for trial in trials
        }

    def ended(self, outcome: Outcome) -> None:
        """A run has ended: the table reads its files when it is drawn."""

    def drawn(self, at_work: Collection[str], width: int, rows: int) -> RenderableType | None:  # noqa: ARG002
        """The table, where there is room for it."""
        lines = _table(results_of(self._run, self._trials)).drawn(width)
        return Group(*lines) if len(lines) <= rows else None


def trials_report(run: Run, trials: Sequence[Trial], width: int) -> Group:
    """The table of a run's trials, the best marked, and in a sentence what it brought."""
    results = results_of(run, trials)
    best = best_of(results)
    lines: list[RenderableType] = [
        Text(f"{run.summary.run_id}, {run.summary.name}: {run.summary.cause}", style="bold"),
        Text(),
        *_table(results).drawn(width),
        Text(),
        Text(_sentence(run, results, best)),
    ]
    return Group(*lines)


def command_of(run: Run, trials: Sequence[Trial]) -> str | None:
    """The command that makes the run with the advice that brought most; None where none did."""
    best = best_of(results_of(run, trials))
    if best is None:
        return None
    return shlex.join(["normlab", "run", *words_with(run.config, best.advice)])


def _table(results: Sequence[Tried]) -> RowTable:
    metric, best = results[0].metric, best_of(results)
    rows = [
        Row(
            [tried.advice or _GIVEN],
            [_score(tried, best), _verdict(tried), _cause(tried), _steps(tried)],
        )
        for tried in results
    ]
    columns = (METRICS[metric].label, "verdict", "cause", "steps")
    return RowTable(("tried",), columns, rows, labels=len(columns), left=(1, 2))


def _score(tried: Tried, best: Tried | None) -> Text:
    if tried.score is None:
        return Text(_TO_MAKE if tried.summary is None else "–", style="dim")
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
    shortened = given.summary is not run.summary and given.summary is not None
    within = f", in {given.summary.steps:,} steps" if shortened and given.summary else ""
    if best is None or best.score is None:
        return f"No advice brings {label} above that of the settings as given{within}."
    before = "" if given.score is None else f", from {given.score:.3f}"
    gain = f"{label} {best.score:.3f}{before}{within}"
    if best.cured:
        does = "makes it train" if given.metric == "train_acc" else "makes it generalize"
        return f"{best.advice} {does}: {gain}."
    if best.score - (given.score or 0.0) < TELLING_GAIN:
        return f"No advice brings five points; most brings {best.advice}: {gain}."
    cause = best.summary.cause if best.summary else None
    return f"{best.advice} brings most: {gain}. What is left is of cause {cause}."
