"""What a person sees while a sweep goes on: a live view in a terminal, plain lines elsewhere."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from normlab.runs import Outcome, Plan, labels, read_lock, run_folder
from normlab.show.terminal.plain_tables import diagnosis_style
from normlab.text import duration
from normlab.vocabulary import FINAL

REFRESH_PER_SECOND = 4
# Locks are looked for among so many of the next runs.
MOST_LOOKED_AT = 64
BAR_CELLS = 20

Table = Callable[[], RenderableType | None]


def watch_sweep(
    outcomes: Iterable[Outcome], plan: Plan, console: Console, table: Table
) -> list[Outcome]:
    """Show a sweep's outcomes as they come and return them all.

    On a terminal: a bar with the time left, a line for every running job with its own progress, and
    `table()`, the comparison so far. Elsewhere: a line an outcome.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        return _watch_live(outcomes, plan, console, table)
    return _watch_plainly(outcomes, plan, console)


def _watch_plainly(outcomes: Iterable[Outcome], plan: Plan, console: Console) -> list[Outcome]:
    names = labels(plan.configs)
    seen: list[Outcome] = []
    for outcome in outcomes:
        seen.append(outcome)
        line = outcome_line(outcome, names[outcome.run_id])
        console.print(Text(f"{len(seen)}/{len(plan.pending)}  ").append(line), soft_wrap=True)
    return seen


def _watch_live(
    outcomes: Iterable[Outcome], plan: Plan, console: Console, table: Table
) -> list[Outcome]:
    view = SweepView(plan, console, table)
    seen: list[Outcome] = []
    with Live(
        console=console,
        refresh_per_second=REFRESH_PER_SECOND,
        transient=True,
        get_renderable=view.drawn,
    ):
        for outcome in outcomes:
            seen.append(outcome)
            view.update(outcome)
    return seen


class SweepView:
    """The live view of a sweep: the comparison so far, a bar, and the running jobs."""

    def __init__(self, plan: Plan, console: Console, table: Table):
        self._console = console
        self._names = labels(plan.configs)
        # By run id, which is a folder's name: a hash that is not made anew at every look.
        self._unfinished = {folder.name: folder for folder in map(run_folder, plan.pending)}
        self._total = len(plan.pending)
        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total} runs"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("", total=self._total, left="")
        self._done = 0
        self._began = time.monotonic()
        self._table = table
        self._comparison: RenderableType | None = None
        self._next_table = self._began

    def drawn(self) -> Group:
        """What is to be seen now."""
        comparison = [self._comparison] if self._comparison is not None else []
        return Group(*comparison, self._bar, *self._running_lines())

    def update(self, outcome: Outcome) -> None:
        """Take a run that has ended into the view; one without a result gets a line of its own."""
        self._unfinished.pop(outcome.run_id, None)
        self._done += 1
        share = self._done / self._total
        left = (time.monotonic() - self._began) * (1 - share) / share
        self._bar.update(self._task, completed=self._done, left=f"about {duration(left)} left")
        if outcome.status not in FINAL:
            self._console.print(outcome_line(outcome, self._names[outcome.run_id]))
        # Reading thousands of runs takes a while: a tenth of the time at most.
        now = time.monotonic()
        if now > self._next_table:
            self._comparison = self._table()
            self._next_table = now + 10 * (time.monotonic() - now)

    def _running_lines(self) -> list[Text]:
        """A line for each of the runs that hold their lock, of those that come next."""
        lines = []
        for folder in itertools.islice(list(self._unfinished.values()), MOST_LOOKED_AT):
            lock = read_lock(folder)
            if lock is not None:
                lines.append(job_line(lock.get("progress", {}), self._names[folder.name]))
        return lines


def job_line(progress: Mapping[str, Any], name: str) -> Text:
    """A running job's bar, step and accuracy, as its lock tells them."""
    step, steps, accuracy = (progress.get(key, 0) for key in ("step", "steps", "train_acc"))
    filled = round(BAR_CELLS * step / steps) if steps else 0
    figures = f"  train acc {accuracy:.3f}" if isinstance(accuracy, float) else ""
    state = f" {step}/{steps} " if steps else " "
    line = Text("━" * filled, style="green").append("━" * (BAR_CELLS - filled), style="dim")
    line.append(f"{state}{figures}  {name}", style="default")
    line.no_wrap = True
    return line


def outcome_line(outcome: Outcome, name: str) -> Text:
    """How a run ended, with the reason where it has no result."""
    shown = outcome.verdict or outcome.status
    line = Text().append(f"{name}: ").append(shown, style=diagnosis_style(shown))
    line.append(f"  {outcome.seconds:.1f} s", style="dim")
    return line if outcome.status in FINAL else line.append(f"  {outcome.reason}")
