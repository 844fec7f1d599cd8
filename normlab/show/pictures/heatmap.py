"""A run's probe by layer and step: the whole history of its gradients in one picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.errors import ConfigError
from normlab.show.pictures.drawing import PICTURES, PROBE, Picture, Subject
from normlab.text import number

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group, RenderableType


def rows(subject: Subject) -> "DataFrame":
    """The whole history of the one run; raises ConfigError where there are more."""
    from normlab.results import series

    runs = subject.runs
    if len(runs) > 1:
        raise ConfigError(
            f"a heatmap is of one run, and these are {len(runs)}; name one by its folder or id, or "
            "choose it, as in --where norm=bn --where seed=0"
        )
    return series.history(Path(str(runs["folder"].iloc[0])), subject.figure)


def title(subject: Subject) -> str:
    """The run's name and seed."""
    run = subject.runs.iloc[0]
    return f"{run['name']}, seed {run['seed']}"


def chart(table: "DataFrame", subject: Subject) -> Any:
    """A coloured cell a layer and step; red where the probe is 0 or not finite."""
    import altair as alt
    import numpy as np

    from normlab.config import PROBES
    from normlab.show.charts import styling

    probe = PROBES[subject.figure]
    values = table["value"].to_numpy(dtype=np.float64)
    usable = np.isfinite(values) & ((values > 0) | (not probe.logarithmic))
    if not usable.any():
        raise ConfigError(f"{probe.name}: is 0 or not finite in every layer, so there is no scale")
    shown = np.where(usable, values, math.nan)
    note = np.where(usable, "", np.where(values == 0, "exactly 0", "not finite"))
    table = table.assign(shown=shown, note=note)
    steps = sorted(table["step"].unique())
    cells = (
        alt.Chart(table)
        .mark_rect()
        .encode(**_cell_encodings(table, steps, subject.figure))
        .properties(width=max(260, min(560, 26 * len(steps))), height=340)
    )
    red = "" if usable.all() else "; red: 0 or not finite"
    return styling.styled(cells, title(subject), f"{probe.label} of every hidden layer{red}")


def _cell_encodings(table: "DataFrame", steps: list[int], figure: str) -> dict[str, Any]:
    import altair as alt

    from normlab.config import PROBES
    from normlab.show.charts import scales

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
        "y": alt.Y("layer:O", title="layer, from the input", axis=layer_axis),
        "color": alt.condition("datum.note == ''", colour, alt.value("#d62728")),
        "tooltip": [
            "step:O",
            "layer:O",
            "name:N",
            alt.Tooltip("value:Q", title=probe.label, format=".3g"),
            alt.Tooltip("note:N", title="note"),
        ],
    }


def sketch(table: "DataFrame", subject: Subject, width: int) -> "Group":
    """A line a step, a coloured cell a layer."""
    import numpy as np
    from rich.console import Group
    from rich.text import Text

    from normlab.config import PROBES
    from normlab.show.terminal import bars

    probe = PROBES[subject.figure]
    cells = min(int(table["layer"].max()), max(8, width - 10))
    values = table["value"].to_numpy(dtype=np.float64)
    usable = values[np.isfinite(values) & ((values > 0) | (not probe.logarithmic))]
    if len(usable) == 0:
        return Group(Text(f"{probe.name} is 0 or not finite in every layer"))
    scale = bars.Scale(float(usable.min()), float(usable.max()), probe.logarithmic)
    lines: list[RenderableType] = [
        Text(title(subject), style="bold"),
        Text("  step  input → output", "dim"),
    ]
    for step, row in table.sort_values("layer").groupby("step"):
        line = Text(f"{step:>6}  ")
        for value in bars.evenly_chosen(row["value"].to_numpy(dtype=np.float64), cells):
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
