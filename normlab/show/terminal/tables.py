"""DataFrames as rich tables."""

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO, predict
from normlab.runs import Run, Summary

if TYPE_CHECKING:
    from pandas import DataFrame

# One colour for one verdict, everywhere.
VERDICT_STYLES = {
    "trains": "green",
    "healthy": "green",
    "vanishing": "blue",
    "exploding": "red",
    "collapsed": "magenta",
    "undertrained": "yellow",
    "diverged": "red",
}

# Columns of the layer table: header, probe, which snapshot, in order of importance.
LAYER_TABLE_COLUMNS = (
    ("δ init", "delta_rms", "first"),
    ("δ end", "delta_rms", "last"),
    ("‖∇W‖", "grad_norm", "last"),
    ("‖ΔW‖/‖W‖", "update_ratio", "last"),
    ("dead", "dead_fraction", "last"),
    ("cosine", "sample_cosine", "last"),
    ("act std", "act_std", "last"),
    ("act mean", "act_mean", "last"),
    ("‖W‖", "weight_norm", "last"),
)
FOLDED_ROWS = 16
SCALE_WIDTH = len(" output  min 1.0e-10 max 1.0e-10")
BARS = "▁▂▃▄▅▆▇█"
# A strip's bars span at least so many decades, so that a healthy gradient looks level.
STRIP_DECADES = 4.0


def ratio_style(ratio: float) -> str:
    """The colour of a gradient beside the last hidden layer's: blue vanishing, red exploding."""
    if not math.isfinite(ratio):
        return "red"
    if ratio < VANISHING_RATIO:
        return "blue"
    if ratio > EXPLODING_RATIO:
        return "red"
    near = math.sqrt(VANISHING_RATIO), math.sqrt(EXPLODING_RATIO)
    return "cyan" if ratio < near[0] else "yellow" if ratio > near[1] else "green"


def layer_table(layers: "DataFrame", width: int) -> Group | None:
    """A run's layers from input to output, each probe's first or last measured value.

    Folded to `FOLDED_ROWS` rows when deeper; columns are left out from the right to fit `width`.
    None where nothing was measured.
    """
    several = "delta_rms" in layers and layers.dropna(subset=["delta_rms"])["step"].nunique() > 1
    columns = [
        column
        for column in LAYER_TABLE_COLUMNS
        if column[1] in layers and (several or column[0] != "δ end")
    ]
    if not columns or layers.empty:
        return None
    names = layers.drop_duplicates("layer").set_index("layer")["name"].sort_index()
    values = {}
    for header, probe, when in columns:
        measured = layers.dropna(subset=[probe]).sort_values("step").groupby("layer")[probe]
        values[header] = measured.first() if when == "first" else measured.last()
    values = {header: series.reindex(names.index) for header, series in values.items()}

    rows = _folded(len(names))
    room = width - 7 - max(len(name) for name in names) - 2
    shown = list(values)[: max(2, room // 11)]
    notes = [
        "δ: root mean square gradient at a layer's linear output; blue below 1% of the last hidden "
        "layer's, red above 100 times it; other columns as last measured",
    ]
    if len(rows) < len(names):
        notes.append(f"{len(rows)} of {len(names)} layers shown, all are in layers.parquet")
    if len(shown) < len(values):
        notes.append(f"left out for width: {', '.join(list(values)[len(shown) :])}")
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("layer", justify="right")
    table.add_column("", no_wrap=True)
    for header in shown:
        table.add_column(header, justify="right", no_wrap=True)
    last_hidden = len(names) - 1
    for layer in rows:
        cells: list[RenderableType] = []
        for header in shown:
            value = values[header].loc[layer]
            style = ""
            if header.startswith("δ") and layer <= last_hidden:
                of_last = values[header].loc[last_hidden]
                style = ratio_style(value / of_last) if of_last else "blue"
            cells.append(Text(number(value), style=style))
        table.add_row(str(layer), names.loc[layer], *cells)
    return Group(table, *(Text(note, style="dim") for note in notes))


def _folded(count: int) -> list[int]:
    """The layers to show: all, or the first and last few and evenly spread ones between."""
    if count <= FOLDED_ROWS + 4:
        return list(range(1, count + 1))
    edge = 3
    inner = FOLDED_ROWS - 2 * edge
    between = [edge + round((count - 2 * edge) * (i + 0.5) / inner + 0.5) for i in range(inner)]
    return sorted({*range(1, edge + 1), *between, *range(count - edge + 1, count + 1)})


def number(value: float) -> str:
    """A figure of three significant digits, or of two and a power of ten, in little room."""
    if value != value:
        return "–"
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 999.5:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:.1e}"


def gradient_strip(label: str, deltas: Sequence[float], width: int) -> Text:
    """`delta_rms` of every layer from input to output as bars on a log scale, in one line.

    Coloured by the ratio to the last hidden layer's. Neighbouring layers share a bar where there
    are more layers than columns: the smallest of them is drawn.
    """
    finite = [d for d in deltas if math.isfinite(d) and d > 0]
    text = Text(f"{label:<16}input ", no_wrap=True)
    low, high = (min(finite), max(finite)) if finite else (math.nan, math.nan)
    scale = f" output  min {number(low):<7} max {number(high):<7}" if finite else " output"
    scale = f"{scale:<{SCALE_WIDTH}}"  # of one width, so that strips lie under one another
    room = max(8, min(100, width - len(text) - len(scale)))
    last_hidden = deltas[-2] if len(deltas) > 1 else math.nan
    top = math.log10(high) if finite else 0.0
    span = max(STRIP_DECADES, top - math.log10(low)) if finite else 1.0
    repeat = max(1, min(3, room // len(deltas)))
    for group in _groups(deltas, room):
        delta = min(group)
        if not all(map(math.isfinite, group)):
            text.append("!" * repeat, style="red")
        elif delta == 0:
            text.append("·" * repeat, style="blue")
        else:
            height = 1 - (top - math.log10(delta)) / span
            bar = BARS[round(height * (len(BARS) - 1))]
            text.append(bar * repeat, style=ratio_style(delta / last_hidden) if last_hidden else "")
    return text.append(scale, style="dim")


def _groups(values: Sequence[float], most: int) -> list[Sequence[float]]:
    """Cut into at most `most` runs of nearly equal length."""
    count = min(len(values), most)
    bounds = [round(i * len(values) / count) for i in range(count + 1)]
    return [values[start:stop] for start, stop in itertools.pairwise(bounds)]


def gradient_strips(layers: "DataFrame", width: int) -> list[Text]:
    """The strips of the first and the last snapshot."""
    if "delta_rms" not in layers:
        return []
    measured = layers.dropna(subset=["delta_rms"]).sort_values("layer")
    steps = sorted({int(step) for step in measured["step"].unique()})
    return [
        gradient_strip(
            f"δ at step {step}", measured[measured["step"] == step]["delta_rms"].tolist(), width
        )
        for step in dict.fromkeys([*steps[:1], *steps[-1:]])
    ]


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def run_report(run: Run, width: int) -> Group:
    """What a person reads at the end of a run: layers, verdict, accuracy, where the files lie."""
    summary = run.summary
    parts: list[RenderableType] = [*gradient_strips(run.layers, width)]
    table = layer_table(run.layers, width)
    if table is not None:
        parts += [table, Text()]
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("verdict", verdict_line(summary))
    if summary.advice:
        facts.add_row("try", Text("  or  ".join(summary.advice)))
    measured_at = int(run.metrics["step"].iloc[-1]) if len(run.metrics) else 0
    stale = f" (at step {measured_at})" if measured_at != summary.steps else ""
    theory = theory_line(run)
    if theory:
        facts.add_row("theory", theory)
    for which in ("train", "test"):
        accuracy, loss = getattr(summary, f"{which}_acc"), getattr(summary, f"{which}_loss")
        if accuracy is not None:
            figure = "not finite" if loss is None else f"{loss:.4g}"
            facts.add_row(which, f"accuracy {accuracy:.4f}, loss {figure}{stale}")
    steps, parameters = summary.steps, summary.parameters
    size = f"{parameters:,} parameters, " if parameters is not None else ""  # never built
    facts.add_row(
        "run",
        f"{summary.name}: {size}"
        f"{steps} step{'s' if steps != 1 else ''} in {summary.seconds or 0.0:.1f} s "
        f"on {summary.device}",
    )
    facts.add_row("command", Text(shlex.join(run.environment.get("command", []))))
    facts.add_row("files", Text(str(run.folder)))
    return Group(*parts, facts)


def verdict_line(summary: Summary) -> Text:
    """The verdict in its colour and its reason."""
    verdict = summary.verdict or summary.status
    line = Text().append(verdict, style=f"bold {VERDICT_STYLES.get(verdict, '')}".strip())
    return line.append(f". {summary.reason}" if summary.reason else "")


def theory_line(run: Run) -> str:
    """Predicted against measured factor per layer at initialization; empty where either lacks."""
    predicted = predict(run.config)
    measured = run.summary.gradient_factor_init
    if predicted is None or measured is None or math.isnan(predicted.factor):
        return ""
    return (
        f"δ ×{predicted.factor:.3g} per layer towards the input predicted at init, "
        f"×{measured:.3g} measured ({predicted.source})"
    )


def theory_table(facts: Mapping[str, Any]) -> Group:
    """What mean-field theory says of an MLP: q*, χ₁, depth scales, the critical line."""
    chi_1, phase = facts["chi_1"], facts["phase"]
    meaning = {
        "ordered": "ordered phase: the gradient vanishes, inputs become alike",
        "critical": "critical: the gradient keeps its size",
        "chaotic": "chaotic phase: the gradient explodes, like inputs become unlike",
    }[phase]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    critical = facts["critical_weight_variance"]
    rows = [
        ("σ_w², σ_b²", f"{facts['weight_variance']:.4g}, {facts['bias_variance']:.4g}",
         "fan-in times the variance of weights; variance of biases"),
        ("q*", _or_infinite(facts["q"]), "the variance of z that depth leads to"),
        ("χ₁", f"{chi_1:.4g}", f"a layer's factor of the squared gradient; {meaning}"),
        ("√χ₁", f"{math.sqrt(chi_1):.4g}", "that of δ"),
        ("depth scale", _layers(facts["gradient_depth"]),
         "1/|ln χ₁|: the squared gradient changes by a factor e"),
        ("c*", f"{facts['correlation']:.4g}", "the correlation that two inputs end with"),
        ("its depth scale", _layers(facts["correlation_depth"]),
         "how deep inputs can still be told apart"),
        ("critical σ_w²", f"{critical:.4g}" if critical == critical else "none",
         "where χ₁ = 1 for these biases: the critical line"),
    ]  # fmt: skip
    for row in rows:
        table.add_row(*row)
    if facts["factor"] is not None:
        table.add_row(
            f"{'with skips, ' if facts['residual'] else ''}depth {facts['depth']}",
            f"×{facts['factor']:.4g} per layer",
            f"δ of this network; first over last hidden layer {facts['ratio']:.2g}",
        )
    name = f"MLP {facts['activation']}, wide, without norm and skips, at initialization"
    return Group(Text(name, style="bold"), table)


def _or_infinite(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.4g}"


def _layers(depth: float) -> str:
    return "∞" if math.isinf(depth) else f"{depth:.3g} layers"


def bench_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A training step's variants beside the bare loop: ratio, its quartiles, milliseconds."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("net", no_wrap=True)
    table.add_column("threads", justify="right")
    table.add_column("variant", no_wrap=True)
    for header in ("ratio", "quartiles", "ms a step"):
        table.add_column(header, justify="right", no_wrap=True)
    before = None
    for row in rows:
        case = (row["net"], row["threads"])
        if before not in (None, case):
            table.add_section()
        head = (case[0], str(case[1])) if case != before else ("", "")
        before = case
        alone = row["low"] == row["high"]
        spread = "" if alone else f"{row['low']:.2f}–{row['high']:.2f}"
        own = row["variant"] not in ("bare", "item", "floor", *PEERS)
        style = ("green" if row["ratio"] <= 1 else "yellow") if own else ""
        ratio = Text(f"{row['ratio']:.2f}×", style=style)
        table.add_row(*head, row["variant"], ratio, spread, f"{row['milliseconds']:.2f}")
    return table


# The variants of `normlab bench` that other packages make.
PEERS = ("lightning grad_norm", "wandb.watch")


def profile_table(net: str, threads: int, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Where a step's time goes, by operation."""
    title = f"{net}, {threads} thread{'s' if threads > 1 else ''}"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title)
    table.add_column("operation", overflow="fold")
    table.add_column("own time", justify="right")
    table.add_column("calls a step", justify="right")
    for row in rows:
        table.add_row(row["operation"], f"{100 * row['share']:.1f} %", f"{row['calls']:.0f}")
    return table


def info_table(facts: Mapping[str, Any]) -> Table:
    """Versions, devices and where data sets lie, as two columns."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if name == "data":
            for data_set, place in value.items():
                absent = Text("not here yet; downloaded when first used", style="dim")
                table.add_row(f"data={data_set}", Text(place) if place else absent)
        else:
            table.add_row(name, Text(", ".join(value) if isinstance(value, list) else str(value)))
    return table
