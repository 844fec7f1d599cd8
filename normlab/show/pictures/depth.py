"""Final train error by depth, for plain and residual nets: the degradation of He et al. 2015."""

import math
from typing import TYPE_CHECKING, Any

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import PICTURES, OnPage, Picture, Subject
from normlab.text import percent

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group


def rows(subject: Subject) -> "DataFrame":
    """The final train error by depth, over the seeds."""
    from normlab.results import series

    return series.errors(subject.runs)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A line a variant, a bar at each depth from the least to the greatest seed."""
    import altair as alt
    import numpy as np

    from normlab.show.charts import marks, styling, variants

    variants.check_number(table)
    if not np.isfinite(table["value"]).any():
        raise ConfigError("the train error is finite in no run")
    looks = marks.variant_marks(table, subject)
    base = alt.Chart(table).encode(
        x=alt.X(
            "depth:Q",
            title="depth (weight layers)",
            scale=alt.Scale(zero=False, nice=False, padding=14),
            axis=alt.Axis(values=sorted(int(depth) for depth in table["depth"].unique())),
        ),
        color=looks.color,
    )
    scale = alt.Scale(domain=[0, 1])
    y = alt.Y("value:Q", title="final train error", scale=scale, axis=alt.Axis(format="%"))
    bars = base.mark_rule(strokeWidth=1.2).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q", opacity=looks.opacity()
    )
    points = base.mark_point(filled=True, size=46).encode(
        y=y, opacity=looks.opacity(), tooltip=marks.tooltip("depth", "train error")
    )
    drawn = alt.layer(looks.line(base, y), bars, points).add_params(looks.picked)
    drawn = drawn.properties(width=420, height=270)
    return styling.styled(drawn, "Train error by depth", styling.seeds_note(table, log=False))


def sketch(table: "DataFrame", subject: Subject, width: int) -> "Group":  # noqa: ARG001
    """A bar for each variant and depth."""
    from rich.console import Group
    from rich.text import Text

    from normlab.show.terminal import bars

    lines = bars.sketch_table("variant", "depth", "train error", "")
    cells = max(10, min(50, width - bars.label_width(table) - 24))
    before = None
    for row in table.sort_values(["variant", "depth"], kind="stable").to_dict("records"):
        error, name = float(row["value"]), str(row["variant"])
        shown = "–" if math.isnan(error) else percent(error)
        bar = Text(bars.long_bar(error, cells), "yellow")
        lines.add_row(Text(name if name != before else ""), f"{row['depth']}", shown, bar)
        before = name
    return Group(lines)


def _several_depths(runs: "DataFrame") -> bool:
    from normlab.results import DEPTH

    return bool(runs[DEPTH].nunique() > 1)


PICTURES.add(
    "depth",
    Picture(
        about="train error by {name}",
        rows=rows,
        chart=chart,
        sketch=sketch,
        on_page=OnPage(
            name="error",
            place=1,
            chart=lambda subject: chart(rows(subject), subject),
            reads_tables=False,
            applies=_several_depths,
        ),
    ),
)
