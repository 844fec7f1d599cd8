"""Pictures made of characters, for a terminal: bars on a log scale, heat strips, small curves."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from pandas import DataFrame
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from normlab.results import LOG_PROBES
from normlab.show.terminal.tables import BARS, number, ratio_style

# Dark violet to yellow (viridis), as the pictures have it.
_HEAT = ("#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725")
_GAP = 2


def gradients(table: DataFrame, probe: str, width: int) -> Group:
    """A probe by layer at init and at the end: a line of bars for each variant and depth."""
    log = probe in LOG_PROBES
    rows = table
    finite = rows["value"].dropna()
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, 1.0)
    grid = _grid("variant", "depth", "", "input → output", "min", "max")
    cells = max(8, min(48, width - _label_width(rows) - 40))
    for (variant, depth), group in rows.groupby(["variant", "depth"], sort=False):
        for place in ("init", "end"):
            values = group[group["place"] == place].sort_values("layer")["value"].to_numpy()
            if not len(values):
                continue
            bars = _bars(values, cells, low, high, log=log, judged=probe == "delta_rms")
            first = place == "init"
            known = values[np.isfinite(values)]
            least, most = (number(known.min()), number(known.max())) if len(known) else ("–", "–")
            grid.add_row(
                Text(str(variant) if first else ""),
                str(depth) if first else "",
                place,
                bars,
                least,
                most,
            )
    scale = "logarithmic, the same for all" if log else "the same for all"
    notes = [f"{probe} of the hidden layers; the bars' scale is {scale}; ∅: 0 or not finite"]
    return Group(grid, *(Text(note, style="dim") for note in notes))


def heatmap(table: DataFrame, probe: str, name: str, width: int) -> Group:
    """A run's probe by layer and step: a line a step, a coloured cell a layer."""
    log = probe in LOG_PROBES
    steps = sorted(table["step"].unique())
    layers = int(table["layer"].max())
    cells = min(layers, max(8, width - 10))
    values = table["value"].to_numpy(dtype=np.float64)
    usable = values[np.isfinite(values) & ((values > 0) | (not log))]
    if len(usable) == 0:
        return Group(Text(f"{probe} is 0 or not finite in every layer"))
    low, high = float(usable.min()), float(usable.max())
    lines: list[RenderableType] = [Text(name, style="bold"), Text("  step  input → output", "dim")]
    for step in steps:
        row = table[table["step"] == step].sort_values("layer")["value"].to_numpy(dtype=np.float64)
        line = Text(f"{step:>6}  ")
        for value in _resampled(row, cells):
            share = _share(value, low, high, log=log)
            if math.isnan(share):
                line.append("∅", style="red")
            else:
                bar = BARS[
                    min(len(BARS) - 1, int(share * len(BARS)))
                ]  # for where there is no colour
                line.append(bar, style=_HEAT[round(share * (len(_HEAT) - 1))])
        lines.append(line)
    key = Text(f"        {number(low)} ", style="dim")
    for place, bar in enumerate(BARS):
        key.append(bar, style=_HEAT[round(place / (len(BARS) - 1) * (len(_HEAT) - 1))])
    key.append(f" {number(high)}", style="dim")
    return Group(*lines, key)


def curves(table: DataFrame, metric: str, width: int) -> Group:
    """A metric by epoch: a line of bars for each variant and depth."""
    return _lines(table, "epoch", f"{metric} by epoch", width, share=metric.endswith("_acc"))


def theory(table: DataFrame, width: int) -> Group:
    """Measured and predicted factor of δ by layer, each as a line of bars on one scale."""
    low = float(table[["value", "predicted"]].min().min())
    high = float(table[["value", "predicted"]].max().max())
    cells = max(8, min(48, width - _label_width(table) - 50))
    grid = _grid("variant", "depth", "", "input → output", "first", "last")
    for (variant, depth), group in table.groupby(["variant", "depth"], sort=False):
        ordered = group.sort_values("layer")
        for column, name in (("value", "measured"), ("predicted", "predicted")):
            values = ordered[column].to_numpy(dtype=np.float64)
            bars = _bars(values, cells, low, high, log=True, judged=False)
            first = column == "value"
            grid.add_row(
                Text(str(variant) if first else ""),
                str(depth) if first else "",
                name,
                bars,
                f"×{number(values[0])}",
                f"×{number(values[-1])}",
            )
    note = "δ of a layer over that of the next, at init; below 1 it shrinks towards the input"
    return Group(grid, Text(note, style="dim"))


def depth(table: DataFrame, width: int) -> Group:
    """Final train error by depth: a bar for each variant and depth."""
    grid = _grid("variant", "depth", "train error", "")
    cells = max(10, min(50, width - _label_width(table) - 24))
    before = None
    for row in table.sort_values(["variant", "depth"], kind="stable").to_dict("records"):
        value = float(row["value"])
        filled = 0 if math.isnan(value) else round(8 * cells * value)
        bar = "█" * (filled // 8) + (" ▏▎▍▌▋▊▉"[filled % 8] if filled % 8 else "")
        name = str(row["variant"])
        shown = "–" if math.isnan(value) else f"{100 * value:.1f}%"
        grid.add_row(
            Text(name if name != before else ""), f"{row['depth']}", shown, Text(bar, "yellow")
        )
        before = name
    return Group(grid)


def _lines(table: DataFrame, by: str, note: str, width: int, *, share: bool) -> Group:
    finite = table["value"][np.isfinite(table["value"])]
    low, high = (0.0, 1.0) if share else (float(finite.min()), float(finite.max()))
    cells = max(8, min(48, width - _label_width(table) - 32))
    grid = _grid("variant", "depth", f"{by} →", "first", "last")
    for (variant, depth_), group in table.groupby(["variant", "depth"], sort=False):
        values = group.sort_values(by)["value"].to_numpy(dtype=np.float64)
        bars = _bars(values, cells, low, high, log=False, judged=False)
        grid.add_row(Text(str(variant)), str(depth_), bars, number(values[0]), number(values[-1]))
    return Group(grid, Text(f"{note}, mean over seeds", style="dim"))


def _grid(*headers: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP, 0, 0),
        collapse_padding=True, header_style="bold",
    )  # fmt: skip
    for header in headers:
        right = header in ("depth", "min", "max", "first", "last", "train error")
        table.add_column(header, justify="right" if right else "left", no_wrap=header != "variant")
    return table


def _label_width(table: DataFrame) -> int:
    return max((len(str(name)) for name in table["variant"].unique()), default=0)


def _bars(
    values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    cells: int,
    low: float,
    high: float,
    *,
    log: bool,
    judged: bool,
) -> Text:
    """Values as bars of eight heights; coloured by the ratio to the last where `judged`."""
    text = Text()
    last = float(values[-1])
    for value in _resampled(values, cells):
        share = _share(value, low, high, log=log)
        if math.isnan(share):
            text.append("∅", style="red")
            continue
        style = ratio_style(value / last) if judged and last > 0 else "cyan"
        text.append(BARS[min(len(BARS) - 1, int(share * len(BARS)))], style=style)
    return text


def _share(value: float, low: float, high: float, *, log: bool) -> float:
    """A value's place between the ends of a scale, from 0 to 1; NaN where it has none."""
    scaled: Callable[[float], float] = math.log if log else float
    if not math.isfinite(value) or (log and value <= 0):
        return math.nan
    if low == high:
        return 0.5
    return (scaled(value) - scaled(low)) / (scaled(high) - scaled(low))


def _resampled(values: Sequence[float] | np.ndarray, cells: int) -> list[float]:
    """At most so many values, evenly taken, the first and the last among them."""
    if len(values) <= cells:
        return [float(value) for value in values]
    return [float(values[round(i * (len(values) - 1) / (cells - 1))]) for i in range(cells)]
