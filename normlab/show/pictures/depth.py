"""A final figure by depth or another key, such as the train error: He et al.'s degradation."""

from typing import TYPE_CHECKING, Any

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import FINAL_METRIC, PICTURES, OnPage, Picture, Screen, Subject
from normlab.text import capitalized, number, percent
from normlab.vocabulary import METRICS

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group
    from rich.table import Table

_X = "model.depth"


def rows(subject: Subject) -> "DataFrame":
    """The figure by the key on the x axis, over the seeds.

    Raises ConfigError where the key has one value only.
    """
    from normlab.analysis import series, varying

    key = _key(subject)
    if subject.runs[key].nunique() < 2:
        others = [other for other in varying(subject.runs) if other != key]
        other = f"; --x {others[0]} draws by what varies" if others else ""
        raise ConfigError(
            f"{key}: is {subject.runs[key].iloc[0]} in every run, so there is nothing to draw by "
            f"it; make more runs, as in {key}=8,20,56{other}"
        )
    return series.finals(subject.runs, subject.figure, key)


def _finite(table: "DataFrame", name: str) -> "DataFrame":
    """The rows that have a value; raises ConfigError where none has."""
    import numpy as np

    found: DataFrame = table[np.isfinite(table["value"])]
    if found.empty:
        raise ConfigError(f"the {name} is finite in no run")
    return found


def _key(subject: Subject) -> str:
    """The key on the x axis; a page names none."""
    return subject.keys[0] if subject.keys else _X


def _words(key: str) -> str:
    return "depth" if key == _X else key


def _title(subject: Subject) -> str:
    return f"{capitalized(METRICS[subject.figure].label)} by {_words(_key(subject))}"


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A line a variant, a bar at each value of the key from the least to the greatest seed."""
    import altair as alt

    from normlab.show.charts import captions, marks, panels, scales, styling, variants

    variants.check_number(table, subject.sharing)
    metric = METRICS[subject.figure]
    name = metric.label
    table = _finite(table, name)
    key = _key(subject)
    by_depth, left_out = key != _X, ""
    if by_depth:
        table, left_out = panels.in_panels(table, subject.sharing)
    looks = marks.variant_marks(table, subject)
    log = metric.logarithmic
    scale = alt.Scale(domain=[0, 1]) if metric.share else scales.value_scale(table, log=log)
    axis = alt.Axis(format="%") if metric.share else scales.value_axis(log=log)
    title = captions.depth_axis(subject.runs) if key == _X else key
    base = alt.Chart(table).encode(x=scales.key_x(table["x"], title, key), color=looks.color)
    y = alt.Y("value:Q", title=f"final {name}" if metric.share else name, scale=scale, axis=axis)
    bars = base.mark_rule(strokeWidth=1.2).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q", opacity=looks.opacity()
    )
    points = base.mark_point(filled=True, size=46).encode(
        y=y, opacity=looks.opacity(), tooltip=marks.tooltip("x", name)
    )
    chance = marks.chance_line(table, subject.runs, metric)
    drawn = alt.layer(looks.line(base, y), bars, points, *chance, data=table)
    drawn = drawn.add_params(looks.picked)
    if by_depth:
        drawn = panels.side_by_side(drawn, table, 420, 250)
    else:
        drawn = drawn.properties(width=420, height=270)
    notes = captions.seeds_note(table, log=log) + left_out
    return styling.styled(drawn, subject, _title(subject), notes)


def sketch(table: "DataFrame", subject: Subject, screen: Screen) -> "Group":
    """Lines by a key of numbers, a panel for every depth where depth is not the key; else bars."""
    from rich.console import Group

    from normlab.show.charts import captions
    from normlab.show.charts.domains import is_logarithmic
    from normlab.show.pictures import sketching
    from normlab.show.terminal.line_charts import Axis
    from normlab.show.terminal.line_panels import Panel, line_panels

    metric = METRICS[subject.figure]
    name = metric.label
    table = _finite(table, name)
    key = _key(subject)
    note = captions.seeds_note(table, log=metric.logarithmic, band=False)
    heading = sketching.heading(subject, _title(subject), note, screen.width)
    if not all(isinstance(value, int | float) for value in table["x"]):
        return Group(*heading, _bars(table, subject, screen))
    ends = float(table["x"].min()), float(table["x"].max())
    chance = sketching.chance_line(subject, ends, metric)
    panels = (
        [Panel("", sketching.variant_lines(table, subject, "x"))]
        if key == _X
        else sketching.depth_panels(table, subject, "x")
    )
    panels = [panel._replace(lines=[*panel.lines, *chance]) for panel in panels]
    low, high = (0.0, 1.0) if metric.share else (None, None)
    y = Axis(name, metric.logarithmic, low=low, high=high)
    x = Axis(_words(key), is_logarithmic(*ends), whole=key == _X)
    return line_panels(heading, panels, (x, y), screen)


def _bars(table: "DataFrame", subject: Subject, screen: Screen) -> "Table":
    """A bar for each variant and value of a key of words."""
    from rich.text import Text

    from normlab.analysis import label
    from normlab.show.terminal.bars import long_bar
    from normlab.show.terminal.plain_tables import figures_table

    key, metric = _key(subject), METRICS[subject.figure]
    lines = figures_table()
    lines.add_column("variant")
    lines.add_column("depth", justify="right", no_wrap=True)
    lines.add_column(key, no_wrap=True)
    lines.add_column(metric.label, justify="right", no_wrap=True)
    lines.add_column("", no_wrap=True)
    longest = max(map(len, table["variant"]))
    cells = max(10, min(50, screen.width - longest - 40))
    most = 1.0 if metric.share else float(table["value"].abs().max()) or 1.0
    for row in table.to_dict("records"):
        value = float(row["value"])
        shown = percent(value) if metric.share else number(value)
        bar = Text(long_bar(max(0.0, value) / most, cells), "yellow")
        words = Text(str(row["variant"])), str(row["depth"]), Text(label(key, row["x"])), shown
        lines.add_row(*words, bar)
    return lines


def _several_depths(runs: "DataFrame") -> bool:
    return bool(runs[_X].nunique() > 1)


PICTURES.add(
    "depth",
    Picture(
        about="train error by {name}",
        rows=rows,
        chart=chart,
        sketch=sketch,
        takes=FINAL_METRIC,
        x=_X,
        on_page=OnPage(
            name="error",
            place=1,
            chart=lambda subject: chart(rows(subject), subject),
            reads_tables=False,
            applies=_several_depths,
        ),
    ),
)
