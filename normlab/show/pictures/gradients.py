"""A probe by layer: at init and at the end, and on a page through all snapshots by a slider."""

import itertools
from typing import TYPE_CHECKING, Any

from normlab.show.pictures.drawing import PICTURES, PROBE, OnPage, Picture, Screen, Subject
from normlab.text import capitalized

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group

    from normlab.show.charts.marks import VariantMarks

_PLACES = {"init": "at init", "end": "at the end"}
# A row is about 150 bytes of a page.
MOST_ROWS = 20_000


def rows(subject: Subject) -> "DataFrame":
    """The probe by layer at init and at the end, over the seeds."""
    from normlab.analysis import series

    return series.profiles(subject.runs, subject.figure, subject.progress)


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A probe by layer at init and at the end, a line a variant, a band over its seeds.

    A value of exactly 0, or none that is finite, has no place on a log scale: it stands as a mark
    at the lower or upper edge.
    """
    import altair as alt
    import pandas

    from normlab.config import PROBES
    from normlab.show.charts import captions, marks, panels, scales, styling

    probe = PROBES[subject.figure]
    table, left_out = panels.in_panels(table, subject.sharing)
    table = table.assign(when=table["place"].map(_PLACES))
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
                x=scales.layer_x(int(table["hidden"].max()), captions.unit_of(table)),
                y=alt.Y("value:Q", title=probe.label),
                shape=scales.edge_shape(),
                color=looks.color,
                tooltip=["variant:N", "layer:Q", "edge:N"],
            )
        )
    several = table["depth"].nunique() > 1
    places = [name for name in _PLACES.values() if (table["when"] == name).any()]
    facet: dict[str, Any] = {"column": alt.Column("when:N", title=None, sort=places)}
    if several:
        facet["row"] = alt.Row("panel:N", title=None, sort=panels.panel_order(table))
    drawn = alt.layer(*layers, data=both).add_params(looks.picked)
    drawn = drawn.properties(width=330, height=190 if several else 250).facet(**facet)
    seeds = captions.seeds_note(table, log=probe.logarithmic)
    title = f"{_title(subject)} by {captions.unit_of(table)}"
    return styling.styled(drawn, subject, title, seeds + left_out)


def _title(subject: Subject) -> str:
    from normlab.config import PROBES

    probe = PROBES[subject.figure]
    return "Gradient" if probe.gradient else capitalized(probe.label)


def _line_layers(
    base: Any, placed: "DataFrame", looks: "VariantMarks", figure: str, *extra: Any
) -> list[Any]:
    """A band, a line and its points for the pointer; `extra` comes first in what they show."""
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import captions, marks, scales

    probe, unit = PROBES[figure], captions.unit_of(placed)
    scale = scales.value_scale(placed, log=probe.logarithmic)
    base = base.encode(x=scales.layer_x(int(placed["hidden"].max()), unit), color=looks.color)
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
    from normlab.analysis import series

    return series.profiles(subject.runs, subject.figure, subject.progress, by="step")


def history_chart(table: "DataFrame", subject: Subject) -> Any:
    """A probe by layer at one of the snapshots, which the parameter `snapshot` counts from 0.

    The names of the snapshots are the chart's user data. The table has no more variants and depths
    than one picture can hold.
    """
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import captions, marks, panels, scales, styling

    log = PROBES[subject.figure].logarithmic
    table, names, left_out = _few_snapshots(table)
    placed = scales.split_at_edge(table, log=log)[0].drop(columns=["zeros", "broken"])
    looks = marks.variant_marks(table, subject)
    chosen = alt.param(name="snapshot", value=0)
    base = alt.Chart(placed).transform_filter("datum.snapshot == snapshot")
    layers = _line_layers(base, placed, looks, subject.figure, alt.Tooltip("step:Q"))
    drawn = alt.layer(*layers, data=placed).add_params(chosen, looks.picked)
    drawn = panels.side_by_side(drawn, table, 420, 230).properties(usermeta={"snapshots": names})
    seeds = captions.seeds_note(table, log=log)
    title = f"{_title(subject)} by {captions.unit_of(table)}, through training"
    return styling.styled(drawn, subject, title, seeds + left_out)


def _few_snapshots(table: "DataFrame") -> tuple["DataFrame", list[str], str]:
    """A page's rows with the number of their `snapshot`, the names of those, what is left out.

    Runs of unlike length have snapshots at unlike steps: a slider counts them.
    """
    from normlab.show.charts import panels

    place = table.groupby(["variant", "depth"])["step"].rank(method="dense").astype(int) - 1
    have = int(place.max()) + 1
    count = min(have, max(2, have * MOST_ROWS // len(table)))
    spread = {at: index for index, at in enumerate(panels.evenly_chosen(range(have), count))}
    kept = place.isin(list(spread))
    # Three digits suffice for a picture, and make a page small.
    short = {name: table[name].map(_three_digits) for name in ("value", "low", "high")}
    table = panels.with_panels(table[kept].assign(snapshot=place[kept].map(spread), **short))
    ends = table.groupby("snapshot")["step"].agg(["min", "max"])
    names = [
        f"step {low}" if low == high else f"steps {low}–{high}" for low, high in ends.to_numpy()
    ]
    return table, names, f"; {count} of {have} snapshots" if count < have else ""


def _three_digits(value: float) -> float:
    return float(f"{value:.3g}")


def sketch(table: "DataFrame", subject: Subject, screen: Screen) -> "Group":
    """A probe by layer at init and at the end, a panel each for every depth."""
    import numpy as np

    from normlab.config import PROBES
    from normlab.show.charts import captions
    from normlab.show.charts.domains import check_any, log_domain
    from normlab.show.charts.panels import few_depths
    from normlab.show.pictures import sketching
    from normlab.show.terminal.line_charts import Axis
    from normlab.show.terminal.line_panels import Panel, line_panels

    probe = PROBES[subject.figure]
    check_any(table)
    known = table["value"][np.isfinite(table["value"])]
    low, high = float(known.min()), float(known.max())
    if probe.logarithmic:
        low, high = log_domain(low, high)
    depths = few_depths(table["depth"])
    panels = []
    for depth, (place, when) in itertools.product(depths, _PLACES.items()):
        mine = table[(table["depth"] == depth) & (table["place"] == place)]
        if len(mine):
            name = f"depth {depth}, {when}" if len(depths) > 1 else when
            panels.append(Panel(name, sketching.variant_lines(mine, subject, "layer")))
    unit = captions.unit_of(table)
    axes = Axis(unit, whole=True), Axis(probe.label, probe.logarithmic, low=low, high=high)
    note = captions.seeds_note(table, log=probe.logarithmic, band=False)
    heading = sketching.heading(subject, f"{_title(subject)} by {unit}", note, screen.width)
    return line_panels(heading, panels, axes, screen)


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
        ),
    ),
)
