"""A run's probe by layer and step: the whole history of its gradients in one picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import PICTURES, PROBE, Picture, Screen, Subject
from normlab.text import number

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group, RenderableType


def rows(subject: Subject) -> "DataFrame":
    """The whole history of the one run, `marked`; raises ConfigError where there are more."""
    from normlab.analysis import series

    runs = subject.runs
    if len(runs) > 1:
        raise ConfigError(
            f"a heatmap is of one run, and these are {len(runs)}; name one by its folder or id, or "
            "choose it with --where, as norm=bn and seed=0"
        )
    return marked(series.history(Path(str(runs["folder"].iloc[0])), subject.figure), subject.figure)


def marked(table: "DataFrame", figure: str) -> "DataFrame":
    """A history whose values that have a place on the scale are `shown`; a `note` at the others.

    Raises ConfigError where none has.
    """
    import numpy as np

    from normlab.config import PROBES

    values = table["value"].to_numpy(dtype=np.float64)
    usable = np.isfinite(values) & ((values > 0) | (not PROBES[figure].logarithmic))
    if not usable.any():
        raise ConfigError(f"{figure}: is 0 or not finite in every layer, so there is no scale")
    note = np.where(usable, "", np.where(values == 0, "exactly 0", "not finite"))
    return table.assign(shown=np.where(usable, values, math.nan), note=note)


def title(subject: Subject) -> str:
    """The run's name and seed."""
    run = subject.runs.iloc[0]
    return subject.title or f"{run['name']}, seed {run['seed']}"


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A coloured cell a layer and step; red where the probe is 0 or not finite."""
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import styling

    probe = PROBES[subject.figure]
    steps = sorted(table["step"].unique())
    cells = (
        alt.Chart(table)
        .mark_rect()
        .encode(**_cell_encodings(table, steps, subject.figure))
        .properties(width=max(260, min(560, 26 * len(steps))), height=340)
    )
    red = "; red: 0 or not finite" if (table["note"] != "").any() else ""
    return styling.styled(cells, subject, title(subject), f"{_about(table, probe.label)}{red}")


def _about(table: "DataFrame", label: str) -> str:
    """What is measured, and of what."""
    from normlab.show.charts import captions

    what = "block" if captions.unit_of(table) == "block" else "hidden layer"
    return f"{label} of every {what} by step"


def _cell_encodings(table: "DataFrame", steps: list[int], figure: str) -> dict[str, Any]:
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import captions, scales

    probe = PROBES[figure]
    log = probe.logarithmic
    step_axis = alt.Axis(labelAngle=0, labelOverlap=True)
    layer_axis = alt.Axis(values=scales.layer_ticks(int(table["layer"].max())))
    colour = alt.Color(
        "shown:Q",
        title=probe.label.split(" (")[0],
        scale=alt.Scale(type="log" if log else "linear", scheme="viridis"),
        legend=alt.Legend(format=".0e" if log else ".2f", gradientLength=160),
    )
    return {
        "x": alt.X("step:O", sort=steps, title="step", axis=step_axis),
        "y": alt.Y("layer:O", title=f"{captions.unit_of(table)}, from the input", axis=layer_axis),
        "color": alt.condition("datum.note == ''", colour, alt.value("#d62728")),
        "tooltip": [
            "step:O",
            "layer:O",
            "name:N",
            alt.Tooltip("value:Q", title=probe.label, format=".3g"),
            alt.Tooltip("note:N", title="note"),
        ],
    }


def sketch(table: "DataFrame", subject: Subject, screen: Screen) -> "Group":
    """A line a step, a coloured cell a layer."""
    from rich.console import Group
    from rich.text import Text

    from normlab.config import PROBES
    from normlab.show.charts import panels
    from normlab.show.terminal import bars

    cells = min(int(table["layer"].max()), max(8, screen.width - 10))
    scale = bars.scale_of(table["shown"].dropna(), log=PROBES[subject.figure].logarithmic)
    lines: list[RenderableType] = [
        Text(title(subject), style="bold"),
        Text(_about(table, PROBES[subject.figure].label), style="dim"),
        Text("  step  input → output", "dim"),
    ]
    for step, row in table.sort_values("layer").groupby("step"):
        line = Text(f"{step:>6}  ")
        for value in panels.evenly_chosen(row["value"].astype(float).tolist(), cells):
            line.append_text(bars.heat_cell(scale.place(value)))
        lines.append(line)
    key = Text(f"        {number(scale.low)} ", style="dim")
    key.append_text(bars.heat_key())
    key.append(f" {number(scale.high)}", style="dim")
    return Group(*lines, key)


PICTURES.add(
    "heatmap",
    Picture(
        about="{name} layer × step of one run",
        rows=rows,
        chart=chart,
        sketch=sketch,
        takes=PROBE,
        of_one_run=True,
    ),
)
