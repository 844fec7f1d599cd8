"""What sketches of lines share: the heading, and a panel for each depth on one scale."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.text import Text

from normlab.show.charts.captions import about
from normlab.show.charts.domains import chance_values
from normlab.show.charts.panels import few_depths
from normlab.show.charts.variants import looks
from normlab.show.terminal.line_charts import Line
from normlab.show.terminal.line_panels import Panel
from normlab.vocabulary import Metric

if TYPE_CHECKING:
    from pandas import DataFrame

    from normlab.show.pictures.drawing import Subject


def heading(subject: "Subject", title: str, note: str, width: int) -> list[Text]:
    """The title of a sketch, what the runs are, and a note, in one line with these if it fits."""
    words = [about(subject.runs), note]
    line = "; ".join(words)
    title_line = Text(subject.title or title, "bold")
    return [title_line, *(Text(line, "dim") for line in ([line] if len(line) <= width else words))]


def depth_panels(
    table: "DataFrame", subject: "Subject", x: str, columns: Iterable[tuple[str, str]] = ()
) -> list[Panel]:
    """A panel for each of few depths, a line a variant by the column x.

    `columns` are the values' columns and what they add to the variant's name, where there are
    several. The only depth has no title of its own, as the heading has it.
    """
    depths = few_depths(table["depth"])
    return [
        Panel(
            f"depth {depth}" if len(depths) > 1 else "",
            variant_lines(table[table["depth"] == depth], subject, x, columns),
        )
        for depth in depths
    ]


def variant_lines(
    table: "DataFrame", subject: "Subject", x: str, columns: Iterable[tuple[str, str]] = ()
) -> list[Line]:
    """A line for each variant of all runs, without points where the table has none."""
    names = list(dict.fromkeys(subject.runs["variant"]))
    found = looks(subject.sharing, names)
    ordered = table.sort_values(x)
    lines = []
    for name in names:
        mine = ordered[ordered["variant"] == name]
        for column, addition in columns or [("value", "")]:
            points = list(zip(mine[x].astype(float), mine[column].astype(float), strict=True))
            lines.append(Line(f"{name}{addition}", points, found[name].style))
    return lines


def chance_line(subject: "Subject", ends: tuple[float, float], metric: Metric) -> list[Line]:
    """A line from end to end at each of the chance values."""
    return [
        Line("chance", [(end, value) for end in ends], "dim")
        for value in chance_values(subject.runs, metric)
    ]
