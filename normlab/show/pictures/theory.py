"""Measured and predicted factor of δ from each hidden layer to the one before, at init."""

from typing import TYPE_CHECKING, Any

from normlab.show.pictures.drawing import PICTURES, OnPage, Picture, Subject
from normlab.text import number

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


def rows(subject: Subject) -> "DataFrame":
    """The measured and the predicted factor by layer, over the seeds."""
    from normlab.results import series

    return series.predicted(subject.runs, subject.progress)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """Points with a band over the seeds for what was measured, a line for what is predicted."""
    import altair as alt

    from normlab.show.charts import marks, panels, scales, styling

    table, left_out = panels.in_panels(table)
    looks = marks.variant_marks(table, subject)
    base = alt.Chart(table).encode(
        x=scales.layer_x(),
        color=looks.color.legend(symbolSize=70, symbolOpacity=1, labelLimit=260),
    )
    low = float(table[["low", "predicted"]].min().min())
    high = float(table[["high", "predicted"]].max().max())
    scale = alt.Scale(type="log", domain=[min(low, 0.9), max(high, 1.1)], nice=False)
    axis = alt.Axis(format=".3~g")
    points = base.mark_point(size=26, filled=True).encode(
        y=alt.Y("value:Q", title="δ of a layer / of the next", scale=scale, axis=axis),
        shape=looks.shape,
        opacity=looks.opacity(),
        tooltip=marks.tooltip("layer", "measured"),
    )
    layers = (
        looks.band(base, alt.Y("low:Q", scale=scale)),
        points,
        looks.line(base, alt.Y("predicted:Q", scale=scale), width=1.8),
    )
    drawn = alt.layer(*layers).add_params(looks.picked).properties(width=420, height=250)
    drawn = panels.side_by_side(drawn, table)
    seeds = styling.seeds_note(table, log=True)
    about = f"points: measured, {seeds}; lines: predicted{left_out}"
    return styling.styled(drawn, "Gradient factor per layer", about)


def sketch(table: "DataFrame", subject: Subject, width: int) -> "Group":  # noqa: ARG001
    """Measured and predicted factors by layer, each as a line of bars on one scale."""
    import numpy as np
    from rich.console import Group
    from rich.text import Text

    from normlab.show.terminal import bars

    both = table[["value", "predicted"]]
    scale = bars.Scale(float(both.min().min()), float(both.max().max()), log=True)
    cells = bars.room_for_bars(table, width, other=50)
    lines = bars.sketch_table("variant", "depth", "", "input → output", "first", "last")
    for (variant, depth), group in table.groupby(["variant", "depth"], sort=False):
        ordered = group.sort_values("layer")
        for column, name in (("value", "measured"), ("predicted", "predicted")):
            values = ordered[column].to_numpy(dtype=np.float64)
            first = column == "value"
            lines.add_row(
                Text(str(variant) if first else ""),
                str(depth) if first else "",
                name,
                bars.bar_line(values, cells, scale),
                f"×{number(values[0])}",
                f"×{number(values[-1])}",
            )
    note = "δ of a layer over that of the next, at init; below 1 it shrinks towards the input"
    return Group(lines, Text(note, style="dim"))


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
