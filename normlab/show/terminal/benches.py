"""What measuring costs, as tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from normlab.text import plural

if TYPE_CHECKING:
    from normlab.bench import OperationTime, Timing


_WIDTHS = (12, 7, 19, 7, 11, 9)  # of the columns, whatever rows are still to come


def bench_head() -> Text:
    """The heads of a bench's columns, above `bench_row`."""
    net, threads, variant, *figures = "net", "threads", "variant", "ratio", "quartiles", "ms a step"
    line = _line(net, threads, Text(variant), *map(Text, figures))
    line.stylize("bold")
    return line.append(f"\n{'─' * line.cell_len}")


def bench_row(timing: "Timing", before: "Timing | None") -> Text:
    """A variant's step beside the bare loop: ratio, its quartiles, milliseconds; the net stands in
    its first row alone, below a line."""
    case = (timing.net, str(timing.threads))
    again = before is not None and case == (before.net, str(before.threads))
    spread = "" if timing.low == timing.high else f"{timing.low:.2f}–{timing.high:.2f}"
    style = ("green" if timing.ratio <= 1 else "yellow") if timing.own else ""
    ratio = Text(f"{timing.ratio:.2f}×", style=style)
    figures = (ratio, Text(spread), Text(f"{timing.milliseconds:.2f}"))
    line = _line(*(("", "") if again else case), Text(timing.variant), *figures)
    return line if again or before is None else Text("\n").append(line)


def _line(net: str, threads: str, variant: Text, *figures: Text) -> Text:
    """Cells in columns: names to the left, numbers to the right."""
    cells = [Text(f"{net:<{_WIDTHS[0]}}"), Text(f"{threads:>{_WIDTHS[1]}}")]
    cells.append(variant + Text(" " * (_WIDTHS[2] - variant.cell_len)))
    for text, width in zip(figures, _WIDTHS[3:], strict=True):
        cells.append(Text(" " * (width - text.cell_len)) + text)
    return Text("  ").join(cells)


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
