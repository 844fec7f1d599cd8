"""What a person sees while a run goes on: a live view in a terminal, plain lines elsewhere."""

import math
from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from normlab.runs import Finished
from normlab.tables import gradient_strip
from normlab.training import Ended, Evaluation, Event, Measurement, Started
from normlab.training import Progress as StepProgress

REFRESH_PER_SECOND = 8


def watch(events: Iterable[Event | Finished], console: Console, name: str) -> Finished:
    """Show a run's events as they come and return the last one.

    On a terminal: a bar with loss, accuracy, speed and time left, and the gradient of every layer
    at the first and the latest snapshot. Elsewhere: a line for the start and each evaluation.
    """
    view = _live if console.is_terminal and not console.is_dumb_terminal else _plain
    finished = view(events, console, name)
    assert finished is not None  # execute ends with one
    return finished


def _plain(events: Iterable[Event | Finished], console: Console, name: str) -> Finished | None:
    for event in events:
        match event:
            case Started():
                console.print(_headline(name, event), soft_wrap=True, highlight=False)
            case Evaluation(row):
                console.print(
                    f"step {row['step']:>6}  epoch {row['epoch']:6.2f}  "
                    f"train loss {row['train_loss']:.4f} acc {row['train_acc']:.4f}  "
                    f"test loss {row['test_loss']:.4f} acc {row['test_acc']:.4f}",
                    soft_wrap=True,
                    highlight=False,
                )
            case Finished():
                return event
    return None


def _live(events: Iterable[Event | Finished], console: Console, name: str) -> Finished | None:
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
    task = bar.add_task("", total=None, figures="", speed="")
    head = Text(f"{name}: loading")
    strips: list[Text] = []
    loss = accuracy = math.nan

    def advance(step: int) -> None:
        figures = f"loss {loss:.3f} train acc {accuracy:.3f}" if accuracy == accuracy else ""
        rate = bar.tasks[0].speed
        bar.update(
            task, completed=step, figures=figures, speed=f"{rate:.0f} steps/s" if rate else ""
        )

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
                case Started():
                    head = Text(_headline(name, event))
                    bar.update(task, total=event.steps)
                case Evaluation(row):
                    loss, accuracy = row["train_loss"], row["train_acc"]
                    advance(row["step"])
                case StepProgress(step, batch_loss):
                    loss = batch_loss
                    advance(step)
                case Measurement(rows) if "delta_rms" in rows[0]:
                    strip = _strip(rows, console.width)
                    strips = [*strips[:1], strip]
                case Finished():
                    return event
                case Measurement() | Ended():
                    pass
    return None


def _strip(rows: list[dict[str, Any]], width: int) -> Text:
    deltas = [row["delta_rms"] for row in rows]
    return gradient_strip(f"δ at step {rows[0]['step']}", deltas, width)


def _headline(name: str, started: Started) -> str:
    return (
        f"{name}: {started.layers} layers, {started.parameters:,} parameters, "
        f"{started.steps} steps on {started.device}"
    )
