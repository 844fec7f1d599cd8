"""A metric by epoch: how a training went."""

from typing import TYPE_CHECKING, Any

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import CURVE, PICTURES, OnPage, Picture, Subject
from normlab.text import capitalized, number
from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


# A note names so many lines.
_MOST_NAMED = 4


def rows(subject: Subject) -> "DataFrame":
    """The metric by epoch, over the seeds."""
    from normlab.results import series

    return series.curves(subject.runs, subject.figure, subject.progress)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A metric by epoch, a line a variant, a band from least to greatest seed.

    A share goes from 0 to 1; what is not one stands on a logarithmic scale where all of it is
    positive.
    """
    import altair as alt
    import numpy as np

    from normlab.show.charts import marks, panels, scales, styling

    metric = METRICS[subject.figure]
    table, left_out = panels.in_panels(table)
    if not np.isfinite(table["value"]).any():
        raise ConfigError(f"{metric.name}: is finite in no run")
    log = not metric.share and bool((table["value"].dropna() > 0).all())
    scale = (
        alt.Scale(domain=[0, 1])
        if metric.share
        else alt.Scale(type="log" if log else "linear", nice=False)
    )
    axis = alt.Axis(format="%") if metric.share else scales.value_axis(log=log)
    looks = marks.variant_marks(table, subject)
    base = alt.Chart(table).encode(x=alt.X("epoch:Q", title="epoch"), color=looks.color)
    y = alt.Y("value:Q", title=metric.label, scale=scale, axis=axis)
    layers = (
        looks.band(base, alt.Y("low:Q", scale=scale, title=metric.label)),
        looks.line(base, y),
        looks.hover(base, y, marks.tooltip("epoch", metric.label)),
    )
    drawn = alt.layer(*layers).add_params(looks.picked).properties(width=330, height=200)
    drawn = panels.side_by_side(drawn, table)
    heading = capitalized(metric.label) + panels.only_depth(table)
    about = styling.seeds_note(table, log=False) + left_out
    return styling.styled(drawn, heading, [*filter(None, (about, missing_words(table)))])


def missing_words(table: "DataFrame") -> str:
    """Of which lines fewer runs are left at the end than a table of means counts, or nothing."""
    ends = (
        table.sort_values("epoch", kind="stable").groupby(["variant", "depth"], sort=False).last()
    )
    short = ends[ends["n"] < ends["runs"]]
    lines = [
        f"{variant} depth {depth} {n} of {runs}"
        for (variant, depth), n, runs in zip(short.index, short["n"], short["runs"], strict=True)
    ]
    if not lines:
        return ""
    more = f" and {len(lines) - _MOST_NAMED} more" if len(lines) > _MOST_NAMED else ""
    return f"runs left at the end, the others diverged: {', '.join(lines[:_MOST_NAMED])}{more}"


def sketch(table: "DataFrame", subject: Subject, width: int) -> "Group":
    """A metric by epoch: a line of bars for each variant and depth."""
    import numpy as np
    from rich.console import Group
    from rich.text import Text

    from normlab.show.terminal import bars

    finite = table["value"][np.isfinite(table["value"])]
    metric = METRICS[subject.figure]
    scale = bars.Scale(0.0, 1.0) if metric.share else bars.scale_of(finite)
    cells = bars.room_for_bars(table, width, other=32)
    lines = bars.sketch_table("variant", "depth", "epoch →", "first", "last")
    for (variant, depth), group in table.groupby(["variant", "depth"], sort=False):
        values = group.sort_values("epoch")["value"].to_numpy(dtype=np.float64)
        drawn = bars.bar_line(values, cells, scale)
        lines.add_row(Text(str(variant)), str(depth), drawn, number(values[0]), number(values[-1]))
    notes = (f"{metric.name} by epoch, mean over seeds", missing_words(table))
    return Group(lines, *(Text(note, style="dim") for note in notes if note))


PICTURES.add(
    "curves",
    Picture(
        about="{name} by epoch",
        rows=rows,
        chart=chart,
        sketch=sketch,
        takes=CURVE,
        on_page=OnPage(
            name="accuracy",
            place=3,
            chart=lambda subject: chart(rows(subject), subject),
            figure="train_acc",
        ),
    ),
)
