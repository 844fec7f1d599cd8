"""The tables that others are made from, and styles by what a run came to."""

import shlex
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from normlab.vocabulary import DIAGNOSES, STATUSES

GAP = 2  # between columns


def facts_table() -> Table:
    """Two columns, a name and what is said of it, without lines."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


class ShellCommand:
    """A command that can be pasted into a shell however narrow the terminal is: a line that goes on
    ends in a backslash."""

    def __init__(self, words: Sequence[str]):
        self.words = [shlex.quote(word) for word in words]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max((len(word) for word in self.words), default=0)
        whole = Measurement(longest + 2, max(longest + 2, len(" ".join(self.words))))
        return whole.with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines: list[str] = []
        for place, word in enumerate(self.words, start=1):
            room = options.max_width - (0 if place == len(self.words) else 2)
            if lines and len(lines[-1]) + 1 + len(word) <= room:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        yield Text(" \\\n".join(lines), overflow="fold")


class Unpadded:
    """A table without the blanks at the ends of its lines, behind which a backslash is none."""

    def __init__(self, table: Table):
        self.table = table

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return self.table.__rich_measure__(console, options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self.table, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            yield from line[:-1]
            if line:
                yield Segment(line[-1].text.rstrip(), line[-1].style)
            yield Segment.line()


def figures_table() -> Table:
    """Columns close to each other under a line, for as many figures as there is room for."""
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        collapse_padding=True,
        header_style="bold",
    )


def fit(table: Table, width: int) -> Table:
    """The table as wide as it needs to be, and no wider than `width`."""
    console = Console(width=width, markup=False, emoji=False)
    table.width = min(width, table.__rich_measure__(console, console.options).maximum)
    return table


def flowing(entries: Iterable[Text], width: int) -> list[Text]:
    """Entries beside each other, as many in a line as fit."""
    lines: list[Text] = []
    for entry in entries:
        if not lines or lines[-1].cell_len + 3 + entry.cell_len > width:
            lines.append(Text(no_wrap=True, overflow="ellipsis"))
        lines[-1].append("   " if lines[-1] else "").append(entry)
    return lines


def dimmed(notes: Iterable[str]) -> list[Text]:
    """Notes below a table."""
    return [Text(note, style="dim") for note in notes]


def diagnosis_style(name: str | None) -> str:
    """The style of a network's diagnosis, none where there is none or it is not known."""
    diagnosis = DIAGNOSES.get(name or "")
    return diagnosis.style if diagnosis else ""


def status_style(name: str) -> str:
    """The style of a run's status."""
    status = STATUSES.get(name)
    return status.style if status else ""
