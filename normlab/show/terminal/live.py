"""What a person sees while a run goes on: a live view in a terminal, plain lines elsewhere."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from normlab.config import Config, run_id
from normlab.runs import FINAL, Finished, Note, Outcome, Plan, labels, read_lock, run_folder
from normlab.show.terminal.tables import VERDICT_STYLES, duration, gradient_strip, number
from normlab.training import Checkpoint, Ended, Evaluation, Event, Measurement, Started
from normlab.training import Progress as StepProgress

REFRESH_PER_SECOND = 8
# Runs of a plan; more are counted.
MOST_LISTED = 40


def watch(events: Iterable[Event | Note | Finished], console: Console, name: str) -> Finished:
    """Show a run's events as they come and return the last one.

    On a terminal: a bar with loss, accuracy, speed and time left, and the gradient of every layer
    at the first and the latest snapshot. Elsewhere: a line for the start and each evaluation.
    """
    view = _live if console.is_terminal and not console.is_dumb_terminal else _plain
    finished = view(events, console, name)
    assert finished is not None  # execute ends with one
    return finished


def _plain(
    events: Iterable[Event | Note | Finished], console: Console, name: str
) -> Finished | None:
    for event in events:
        match event:
            case Note(text):
                console.print(text, soft_wrap=True, highlight=False, markup=False)
            case Started():
                console.print(_headline(name, event), soft_wrap=True, highlight=False)
            case Evaluation():
                console.print(
                    f"step {event.step:>6}  epoch {event.epoch:6.2f}  "
                    f"train loss {event.train_loss:.4f} acc {event.train_acc:.4f}  "
                    f"test loss {event.test_loss:.4f} acc {event.test_acc:.4f}",
                    soft_wrap=True,
                    highlight=False,
                )
            case Finished():
                return event
    return None


def _live(
    events: Iterable[Event | Note | Finished], console: Console, name: str
) -> Finished | None:
    bar = Progress(
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[figures]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=console,
        expand=True,
    )
    task = bar.add_task("", total=None, figures="evaluating", speed="")
    head = Text(f"{name}: loading")
    strips: list[Text] = []
    scores = ""

    def advance(step: int, loss: float) -> None:
        rate = bar.tasks[0].speed
        figures = f"loss {number(loss)} {scores}" if step else scores
        bar.update(task, completed=step, figures=figures, speed=f"{rate:.3g}/s" if rate else "")

    def render() -> Group:
        return Group(head, bar, *strips) if bar.tasks[0].total is not None else Group(head)

    with Live(
        console=console,
        refresh_per_second=REFRESH_PER_SECOND,
        transient=True,
        get_renderable=render,
    ):
        for event in events:
            match event:
                case Note(text):
                    console.print(text, soft_wrap=True, highlight=False, markup=False)
                case Started():
                    head = Text(_headline(name, event))
                    bar.update(task, total=event.steps)
                case Evaluation():
                    scores = f"train acc {event.train_acc:.3f} (epoch {event.epoch:.3g})"
                    advance(event.step, event.train_loss)
                case StepProgress(step, batch_loss):
                    advance(step, batch_loss)
                case Measurement() if "delta_rms" in event.probes:
                    label = f"δ at step {event.step}"
                    strip = gradient_strip(label, event.probes["delta_rms"], console.width)
                    strips = [*strips[:1], strip]
                case Finished():
                    return event
                case Measurement() | Checkpoint() | Ended():
                    pass
    return None


def _headline(name: str, started: Started) -> str:
    return (
        f"{name}: {started.layers} layers, {started.parameters:,} parameters, "
        f"{started.steps} steps on {started.device}"
        + (f", going on from step {started.resumed}" if started.resumed else "")
    )


# ------------------------------------------------------------------------------- sweeps


def plan_lines(plan: Plan) -> list[str]:
    """What a sweep has to do, in words."""
    count = len(plan.configs)
    parts = [f"{len(plan.pending)} to make"]
    if plan.finished:
        parts.append(f"{plan.finished} finished before")
    if plan.failed:
        parts.append(f"{plan.failed} failed before (--retry-failed makes them again)")
    lines = [f"{count} run{'s' if count != 1 else ''}: {', '.join(parts)}"]
    if plan.merged:
        lines.append(
            f"{plan.merged} more of the grid would be the same runs again: output, runtime and "
            "launcher make no other run"
        )
    if plan.pending and not math.isnan(plan.seconds):
        lines.append(
            f"about {duration(plan.seconds)} of computing, by the finished runs most alike"
        )
    return lines


def run_lines(plan: Plan) -> list[str]:
    """The runs that a sweep would make, each by what sets it apart; the first `MOST_LISTED`."""
    names = labels(plan.configs)
    lines = [f"  {names[run_id(config)]}" for config in plan.pending[:MOST_LISTED]]
    more = len(plan.pending) - len(lines)
    return [*lines, *([f"  and {more:,} more"] if more else [])]


def left_alone_line(plan: Plan) -> str:
    """Why a sweep that had to do nothing more is not whole."""
    return f"{plan.failed} failed before and left alone; --retry-failed makes them again"


def waiting_line(runs: int) -> str:
    """What a sweep waits for that has nothing more of its own to do."""
    return f"waiting for {runs} run{'s' if runs != 1 else ''} that another process is making"


def watch_sweep(
    outcomes: Iterable[Outcome],
    plan: Plan,
    console: Console,
    table: Callable[[], RenderableType | None],
) -> list[Outcome]:
    """Show a sweep's outcomes as they come and return them all.

    On a terminal: a bar with the time left, a line for every running job with its own progress, and
    `table()`, the comparison so far. Elsewhere: a line an outcome.
    """
    view = _live_sweep if console.is_terminal and not console.is_dumb_terminal else _plain_sweep
    return view(outcomes, plan, console, table)


def _plain_sweep(
    outcomes: Iterable[Outcome],
    plan: Plan,
    console: Console,
    table: Callable[[], RenderableType | None],  # noqa: ARG001  only a terminal can redraw it
) -> list[Outcome]:
    names = labels(plan.configs)
    seen: list[Outcome] = []
    for outcome in outcomes:
        seen.append(outcome)
        line = _outcome_line(outcome, names[outcome.run_id])
        console.print(Text(f"{len(seen)}/{len(plan.pending)}  ").append(line), soft_wrap=True)
    return seen


def _live_sweep(
    outcomes: Iterable[Outcome],
    plan: Plan,
    console: Console,
    table: Callable[[], RenderableType | None],
) -> list[Outcome]:
    bar = Progress(
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total} runs"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        expand=True,
    )
    task = bar.add_task("", total=len(plan.pending), left="")
    names = labels(plan.configs)
    unfinished = {run_id(config): config for config in plan.pending}
    began = time.monotonic()
    seen: list[Outcome] = []
    shown: RenderableType | None = None
    next_table = began

    def render() -> Group:
        return Group(*([shown] if shown is not None else []), bar, *_running(unfinished, names))

    with Live(
        console=console,
        refresh_per_second=REFRESH_PER_SECOND / 2,
        transient=True,
        get_renderable=render,
    ):
        for outcome in outcomes:
            seen.append(outcome)
            unfinished.pop(outcome.run_id, None)
            done = len(seen) / len(plan.pending)
            left = (time.monotonic() - began) * (1 - done) / done
            bar.update(task, completed=len(seen), left=f"about {duration(left)} left")
            if outcome.status not in FINAL:
                console.print(_outcome_line(outcome, names[outcome.run_id]))
            # Reading thousands of runs takes a while: a tenth of the time at most.
            now = time.monotonic()
            if now > next_table:
                shown = table()
                next_table = now + 10 * (time.monotonic() - now)
    return seen


def _running(unfinished: Mapping[str, Config], names: Mapping[str, str]) -> list[Text]:
    """A line for each of the runs that hold their lock, of those that come next."""
    lines = []
    for identity, config in itertools.islice(list(unfinished.items()), 64):
        lock = read_lock(run_folder(config))
        if lock is not None:
            progress = lock.get("progress", {})
            step, steps = progress.get("step", 0), progress.get("steps", 0)
            share = step / steps if steps else 0.0
            filled = round(20 * share)
            accuracy = progress.get("train_acc")
            figures = f"  train acc {accuracy:.3f}" if isinstance(accuracy, float) else ""
            state = f" {step}/{steps} " if steps else " "
            line = Text("━" * filled, style="green").append("━" * (20 - filled), style="dim")
            line.append(f"{state}{figures}  {names[identity]}", style="default")
            line.no_wrap = True
            lines.append(line)
    return lines


def _outcome_line(outcome: Outcome, name: str) -> Text:
    verdict = outcome.verdict or outcome.status
    line = Text().append(f"{name}: ").append(verdict, style=VERDICT_STYLES.get(verdict, ""))
    line.append(f"  {outcome.seconds:.1f} s", style="dim")
    return line if outcome.status in FINAL else line.append(f"  {outcome.reason}")
