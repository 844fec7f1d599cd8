"""DataFrames to Altair charts: one specification gives PNG, SVG, PDF and interactive HTML."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.results import LOG_PROBES
from normlab.runs import write_whole

# Altair refuses more than 5000 rows, which deep nets reach; what bounds a page here is MOST_ROWS.
alt.data_transformers.disable_max_rows()

FORMATS = ("png", "svg", "pdf", "html")

# Okabe & Ito's (2008) colours, which the colour-blind can tell apart, one for each norm wherever it
# is drawn; skips are dashed.
NORM_COLOURS = {
    "no-norm": "#000000",
    "bn": "#0072B2",
    "ln": "#E69F00",
    "gn": "#56B4E9",
    "in": "#CC79A7",
    "rms": "#009E73",
    "wn": "#D55E00",
}
# For variants that differ in more than norm and skips: Tol's (2021) muted scheme.
OTHER_COLOURS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#000000",
    "#777777",
    "#BB5500",
)
MOST_VARIANTS = len(OTHER_COLOURS)
# A picture has so many panels below each other.
MOST_DEPTHS = 4
# A row is about 150 bytes of a page.
MOST_ROWS = 20_000

NAMES = {
    "delta_rms": "δ (root mean square gradient at z)",
    "grad_norm": "‖∂L/∂W‖",
    "update_ratio": "‖ΔW‖/‖W‖",
    "weight_norm": "‖W‖",
    "mean_delta": "‖mean δ‖",
    "act_mean": "mean activation",
    "act_std": "deviation of activations",
    "dead_fraction": "dead units",
    "sample_cosine": "cosine between samples",
    "train_acc": "train accuracy",
    "test_acc": "test accuracy",
    "train_loss": "train loss",
    "test_loss": "test loss",
}


def gradients(table: DataFrame, probe: str, variants: Sequence[str] = ()) -> Any:
    """A probe by layer at init and at the end, a line a variant, a band over its seeds.

    `table` is of `series.profiles`. A value of exactly 0, or none that is finite, has no place on a
    log scale: it stands as a mark at the lower or upper edge. `variants`, here and below, are all
    that share the colours, where a picture may hold only some of them.
    """
    table, left_out = _few_depths(table)
    log = probe in LOG_PROBES
    table = table.assign(
        when=np.where(table["place"] == "init", "at init", "at the end"),
        panel="depth " + table["depth"].astype(str),
    )
    placed, edges = _placed(table, log=log)
    scale = _scale(placed, log=log)
    x = alt.X("layer:Q", title="layer, from the input", axis=alt.Axis(tickMinStep=1))
    y = alt.Y("value:Q", title=NAMES[probe], scale=scale, axis=_axis(log=log))
    pick = _legend()
    look = _variants(table, variants)
    # Facets need one table for all layers.
    both = pandas.concat([placed.assign(edge=""), edges])
    base = alt.Chart(both).transform_filter("datum.edge == ''").encode(x=x, color=look["color"])
    band = base.mark_area().encode(
        y=alt.Y("low:Q", scale=scale, title=NAMES[probe]), y2="high:Q", opacity=_band(pick)
    )
    line = base.mark_line(strokeWidth=1.6).encode(
        y=y, strokeDash=look["strokeDash"], opacity=_picked(pick)
    )
    points = _hover(base, y, pick, _tooltip("layer", probe))
    layers = [band, line, points]
    if len(edges):
        marks = (
            alt.Chart(both).transform_filter("datum.edge != ''").mark_point(size=22, filled=True)
        )
        shape = alt.Shape("edge:N", title="no logarithm", scale=_EDGES)
        tips = ["variant:N", "layer:Q", "edge:N"]
        layers.append(marks.encode(x=x, y=y, shape=shape, color=look["color"], tooltip=tips))
    chart = alt.layer(*layers, data=both).add_params(pick)
    several = table["depth"].nunique() > 1
    places = [name for name in ("at init", "at the end") if (table["when"] == name).any()]
    facet: dict[str, Any] = {"column": alt.Column("when:N", title=None, sort=places)}
    if several:
        order = [f"depth {depth}" for depth in sorted(table["depth"].unique())]
        facet["row"] = alt.Row("panel:N", title=None, sort=order)
    title = f"Gradient by layer{'' if several else ', ' + table['panel'].iloc[0]}"
    if not probe.startswith(("delta", "grad", "mean_d")):
        title = title.replace("Gradient", NAMES[probe][:1].upper() + NAMES[probe][1:])
    drawn = chart.properties(width=330, height=190 if several else 250).facet(**facet)
    drawn = drawn.resolve_scale(x="independent" if several else "shared")
    return _finished(drawn, title, _seeds(table, log=log) + left_out)


def gradient_history(table: DataFrame, probe: str, variants: Sequence[str] = ()) -> Any:
    """A probe by layer with a slider through the steps at which it was measured.

    `table` is of `series.profiles` by step, with no more variants and depths than one picture
    can hold.
    """
    log = probe in LOG_PROBES
    # Runs of unlike length have snapshots of unlike steps: the slider counts them.
    number = table.groupby(["variant", "depth"])["step"].rank(method="dense").astype(int) - 1
    have = int(number.max()) + 1
    count = min(have, max(2, have * MOST_ROWS // len(table)))
    spread = {round(place): index for index, place in enumerate(np.linspace(0, have - 1, count))}
    left_out = f"; {count} of {have} snapshots" if count < have else ""
    kept = number.isin(list(spread))
    table = table[kept].assign(
        snapshot=number[kept].map(spread),
        panel="depth " + table["depth"].astype(str),
        **{name: table[name].map(_short) for name in ("value", "low", "high")},
    )
    placed, _ = _placed(table, log=log)
    placed = placed.drop(columns=["zeros", "broken", "hidden"])
    slider = alt.binding_range(min=0, max=count - 1, step=1, name="snapshot, from init to the end ")
    chosen = alt.param(name="snapshot", value=0, bind=slider)
    pick, look = _legend(), _variants(table, variants)
    scale = _scale(placed, log=log)
    base = (
        alt.Chart(placed)
        .transform_filter("datum.snapshot == snapshot")
        .encode(
            x=alt.X("layer:Q", title="layer, from the input", axis=alt.Axis(tickMinStep=1)),
            color=look["color"],
        )
    )
    y = alt.Y("value:Q", title=NAMES[probe], scale=scale, axis=_axis(log=log))
    line = base.mark_line(strokeWidth=1.6).encode(
        y=y, strokeDash=look["strokeDash"], opacity=_picked(pick)
    )
    band = base.mark_area().encode(
        y=alt.Y("low:Q", scale=scale, title=NAMES[probe]), y2="high:Q", opacity=_band(pick)
    )
    points = _hover(base, y, pick, [alt.Tooltip("step:Q"), *_tooltip("layer", probe)])
    depths = sorted(table["depth"].unique())
    chart = (
        alt.layer(band, line, points)
        .properties(width=330, height=220)
        .facet(alt.Facet("panel:N", title=None, sort=[f"depth {d}" for d in depths]), columns=2)
        .resolve_scale(x="independent")
        .add_params(chosen, pick)
    )
    return _finished(
        chart, "Gradient by layer, through training", _seeds(table, log=log) + left_out
    )


def _short(value: float) -> float:
    """Three digits suffice for a picture, and make a page small."""
    return float(f"{value:.3g}")


def heatmap(table: DataFrame, probe: str, name: str) -> Any:
    """A run's probe by layer and step: the whole history of its gradients in one picture."""
    log = probe in LOG_PROBES
    values = table["value"].to_numpy(dtype=np.float64)
    usable = np.isfinite(values) & ((values > 0) | (not log))
    if not usable.any():
        raise ConfigError(f"{probe}: is 0 or not finite in every layer, so there is no scale")
    steps = sorted(table["step"].unique())
    shown = np.where(usable, values, math.nan)
    note = np.where(usable, "", np.where(values == 0, "exactly 0", "not finite"))
    table = table.assign(shown=shown, note=note)
    cells = (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X(
                "step:O", sort=steps, title="step", axis=alt.Axis(labelAngle=0, labelOverlap=True)
            ),
            y=alt.Y(
                "layer:O",
                title="layer, from the input",
                axis=alt.Axis(values=_ticks(int(table["layer"].max()))),
            ),
            color=alt.condition(
                "datum.note == ''",
                alt.Color(
                    "shown:Q",
                    title=NAMES[probe].split(" (")[0],
                    scale=alt.Scale(type="log" if log else "linear", scheme="viridis"),
                    legend=alt.Legend(format=".0e" if log else ".2f", gradientLength=160),
                ),
                alt.value("#d62728"),
            ),
            tooltip=[
                "step:O",
                "layer:O",
                "name:N",
                alt.Tooltip("value:Q", title=NAMES[probe], format=".3g"),
                alt.Tooltip("note:N", title="note"),
            ],
        )
        .properties(width=max(260, min(560, 26 * len(steps))), height=340)
    )
    broken = (~usable).sum()
    what = f"{NAMES[probe]} of every hidden layer{'; red: 0 or not finite' if broken else ''}"
    return _finished(cells, name, what)


def curves(table: DataFrame, metric: str, variants: Sequence[str] = ()) -> Any:
    """A metric by epoch, a line a variant, a band from least to greatest seed."""
    table, left_out = _few_depths(table)
    table = table.assign(panel="depth " + table["depth"].astype(str))
    if not np.isfinite(table["value"]).any():
        raise ConfigError(f"{metric}: is finite in no run")
    loss = metric.endswith("loss")
    positive = bool((table["value"].dropna() > 0).all())
    scale = (
        alt.Scale(type="log" if positive else "linear", nice=False)
        if loss
        else alt.Scale(domain=[0, 1])
    )
    axis = _axis(log=loss and positive) if loss else alt.Axis(format="%")
    pick, look = _legend(), _variants(table, variants)
    base = alt.Chart(table).encode(x=alt.X("epoch:Q", title="epoch"), color=look["color"])
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("low:Q", scale=scale, title=NAMES[metric]), y2="high:Q", opacity=_band(pick)
    )
    y = alt.Y("value:Q", title=NAMES[metric], scale=scale, axis=axis)
    line = base.mark_line(strokeWidth=1.6).encode(
        y=y, strokeDash=look["strokeDash"], opacity=_picked(pick)
    )
    points = _hover(base, y, pick, _tooltip("epoch", metric))
    chart = alt.layer(band, line, points).add_params(pick).properties(width=330, height=200)
    several = table["depth"].nunique() > 1
    name = NAMES[metric][:1].upper() + NAMES[metric][1:]
    title = f"{name}{'' if several else ', ' + table['panel'].iloc[0]}"
    if several:
        order = [f"depth {depth}" for depth in sorted(table["depth"].unique())]
        columns = alt.Facet("panel:N", title=None, sort=order)
        return _finished(
            chart.facet(columns, columns=2), title, _seeds(table, log=False) + left_out
        )
    return _finished(chart, title, _seeds(table, log=False))


def depth(table: DataFrame, variants: Sequence[str] = ()) -> Any:
    """Final train error by depth for plain and residual nets: the degradation of He et al. 2015."""
    table = _few_variants(table)
    if not np.isfinite(table["value"]).any():
        raise ConfigError("the train error is finite in no run")
    pick, look = _legend(), _variants(table, variants)
    base = alt.Chart(table).encode(
        x=alt.X(
            "depth:Q",
            title="depth (weight layers)",
            scale=alt.Scale(zero=False, nice=False, padding=14),
            axis=alt.Axis(values=sorted(int(d) for d in table["depth"].unique())),
        ),
        color=look["color"],
    )
    y = alt.Y(
        "value:Q",
        title="final train error",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%"),
    )
    line = base.mark_line(strokeWidth=1.6).encode(
        y=y, strokeDash=look["strokeDash"], opacity=_picked(pick)
    )
    bars = base.mark_rule(strokeWidth=1.2).encode(
        y=alt.Y("low:Q", scale=alt.Scale(domain=[0, 1])),
        y2="high:Q",
        opacity=_picked(pick),
    )
    points = base.mark_point(filled=True, size=46).encode(
        y=y, opacity=_picked(pick), tooltip=_tooltip("depth", "value", "train error")
    )
    chart = alt.layer(line, bars, points).add_params(pick).properties(width=420, height=270)
    return _finished(chart, "Train error by depth", _seeds(table, log=False))


def theory(table: DataFrame, variants: Sequence[str] = ()) -> Any:
    """Measured and predicted factor of δ from each hidden layer to the one before, at init."""
    table, left_out = _few_depths(table)
    table = table.assign(panel="depth " + table["depth"].astype(str))
    pick, look = _legend(), _variants(table, variants)
    base = alt.Chart(table).encode(
        x=alt.X("layer:Q", title="layer, from the input", axis=alt.Axis(tickMinStep=1)),
        color=look["color"].legend(symbolSize=70, symbolOpacity=1, labelLimit=260),
    )
    span = (
        float(table[["low", "predicted"]].min().min()),
        float(table[["high", "predicted"]].max().max()),
    )
    scale = alt.Scale(type="log", domain=[min(span[0], 0.9), max(span[1], 1.1)], nice=False)
    y = alt.Y(
        "value:Q", title="δ of a layer / of the next", scale=scale, axis=alt.Axis(format=".3~g")
    )
    band = base.mark_area(opacity=0.18).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q", opacity=_band(pick)
    )
    points = base.mark_point(size=26, filled=True).encode(
        y=y,
        shape=look["shape"],
        opacity=_picked(pick),
        tooltip=_tooltip("layer", "value", "measured"),
    )
    line = base.mark_line(strokeWidth=1.8).encode(
        y=alt.Y("predicted:Q", scale=scale),
        strokeDash=look["strokeDash"],
        opacity=_picked(pick),
    )
    chart = alt.layer(band, points, line).add_params(pick).properties(width=420, height=250)
    if table["depth"].nunique() > 1:
        order = [f"depth {d}" for d in sorted(table["depth"].unique())]
        chart = chart.facet(alt.Facet("panel:N", title=None, sort=order), columns=2)
    about = f"points: measured, {_seeds(table, log=True)}; lines: predicted{left_out}"
    return _finished(chart, "Gradient factor per layer", about)


# ------------------------------------------------------------------------------ writing


def check_format(file: Path) -> str:
    """The form that a file's suffix names; raises ConfigError for one that charts have not."""
    form = file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise ConfigError(
            f"{file}: cannot write {file.suffix or 'a file without a suffix'}; "
            f"choices: {', '.join('.' + name for name in FORMATS)}"
        )
    return form


def save(chart: Any, file: Path) -> None:
    """Write a chart whole, in the form that the file's suffix says; raises ConfigError for another.

    HTML holds all it needs and opens from disk without a network.
    """
    form = check_format(file)
    if form == "html":
        spec = script_json({"picture": chart.to_dict()})
        page = _PAGE.format(spec=spec, bundle=bundle())
        write_whole(file, lambda path: path.write_text(page, encoding="utf-8"))
    else:
        content = _rendered(_printed(chart.to_dict()), form)
        write_whole(file, lambda path: path.write_bytes(content))


def _rendered(spec: dict[str, Any], form: str) -> bytes:
    import vl_convert

    # Altair's own save would check the specification twice more, a second for a large picture.
    version = alt.SCHEMA_VERSION.rpartition(".")[0]
    rendered: bytes
    match form:
        case "png":
            rendered = vl_convert.vegalite_to_png(spec, version, scale=2.0)
        case "pdf":
            rendered = vl_convert.vegalite_to_pdf(spec, version)
        case _:
            rendered = vl_convert.vegalite_to_svg(spec, version).encode()
    return rendered


def script_json(value: Any) -> str:
    """JSON that a <script> can hold: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><link rel="icon" href="data:,"><title>normlab</title></head>
<body>
<div id="picture"></div>
<script type="application/json" id="specs">{spec}</script>
<script>{bundle}</script>
<script>
const specs = JSON.parse(document.getElementById("specs").textContent);
vegaEmbed("#picture", specs.picture, {{ renderer: "svg" }});
</script>
</body>
</html>
"""


# -------------------------------------------------------------------------------- pieces

_EDGES = alt.Scale(domain=["0", "not finite"], range=["triangle-down", "triangle-up"])


def _variants(table: DataFrame, all_names: Sequence[str]) -> dict[str, Any]:
    """Colour, dash and shape of every variant: by norm and skips, the same in every picture."""
    names = list(dict.fromkeys(table["variant"]))
    sharing = all_names if len(all_names) <= MOST_VARIANTS else ()
    colours, dashes = zip(*(_look(name, sharing or names) for name in names), strict=True)
    shapes = ["diamond" if gap else "circle" for _, gap in dashes]
    return {
        "shape": alt.Shape(
            "variant:N", title="variant", scale=alt.Scale(domain=names, range=shapes)
        ),
        "color": alt.Color(
            "variant:N",
            title="variant",
            scale=alt.Scale(domain=names, range=list(colours)),
            legend=alt.Legend(symbolType="stroke", symbolSize=300, symbolOpacity=1, labelLimit=260),
        ),
        "strokeDash": alt.StrokeDash(
            "variant:N",
            title="variant",
            scale=alt.Scale(domain=names, range=[list(dash) for dash in dashes]),
        ),
    }


def _look(name: str, names: Sequence[str]) -> tuple[str, tuple[int, int]]:
    words = name.split()
    dash = (5, 3) if "residual" in words else (1, 0)
    plain = [set(other.split()) - {"residual", "plain", *NORM_COLOURS} for other in names]
    if any(plain) or not set(words) & set(NORM_COLOURS):
        return OTHER_COLOURS[sorted(names).index(name) % len(OTHER_COLOURS)], dash
    return NORM_COLOURS[next(word for word in words if word in NORM_COLOURS)], dash


def _legend() -> Any:
    return alt.selection_point(name="variants", fields=["variant"], bind="legend")


def _picked(pick: Any) -> Any:
    return alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.08))


def _band(pick: Any) -> Any:
    return alt.when(pick).then(alt.value(0.18)).otherwise(alt.value(0.02))


def _hover(base: Any, y: Any, pick: Any, tooltip: list[Any]) -> Any:
    """Points that cannot be seen but by the pointer; left out of what is printed."""
    seen = alt.when(pick).then(alt.value(0.01)).otherwise(alt.value(0))
    points = base.mark_point(size=28, filled=True).encode(y=y, opacity=seen, tooltip=tooltip)
    return points.properties(name=_HOVER)


_HOVER = "hover"


def _printed(spec: Any) -> Any:
    """A specification without its invisible points."""
    if isinstance(spec, dict):
        return {key: _printed(value) for key, value in spec.items()}
    if isinstance(spec, list):
        kept = [v for v in spec if not (isinstance(v, dict) and v.get("name") == _HOVER)]
        return [_printed(value) for value in kept]
    return spec


def _tooltip(place: str, figure: str, title: str | None = None) -> list[Any]:
    value = "value" if figure in NAMES or figure == "value" else figure
    name = title or NAMES.get(figure, figure)
    return [
        alt.Tooltip("variant:N"),
        alt.Tooltip("depth:Q"),
        *([] if place == "depth" else [alt.Tooltip(f"{place}:Q")]),
        alt.Tooltip(f"{value}:Q", title=name, format=".3g"),
        alt.Tooltip("low:Q", title="least seed", format=".3g"),
        alt.Tooltip("high:Q", title="greatest seed", format=".3g"),
        alt.Tooltip("n:Q", title="runs"),
    ]


def _axis(*, log: bool) -> Any:
    return alt.Axis(format=".0e" if log else ".2~g", tickCount=6)


def _scale(table: DataFrame, *, log: bool) -> Any:
    if not log:
        return alt.Scale(zero=False)
    low, high = float(table["low"].min()), float(table["high"].max())
    # At least four decades, so that a healthy gradient looks level.
    middle, half = math.log10(low * high) / 2, max(math.log10(high / low) / 2, 2.0)
    return alt.Scale(type="log", domain=[10 ** (middle - half), 10 ** (middle + half)], nice=False)


def _placed(table: DataFrame, *, log: bool) -> tuple[DataFrame, DataFrame]:
    """The rows with a place on the scale, and those that stand at its edge; ConfigError if none."""
    usable = np.isfinite(table["value"])
    placed = table[usable]
    if placed.empty:
        raise ConfigError("every value is 0 or not finite, so there is nothing to draw by layer")
    if not log:
        return placed, table[~usable].iloc[:0].assign(edge="")
    low, high = float(placed["low"].min()), float(placed["high"].max())
    edges = table[~usable]
    zero = edges["zeros"] >= edges["broken"]
    return placed, edges.assign(
        edge=np.where(zero, "0", "not finite"), value=np.where(zero, low, high)
    )


def few_depths(depths: Iterable[int]) -> list[int]:
    """The depths that a picture has panels for: the least, the greatest, evenly spread between."""
    have = sorted(set(depths))
    if len(have) <= MOST_DEPTHS:
        return have
    return [have[round(i)] for i in np.linspace(0, len(have) - 1, MOST_DEPTHS)]


def _few_depths(table: DataFrame) -> tuple[DataFrame, str]:
    """The rows of few variants and depths, and words about depths that are left out."""
    table = _few_variants(table)
    chosen, have = few_depths(table["depth"]), table["depth"].nunique()
    words = f"; {len(chosen)} of {have} depths" if have > len(chosen) else ""
    return table[table["depth"].isin(chosen)], words


def _few_variants(table: DataFrame) -> DataFrame:
    names = list(dict.fromkeys(table["variant"]))
    if len(names) > MOST_VARIANTS:
        raise ConfigError(
            f"{len(names)} variants are more than a picture can tell apart ({MOST_VARIANTS}); "
            "choose some, as in --where norm=bn,ln"
        )
    return table


def _ticks(layers: int) -> list[int]:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200) if layers / s <= 24)
    return [1, *range(step, layers + 1, step)] if step > 1 else list(range(1, layers + 1))


def _seeds(table: DataFrame, *, log: bool) -> str:
    """What a line and its spread are: the counts say so only where all lines agree."""
    most = int(table["n"].max())
    if most <= 1:
        return "one run a line"
    seeds = f"{most} seeds" if (table["n"] == most).all() else f"up to {most} seeds"
    return f"{'geometric ' if log else ''}mean of {seeds}, with the least and the greatest"


def _finished(chart: Any, title: str, subtitle: str) -> Any:
    heading = alt.Title(title, subtitle=subtitle) if subtitle else alt.Title(title)
    return (
        chart.properties(title=heading)
        .configure(font="Helvetica, Arial, sans-serif", background="white")
        .configure_title(anchor="start", fontSize=14, subtitleFontSize=11, subtitleColor="#555")
        .configure_axis(labelFontSize=11, titleFontSize=12, gridColor="#e6e6e6")
        .configure_legend(labelFontSize=11, titleFontSize=12, orient="right")
        .configure_header(labelFontSize=12, labelFontWeight="bold")
        .configure_view(stroke="#bbb")
    )
