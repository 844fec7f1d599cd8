"""A map of two keys: what became of the nets there, or the largest depth that trains."""

from typing import TYPE_CHECKING, Any, NamedTuple

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import PICTURES, Picture, Screen, Subject
from normlab.vocabulary import DIAGNOSES

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group
    from rich.table import Table

_NO_VERDICT = "none"
_GREY = "#BBBBBB"


class _Axes(NamedTuple):
    """What a map shows, and its values from left to right and from top to bottom, as labels."""

    by_depth: bool  # the largest depth that trains; else verdicts
    x: list[str]
    y: list[str]


def rows(subject: Subject) -> "DataFrame":
    """What became of the nets at every pair of values of the two keys.

    Raises ConfigError where a key has one value only.
    """
    from normlab.analysis import label, series, varying

    x, y = subject.keys
    if x == y:
        raise ConfigError(f"plot phase {x} {y}: name two keys")
    for key in (x, y):
        if subject.runs[key].nunique(dropna=False) < 2:
            found = ", ".join(varying(subject.runs)) or "none"
            raise ConfigError(
                f"{key}: is {label(key, subject.runs[key].iloc[0])} in every run, so there is no "
                f"map of it; keys that vary: {found}"
            )
    return series.phases(subject.runs, subject.keys)


def _axes(table: "DataFrame", subject: Subject) -> _Axes:
    from normlab.analysis import DEPTH, label, rank

    x, y = subject.keys
    by_depth = DEPTH not in subject.keys and subject.runs[DEPTH].nunique() > 1
    across = [label(x, value) for value in sorted(table["x"].unique(), key=rank)]
    # Numbers grow upwards, as on every axis; words are read from the top.
    values = sorted(table["y"].unique(), key=rank)
    grows = all(rank(value)[0] == 0 for value in values)
    return _Axes(by_depth, across, [label(y, v) for v in (values[::-1] if grows else values)])


def _title(axes: _Axes, subject: Subject) -> str:
    what = "Largest depth that trains" if axes.by_depth else "Verdict"
    return f"{what} by {subject.keys[0]} and {subject.keys[1]}"


def _labelled(table: "DataFrame", subject: Subject) -> "DataFrame":
    """The table with x and y as labels, the verdict's name, and a text for every place."""
    from normlab.analysis import label

    x, y = subject.keys
    deepest = [f"{depth:.0f}" if depth == depth else "–" for depth in table["depth"]]
    verdicts = [name if name in DIAGNOSES else _NO_VERDICT for name in table["verdict"]]
    marks = [DIAGNOSES[name].mark if name in DIAGNOSES else "?" for name in verdicts]
    return table.assign(
        x=[label(x, value) for value in table["x"]],
        y=[label(y, value) for value in table["y"]],
        verdict=verdicts,
        mark=marks,
        deepest=deepest,
    )


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A coloured cell a pair of values, a panel a variant.

    By verdict with its letter, and with an outline around the largest depth that trains; or, where
    depth varies and is none of the keys, by the largest depth that trains.
    """
    import altair as alt

    from normlab.analysis import DEPTH
    from normlab.show.charts import panels, styling

    axes, table = _axes(table, subject), _labelled(table, subject)
    along = alt.Axis(labelAngle=0, labelOverlap=True)
    base = alt.Chart(table).encode(
        x=alt.X("x:N", title=subject.keys[0], sort=axes.x, axis=along),
        y=alt.Y("y:N", title=subject.keys[1], sort=axes.y),
        tooltip=[
            alt.Tooltip("variant:N"),
            alt.Tooltip("x:N", title=subject.keys[0]),
            alt.Tooltip("y:N", title=subject.keys[1]),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("agree:Q", title="runs with it"),
            alt.Tooltip("n:Q", title="runs"),
            alt.Tooltip("deepest:N", title="largest depth that trains"),
        ],
    )
    cells = base.mark_rect(stroke="white", strokeWidth=1, invalid=None)
    text = base.mark_text(fontSize=10).encode(text="deepest:N" if axes.by_depth else "mark:N")
    dark = f"datum.depth > {0.6 * table['depth'].max()}" if axes.by_depth else "false"
    text = text.encode(color=alt.condition(dark, alt.value("white"), alt.value("#222")))
    cells = cells.encode(color=_colour(table, axes))
    layers = [cells, text]
    seeds = int(table["n"].max())
    if axes.by_depth:
        depths = ", ".join(map(str, sorted(subject.runs[DEPTH].unique())))
        notes = [f"of {depths}; a depth trains if most of its runs do"]
    else:
        notes = ["one run a place" if seeds == 1 else f"the most frequent of up to {seeds} runs"]
    if DEPTH in subject.keys:
        at = "x" if subject.keys[0] == DEPTH else "y"
        outline = base.mark_rect(filled=False, stroke="#222", strokeWidth=2)
        layers.append(outline.transform_filter(f"datum.{at} == datum.deepest"))
        notes.append("outlined: the largest depth that trains")
    width, height = 34 * max(5, len(axes.x)), 26 * max(4, len(axes.y))
    drawn: Any = alt.layer(*layers, data=table).properties(width=width, height=height)
    names = list(dict.fromkeys(table["variant"]))
    if len(names) > 1:
        facet = alt.Facet("variant:N", title=None, sort=names)
        # With axes of its own for every panel, an empty place in the last row shows none.
        columns = panels.columns_for(len(names)) if len(names) < 5 else 3
        drawn = drawn.facet(facet, columns=columns).resolve_axis(x="independent", y="independent")
    return styling.styled(drawn, subject, _title(axes, subject), "; ".join(notes))


def _colour(table: "DataFrame", axes: _Axes) -> Any:
    import altair as alt

    if axes.by_depth:
        scheme = alt.Scale(scheme="yellowgreenblue", domainMin=0)
        colour = alt.Color("depth:Q", title="depth", scale=scheme)
        return alt.condition("datum.deepest != '–'", colour, alt.value(_GREY))
    names = _verdicts(table)
    scale = alt.Scale(domain=names, range=[_colour_of(name) for name in names])
    return alt.Color("verdict:N", title="verdict", scale=scale, sort=names)


def _verdicts(table: "DataFrame") -> list[str]:
    return [name for name in (*DIAGNOSES, _NO_VERDICT) if (table["verdict"] == name).any()]


def sketch(table: "DataFrame", subject: Subject, screen: Screen) -> "Group":
    """A coloured cell with its letter, or the largest depth that trains; a map for each variant."""
    from rich.console import Group, RenderableType
    from rich.text import Text

    from normlab.show.pictures import sketching

    axes, table = _axes(table, subject), _labelled(table, subject)
    x, y = subject.keys
    heading = sketching.heading(subject, _title(axes, subject), f"{x} →, {y} ↑", screen.width)
    drawn: list[RenderableType] = [*heading]
    for variant, group in table.groupby("variant", sort=False):
        drawn += [Text(f"\n{variant}", "bold"), _grid(group, axes)]
    if axes.by_depth:
        key = Text("\n–: trains at no depth", "dim")
    else:
        key = Text("\n")
        for name in _verdicts(table):
            key.append(f" {_letter(name)} ", f"black on {_colour_of(name)}")
            key.append(f" {name}  ")
    return Group(*drawn, key)


def _letter(verdict: str) -> str:
    return DIAGNOSES[verdict].mark or "·" if verdict in DIAGNOSES else "?"


def _colour_of(verdict: str) -> str:
    return DIAGNOSES[verdict].colour if verdict in DIAGNOSES else _GREY


def _grid(group: "DataFrame", axes: _Axes) -> "Table":
    """One variant's map."""
    from rich.table import Table
    from rich.text import Text

    places = {(row["x"], row["y"]): row for row in group.to_dict("records")}
    wide = max(3, *map(len, axes.x))
    grid = Table(box=None, padding=0, show_header=False, show_footer=False)
    grid.add_column(justify="right", no_wrap=True)
    for _ in axes.x:
        grid.add_column(justify="center", no_wrap=True, min_width=wide + 1)
    for name in axes.y:
        cells = []
        for x in axes.x:
            row = places.get((x, name))
            if row is None:
                cells.append(Text(" " * wide))
                continue
            verdict = row["verdict"]
            text = row["deepest"] if axes.by_depth else _letter(verdict)
            style = "" if axes.by_depth else f"black on {_colour_of(verdict)}"
            cells.append(Text(f"{text:^{wide}}", style))
        grid.add_row(Text(f"{name} ", "dim"), *cells)
    grid.add_row("", *(Text(x, "dim") for x in axes.x))
    return grid


PICTURES.add(
    "phase",
    Picture(
        about="{name} KEY KEY, a map of verdicts or of the largest depth that trains",
        rows=rows,
        chart=chart,
        sketch=sketch,
        keys=2,
    ),
)
