"""What a person sees while a run goes on: a live view in a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Sequence

from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from normlab.measurement import by_block
from normlab.runs import Finished, Note
from normlab.show.terminal.live import can_be_live, live_view
from normlab.show.terminal.strips import gradient_strip
from normlab.text import number
from normlab.training import Evaluation, Event, Measurement, Started
from normlab.training import Progress as StepProgress

REFRESH_PER_SECOND = 8

RunEvent = Event | Note | Finished


def watch(events: Iterable[RunEvent], console: Console, name: str) -> Finished:
    """Show a run's events as they come and return the last one.

    On a terminal and in a notebook: a bar with speed and time left, the loss of the latest batch
    beside the scores of the latest evaluation, and the gradient of every layer at the first and the
    latest snapshot.
    Elsewhere: a line for the start and each evaluation.
    """
    finished = (_watch_live if can_be_live(console) else _watch_plainly)(events, console, name)
    assert finished is not None  # execute ends with one
    return finished


def _watch_plainly(events: Iterable[RunEvent], console: Console, name: str) -> Finished | None:
    for event in events:
        match event:
            case Note(text):
                print_line(text, console)
            case Started():
                print_line(started_line(name, event), console)
            case Evaluation():
                print_line(
                    f"step {event.step:>6}  epoch {event.epoch:6.2f}  "
                    f"train loss {event.train_loss:.4f} acc {event.train_acc:.4f}  "
                    f"test loss {event.test_loss:.4f} acc {event.test_acc:.4f}",
                    console,
                )
            case Finished():
                return event
    return None


def _watch_live(events: Iterable[RunEvent], console: Console, name: str) -> Finished | None:
    view = RunView(console, name)
    with live_view(console, view.drawn, REFRESH_PER_SECOND):
        for event in events:
            if isinstance(event, Finished):
                return event
            view.update(event)
    return None


class RunView:
    """The live view of a run: its name, a bar, its scores, and the strips of two snapshots."""

    def __init__(self, console: Console, name: str):
        self._console = console
        self._name = name
        self._head = Text(f"{name}: loading")
        self._strips: list[Text] = []
        # A batch's loss is in train mode and of one batch: it never stands for the evaluated one.
        self._scores = "evaluating"
        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total} steps"),
            TextColumn("batch loss {task.fields[batch_loss]:<8}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("", total=None, batch_loss="–", speed="")

    def drawn(self) -> Group:
        """What is to be seen now; no bar before the number of steps is known."""
        if self._bar.tasks[0].total is None:
            return Group(self._head)
        scores = Text(self._scores, no_wrap=True, overflow="ellipsis")
        # The last line is not full, so that the terminal does not scroll as it echoes Ctrl-C.
        return Group(self._head, self._bar, scores, *self._strips, Text())

    def update(self, event: Event | Note) -> None:
        """Take an event into the view."""
        match event:
            case Note(text):
                print_line(text, self._console)
            case Started():
                self._head = Text(started_line(self._name, event))
                self._bar.update(self._task, total=event.steps)
            case Evaluation():
                self._scores = evaluation_line(event)
                self._advance(event.step)
            case StepProgress(step, batch_loss):
                self._bar.update(self._task, batch_loss=number(batch_loss))
                self._advance(step)
            case Measurement() if "delta_rms" in event.probes:
                label = f"δ at step {event.step}"
                strip = gradient_strip(label, deltas_of(event), self._console.width)
                self._strips = [*self._strips[:1], strip]  # the first and the latest
            case _:  # nothing to be seen
                pass

    def _advance(self, step: int) -> None:
        rate = self._bar.tasks[0].speed
        self._bar.update(self._task, completed=step, speed=f"{rate:.3g}/s" if rate else "")


def deltas_of(event: Measurement) -> Sequence[float]:
    """δ of every layer, or of every block where there are."""
    if not any(layer.role for layer in event.layers):
        return event.probes["delta_rms"]
    from pandas import DataFrame

    found: list[float] = by_block(DataFrame(event.rows()))["delta_rms"].tolist()
    return found


def evaluation_line(event: Evaluation) -> str:
    """The scores of an evaluation in little room."""
    scores = (
        f"{part} loss {number(loss)} acc {accuracy:.3f}"
        for part, loss, accuracy in (
            ("train", event.train_loss, event.train_acc),
            ("test", event.test_loss, event.test_acc),
        )
    )
    return f"epoch {event.epoch:.3g}: {', '.join(scores)}"


def started_line(name: str, started: Started) -> str:
    """What is trained, for how long and where."""
    return (
        f"{name}: {started.layers} layers, {started.parameters:,} parameters, "
        f"{started.steps} steps on {started.device}"
        + (f", going on from step {started.resumed}" if started.resumed else "")
    )


def print_line(text: str, console: Console) -> None:
    """Print a line as it is, however long."""
    console.print(text, soft_wrap=True)
