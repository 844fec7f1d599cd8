"""A metric by epoch: how a training went."""

from typing import TYPE_CHECKING, Any

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import CURVE, PICTURES, OnPage, Picture, Screen, Subject
from normlab.text import capitalized, some_of
from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


# A note names so many lines.
_MOST_NAMED = 4


def rows(subject: Subject) -> "DataFrame":
    """The metric by epoch, over the seeds."""
    from normlab.analysis import series

    return series.curves(subject.runs, subject.figure, subject.progress)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A metric by epoch, a line a variant, a band from least to greatest seed.

    A share goes from 0 to 1; what is not one stands on a logarithmic scale where all of it is
    positive.
    """
    import altair as alt

    from normlab.show.charts import captions, marks, panels, scales, styling

    metric = METRICS[subject.figure]
    table, left_out = panels.in_panels(table, subject.sharing)
    _check_finite(table, metric.name)
    log = not metric.share and bool((table["value"].dropna() > 0).all())
    scale = (
        alt.Scale(domain=[0, 1])
        if metric.share
        else alt.Scale(type="log" if log else "linear", nice=False)
    )
    axis = alt.Axis(format="%") if metric.share else scales.value_axis(log=log)
    looks = marks.variant_marks(table, subject)
    epochs = alt.X(
        "epoch:Q",
        title="epoch",
        scale=alt.Scale(nice=False),
        axis=alt.Axis(tickMinStep=1, tickCount=10, format="d"),
    )
    base = alt.Chart(table).encode(x=epochs, color=looks.color)
    y = alt.Y("value:Q", title=metric.label, scale=scale, axis=axis)
    chance = marks.chance_line(table, subject.runs, metric)
    layers = (
        looks.band(base, alt.Y("low:Q", scale=scale, title=metric.label)),
        looks.line(base, y),
        looks.hover(base, y, marks.tooltip("epoch", metric.label)),
        *chance,
    )
    drawn = alt.layer(*layers, data=table).add_params(looks.picked)
    drawn = panels.side_by_side(drawn, table, 420, 220)
    notes = captions.seeds_note(table, log=False) + left_out, missing_words(table)
    return styling.styled(drawn, subject, f"{capitalized(metric.label)} by epoch", *notes)


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
    return (
        f"runs left at the end, the others diverged: {some_of(lines, _MOST_NAMED)}" if lines else ""
    )


def _check_finite(table: "DataFrame", name: str) -> None:
    import numpy as np

    if not np.isfinite(table["value"]).any():
        raise ConfigError(f"{name}: is finite in no run")


def sketch(table: "DataFrame", subject: Subject, screen: Screen) -> "Group":
    """A metric by epoch, a panel for every depth."""
    import numpy as np
    from rich.text import Text

    from normlab.show.charts import captions
    from normlab.show.pictures import sketching
    from normlab.show.terminal.line_charts import Axis
    from normlab.show.terminal.line_panels import line_panels

    metric = METRICS[subject.figure]
    _check_finite(table, metric.name)
    known = table["value"][np.isfinite(table["value"])]
    panels = sketching.depth_panels(table, subject, "epoch")
    y = Axis(metric.label, log=bool((known > 0).all()))
    if metric.share:
        ends = float(table["epoch"].min()), float(table["epoch"].max())
        chance = sketching.chance_line(subject, ends, metric)
        panels = [panel._replace(lines=[*panel.lines, *chance]) for panel in panels]
        y = Axis(metric.label, low=0.0, high=1.0)
    title = f"{capitalized(metric.label)} by epoch"
    note = captions.seeds_note(table, log=False, band=False)
    heading = sketching.heading(subject, title, note, screen.width)
    if missing := missing_words(table):
        heading.append(Text(missing, "dim"))
    return line_panels(heading, panels, (Axis("epoch", whole=True), y), screen)


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
        ),
    ),
)
