"""A probe by layer: at init and at the end, and on a page through all snapshots by a slider."""

from typing import TYPE_CHECKING, Any

from normlab.show.pictures.drawing import PICTURES, PROBE, OnPage, Picture, Subject
from normlab.text import capitalized, number

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group

    from normlab.show.charts.marks import VariantMarks

# A row is about 150 bytes of a page.
MOST_ROWS = 20_000


def rows(subject: Subject) -> "DataFrame":
    """The probe by layer at init and at the end, over the seeds."""
    from normlab.results import series

    return series.profiles(subject.runs, subject.figure, subject.progress)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A probe by layer at init and at the end, a line a variant, a band over its seeds.

    A value of exactly 0, or none that is finite, has no place on a log scale: it stands as a mark
    at the lower or upper edge.
    """
    import altair as alt
    import numpy as np
    import pandas

    from normlab.config import PROBES
    from normlab.show.charts import marks, panels, scales, styling

    probe = PROBES[subject.figure]
    table, left_out = panels.in_panels(table)
    table = table.assign(when=np.where(table["place"] == "init", "at init", "at the end"))
    placed, edges = scales.split_at_edge(table, log=probe.logarithmic)
    looks = marks.variant_marks(table, subject)
    both = pandas.concat([placed.assign(edge=""), edges])  # facets need one table for all layers
    base = alt.Chart(both).transform_filter("datum.edge == ''")
    layers = _line_layers(base, placed, looks, subject.figure)
    if len(edges):
        points = alt.Chart(both).transform_filter("datum.edge != ''")
        points = points.mark_point(size=22, filled=True)
        layers.append(
            points.encode(
                x=scales.layer_x(),
                y=alt.Y("value:Q", title=probe.label),
                shape=scales.edge_shape(),
                color=looks.color,
                tooltip=["variant:N", "layer:Q", "edge:N"],
            )
        )
    several = table["depth"].nunique() > 1
    places = [name for name in ("at init", "at the end") if (table["when"] == name).any()]
    facet: dict[str, Any] = {"column": alt.Column("when:N", title=None, sort=places)}
    if several:
        facet["row"] = alt.Row("panel:N", title=None, sort=panels.panel_order(table))
    title = f"{'Gradient' if probe.gradient else capitalized(probe.label)} by layer"
    drawn = alt.layer(*layers, data=both).add_params(looks.picked)
    drawn = drawn.properties(width=330, height=190 if several else 250).facet(**facet)
    drawn = drawn.resolve_scale(x="independent" if several else "shared")
    seeds = styling.seeds_note(table, log=probe.logarithmic)
    return styling.styled(drawn, title + panels.only_depth(table), seeds + left_out)


def _line_layers(
    base: Any, placed: "DataFrame", looks: "VariantMarks", figure: str, *extra: Any
) -> list[Any]:
    """A band, a line and its points for the pointer; `extra` comes first in what they show."""
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import marks, scales

    probe = PROBES[figure]
    scale = scales.value_scale(placed, log=probe.logarithmic)
    base = base.encode(x=scales.layer_x(), color=looks.color)
    y = alt.Y(
        "value:Q", title=probe.label, scale=scale, axis=scales.value_axis(log=probe.logarithmic)
    )
    return [
        looks.band(base, alt.Y("low:Q", scale=scale, title=probe.label)),
        looks.line(base, y),
        looks.hover(base, y, [*extra, *marks.tooltip("layer", probe.label)]),
    ]


def history_rows(subject: Subject) -> "DataFrame":
    """The probe by layer at every step at which it was measured."""
    from normlab.results import series

    return series.profiles(subject.runs, subject.figure, subject.progress, by="step")


def history_chart(table: "DataFrame", subject: Subject) -> Any:
    """A probe by layer with a slider through the steps at which it was measured.

    The table has no more variants and depths than one picture can hold.
    """
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import marks, panels, scales, styling

    log = PROBES[subject.figure].logarithmic
    table, count, left_out = _few_snapshots(table)
    placed, _ = scales.split_at_edge(table, log=log)
    placed = placed.drop(columns=["zeros", "broken", "hidden"])
    slider = alt.binding_range(min=0, max=count - 1, step=1, name="snapshot, from init to the end ")
    chosen = alt.param(name="snapshot", value=0, bind=slider)
    looks = marks.variant_marks(table, subject)
    base = alt.Chart(placed).transform_filter("datum.snapshot == snapshot")
    layers = _line_layers(base, placed, looks, subject.figure, alt.Tooltip("step:Q"))
    by_depth = alt.Facet("panel:N", title=None, sort=panels.panel_order(table))
    drawn = (
        alt.layer(*layers)
        .properties(width=330, height=220)
        .facet(by_depth, columns=2)
        .resolve_scale(x="independent")
        .add_params(chosen, looks.picked)
    )
    seeds = styling.seeds_note(table, log=log)
    return styling.styled(drawn, "Gradient by layer, through training", seeds + left_out)


def _few_snapshots(table: "DataFrame") -> tuple["DataFrame", int, str]:
    """A page's rows with the number of their `snapshot`, how many those are, and what is left out.

    Runs of unlike length have snapshots at unlike steps: a slider counts them.
    """
    import numpy as np

    from normlab.show.charts import panels

    place = table.groupby(["variant", "depth"])["step"].rank(method="dense").astype(int) - 1
    have = int(place.max()) + 1
    count = min(have, max(2, have * MOST_ROWS // len(table)))
    spread = {round(at): index for index, at in enumerate(np.linspace(0, have - 1, count))}
    kept = place.isin(list(spread))
    # Three digits suffice for a picture, and make a page small.
    short = {name: table[name].map(_three_digits) for name in ("value", "low", "high")}
    table = panels.with_panels(table[kept].assign(snapshot=place[kept].map(spread), **short))
    return table, count, f"; {count} of {have} snapshots" if count < have else ""


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def sketch(table: "DataFrame", subject: Subject, width: int) -> "Group":
    """A probe by layer at init and at the end: a line of bars for each variant and depth."""
    import numpy as np
    from rich.console import Group
    from rich.text import Text

    from normlab.config import PROBES
    from normlab.show.terminal import bars

    probe = PROBES[subject.figure]
    scale = bars.scale_of(table["value"].dropna(), log=probe.logarithmic)
    lines = bars.sketch_table("variant", "depth", "", "input → output", "min", "max")
    cells = bars.room_for_bars(table, width, other=40)
    for (variant, depth), group in table.groupby(["variant", "depth"], sort=False):
        for place in ("init", "end"):
            values = group[group["place"] == place].sort_values("layer")["value"].to_numpy()
            if not len(values):
                continue
            first = place == "init"
            known = values[np.isfinite(values)]
            least, most = (number(known.min()), number(known.max())) if len(known) else ("–", "–")
            lines.add_row(
                Text(str(variant) if first else ""),
                str(depth) if first else "",
                place,
                bars.bar_line(values, cells, scale, judged=probe.diagnosed),
                least,
                most,
            )
    same = "logarithmic, the same for all" if scale.log else "the same for all"
    note = f"{probe.name} of the hidden layers; the bars' scale is {same}; ∅: 0 or not finite"
    return Group(lines, Text(note, style="dim"))


PICTURES.add(
    "gradients",
    Picture(
        about="{name} by layer",
        rows=rows,
        chart=chart,
        sketch=sketch,
        takes=PROBE,
        on_page=OnPage(
            name="gradient",
            place=2,
            chart=lambda subject: history_chart(history_rows(subject), subject),
            figure="delta_rms",
        ),
    ),
)
