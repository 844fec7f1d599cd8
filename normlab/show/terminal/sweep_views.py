"""What a person sees while a sweep goes on: a live view in a terminal, plain lines elsewhere."""

import itertools
import math
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from normlab.runs import Outcome, Plan, Remaining, labels, run_folder
from normlab.show.terminal.jobs import Job, job_lines, jobs_at_work
from normlab.show.terminal.live import can_be_live, live_view
from normlab.show.terminal.plain_tables import diagnosis_style
from normlab.text import duration, plural
from normlab.vocabulary import FINAL

REFRESH_PER_SECOND = 4
# A lock tells its run's progress once in so long; locks are looked for among so many of the next
# runs.
LOOK_SECONDS = 1.0
MOST_LOOKED_AT = 256


class Aside(Protocol):
    """What is shown beside a sweep's progress."""

    @property
    def names(self) -> Mapping[str, str]:
        """Its names of runs, by run id."""

    def ended(self, outcome: Outcome) -> object:
        """A run has ended."""

    def drawn(self, at_work: Collection[str], width: int, rows: int) -> RenderableType | None:
        """What is to be seen below the jobs, in so many rows, while these runs are made."""


def watch_sweep(
    outcomes: Iterable[Outcome], plan: Plan, console: Console, aside: Aside
) -> list[Outcome]:
    """Show a sweep's outcomes as they come and return them all.

    On a terminal and in a notebook: a bar with the time left, a line for every running job with its
    own progress, and below them what `aside` draws. Elsewhere: a line an outcome.
    """
    if can_be_live(console):
        return _watch_live(outcomes, plan, console, aside)
    return _watch_plainly(outcomes, plan, console, aside)


def _watch_plainly(
    outcomes: Iterable[Outcome], plan: Plan, console: Console, aside: Aside
) -> list[Outcome]:
    names = {**labels(plan.configs), **aside.names}
    seen: list[Outcome] = []
    for outcome in outcomes:
        seen.append(outcome)
        line = outcome_line(outcome, names[outcome.run_id])
        console.print(Text(f"{len(seen)}/{len(plan.pending)}  ").append(line), soft_wrap=True)
        aside.ended(outcome)
    return seen


def _watch_live(
    outcomes: Iterable[Outcome], plan: Plan, console: Console, aside: Aside
) -> list[Outcome]:
    view = SweepView(plan, console, aside)
    seen: list[Outcome] = []
    try:
        with live_view(console, view.drawn, REFRESH_PER_SECOND):
            for outcome in outcomes:
                seen.append(outcome)
                view.update(outcome)
    except KeyboardInterrupt:
        # The launcher waits for them before anything else is printed.
        console.print("stopping: the runs at work keep what they have", style="dim")
        raise
    return seen


class SweepView:
    """The live view of a sweep: a bar and the time left, the running jobs, and what is beside.

    A thread of its own draws it, beside the one that updates it.
    """

    def __init__(self, plan: Plan, console: Console, aside: Aside):
        self._console, self._aside = console, aside
        self._names = {**labels(plan.configs), **aside.names}
        # By run id, which is a folder's name: a hash that is not made anew at every look.
        self._unfinished = {folder.name: folder for folder in map(run_folder, plan.pending)}
        self._remaining = Remaining(plan.pending, plan.known)
        self._total, self._done, self._failed = len(plan.pending), 0, 0
        self._jobs: dict[str, Job] = {}
        self._most_jobs = 0
        self._starting = plan.pending[0].launcher.starting if plan.pending else ""
        self._entered = time.monotonic()
        self._began: float | None = None  # when the first run was seen at work
        self._looked = -math.inf
        self._lock = threading.RLock()

    def drawn(self) -> Group:
        """What is to be seen now, as many lines as the terminal has at most."""
        with self._lock:
            self._look()
            width, height = self._console.size
            jobs = self._job_lines(width, max(1, height // 3))
            # Below the terminal's last line it would scroll, and so it would where a full line is
            # the last one, at the end of which it echoes Ctrl-C.
            rest = self._aside.drawn(self._jobs.keys(), width, height - len(jobs) - 4)
            below = [Text(), rest] if rest is not None else []
            return Group(self._head(), *jobs, *below, Text())

    def update(self, outcome: Outcome) -> None:
        """Take a run that has ended into the view; one without a result gets a line of its own."""
        lacking = outcome.status not in FINAL
        with self._lock:
            self._unfinished.pop(outcome.run_id, None)
            self._jobs.pop(outcome.run_id, None)
            self._remaining.end(outcome)
            self._done += 1
            self._failed += lacking
            self._began = self._began or self._entered
        # Not with the lock: the thread that draws holds the console's before it asks for this one.
        if lacking:
            self._console.print(outcome_line(outcome, self._names[outcome.run_id]))
        self._aside.ended(outcome)

    def _look(self) -> None:
        """Read the locks of the runs that come next, now and then."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        self._jobs = jobs_at_work(itertools.islice(self._unfinished.values(), MOST_LOOKED_AT))
        stages = {name: job.stage for name, job in self._jobs.items() if job.stage is not None}
        if stages and self._began is None:
            self._began = now
        self._remaining.go_on(stages)

    def _head(self) -> Table:
        """The bar, of the runs' work rather than their number, and the time left."""
        now = time.monotonic()
        left = "" if self._began is None else self._time_left(now - self._began)
        failed = f", {self._failed} failed" if self._failed else ""
        head = Table.grid(padding=(0, 1, 0, 0), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True)
        head.add_row(
            f"{self._done}/{plural(self._total, 'run')}{failed}",
            ProgressBar(total=1.0, completed=self._remaining.share_done),
            f"{duration(now - self._entered)}{left}",
        )
        return head

    def _time_left(self, elapsed: float) -> str:
        seconds = self._remaining.seconds(elapsed)
        too_early = elapsed < LOOK_SECONDS or math.isnan(seconds)
        return "" if too_early else f", about {duration(seconds)} left"

    def _job_lines(self, width: int, most: int) -> list[Text]:
        """The running jobs, in as many lines as there have been; before the first, what is done."""
        if self._began is None and not any(job.stage for job in self._jobs.values()):
            return [Text(f"{self._starting} …", "dim", no_wrap=True, overflow="ellipsis")]
        shown = dict(itertools.islice(self._jobs.items(), most))
        lines = job_lines(shown, self._names, width)
        if len(self._jobs) > most:
            lines[-1] = Text(f"and {len(self._jobs) - most + 1} more at work", style="dim")
        # Between two runs a worker has none for a moment: what is below stays where it is.
        self._most_jobs = min(max(self._most_jobs, len(lines)), max(len(self._unfinished), 1))
        return [*lines, *(Text() for _ in range(self._most_jobs - len(lines)))]


def outcome_line(outcome: Outcome, name: str) -> Text:
    """How a run ended, with the reason where it has no result."""
    shown = outcome.verdict or outcome.status
    line = Text().append(f"{name}: ").append(shown, style=diagnosis_style(shown))
    line.append(f"  {outcome.seconds:.1f} s", style="dim")
    return line if outcome.status in FINAL else line.append(f"  {outcome.reason}")
