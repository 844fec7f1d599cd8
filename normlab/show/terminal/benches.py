"""What measuring costs, as tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from normlab.text import plural

if TYPE_CHECKING:
    from normlab.bench import OperationTime, Timing


def bench_table(timings: Sequence["Timing"]) -> Table:
    """A training step's variants beside the bare loop: ratio, its quartiles, milliseconds."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("net", no_wrap=True)
    table.add_column("threads", justify="right")
    table.add_column("variant", no_wrap=True)
    for head in ("ratio", "quartiles", "ms a step"):
        table.add_column(head, justify="right", no_wrap=True)
    before = None
    for timing in timings:
        case = (timing.net, timing.threads)
        if before not in (None, case):
            table.add_section()
        names = (timing.net, str(timing.threads)) if case != before else ("", "")
        before = case
        spread = "" if timing.low == timing.high else f"{timing.low:.2f}–{timing.high:.2f}"
        style = ("green" if timing.ratio <= 1 else "yellow") if timing.own else ""
        ratio = Text(f"{timing.ratio:.2f}×", style=style)
        table.add_row(*names, timing.variant, ratio, spread, f"{timing.milliseconds:.2f}")
    return table


def profile_table(net: str, threads: int, shares: Sequence["OperationTime"]) -> Table:
    """Where a step's time goes, by operation."""
    title = f"{net}, {plural(threads, 'thread')}"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title)
    table.add_column("operation", overflow="fold")
    table.add_column("own time", justify="right")
    table.add_column("calls a step", justify="right")
    for part in shares:
        table.add_row(Text(part.operation), f"{100 * part.share:.1f} %", f"{part.calls:.0f}")
    return table
