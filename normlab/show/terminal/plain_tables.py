"""The tables that others are made from, and styles by what a run came to."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
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
