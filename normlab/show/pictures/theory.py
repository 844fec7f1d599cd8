"""Measured and predicted factor of δ from each hidden layer to the one before, at init."""

import dataclasses
from typing import TYPE_CHECKING, Any

from normlab.show.pictures.drawing import PICTURES, OnPage, Picture, Screen, Subject

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


_TITLE = "Gradient factor per layer at init"
_Y = "δ of a layer / of the next"


def rows(subject: Subject) -> "DataFrame":
    """The measured and the predicted factor by layer, over the seeds."""
    from normlab.analysis import beside_theory

    return beside_theory.predicted(subject.runs, subject.progress)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """Points with a band over the seeds for what was measured, a line for what is predicted."""
    import altair as alt

    from normlab.show.charts import captions, marks, panels, scales, styling

    table, left_out = panels.in_panels(table, subject.sharing)
    looks = marks.variant_marks(table, subject)
    base = alt.Chart(table).encode(
        x=scales.layer_x(int(table["layer"].max())),
        color=looks.color.legend(symbolSize=70, symbolOpacity=1, labelLimit=marks.LABEL_PIXELS),
    )
    low = float(table[["low", "predicted"]].min().min())
    high = float(table[["high", "predicted"]].max().max())
    scale = alt.Scale(type="log", domain=[min(low, 0.9), max(high, 1.1)], nice=False)
    axis = alt.Axis(format=".3~g")
    points = base.mark_point(size=26, filled=True).encode(
        y=alt.Y("value:Q", title=_Y, scale=scale, axis=axis),
        shape=looks.shape,
        opacity=looks.opacity(),
        tooltip=marks.tooltip("layer", "measured"),
    )
    layers = (
        looks.band(base, alt.Y("low:Q", scale=scale)),
        points,
        looks.line(base, alt.Y("predicted:Q", scale=scale), width=1.8),
    )
    drawn = alt.layer(*layers).add_params(looks.picked)
    drawn = panels.side_by_side(drawn, table, 420, 250)
    seeds = captions.seeds_note(table, log=True)
    note = f"points: measured, {seeds}; lines: predicted{left_out}"
    return styling.styled(drawn, subject, _TITLE, note)


def sketch(table: "DataFrame", subject: Subject, screen: Screen) -> "Group":
    """Measured and predicted factors by layer, a panel for every depth."""
    from normlab.show.pictures import sketching
    from normlab.show.terminal.line_charts import Axis
    from normlab.show.terminal.line_panels import line_panels

    columns = (("value", ", measured"), ("predicted", ", predicted"))
    # Of the others nothing is predicted.
    covered = subject.runs[subject.runs["variant"].isin(table["variant"])]
    subject = dataclasses.replace(subject, runs=covered, others=subject.sharing)
    panels = sketching.depth_panels(table, subject, "layer", columns)
    both = table[["value", "predicted"]]
    low, high = min(0.9, float(both.min().min())), max(1.1, float(both.max().max()))
    note = "below 1 the gradient shrinks towards the input"
    heading = sketching.heading(subject, _TITLE, note, screen.width)
    axes = Axis("layer", whole=True), Axis(_Y, log=True, low=low, high=high)
    return line_panels(heading, panels, axes, screen)


def _is_predicted(runs: "DataFrame") -> bool:
    """Whether theory has a prediction for any of the runs."""
    return "gradient_factor_theory" in runs and bool(runs["gradient_factor_theory"].notna().any())


PICTURES.add(
    "theory",
    Picture(
        about="predicted and measured factors, {name}",
        rows=rows,
        chart=chart,
        sketch=sketch,
        on_page=OnPage(
            name="theory",
            place=4,
            chart=lambda subject: chart(rows(subject), subject),
            applies=_is_predicted,
        ),
    ),
)
