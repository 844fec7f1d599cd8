"""δ of every layer from input to output as a strip of bars, in one line."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO, by_block
from normlab.text import number

if TYPE_CHECKING:
    from pandas import DataFrame

BARS = "▁▂▃▄▅▆▇█"
SCALE_WIDTH = len(" output  min 1.0e-10 max 1.0e-10")
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


def gradient_strips(layers: "DataFrame", width: int) -> list[Text]:
    """The strips of the first and the last snapshot of a run's layers."""
    if "delta_rms" not in layers:
        return []
    measured = by_block(layers.dropna(subset=["delta_rms"])).sort_values("layer")
    steps = sorted({int(step) for step in measured["step"].unique()})
    return [
        gradient_strip(
            f"δ at step {step}", measured[measured["step"] == step]["delta_rms"].tolist(), width
        )
        for step in dict.fromkeys([*steps[:1], *steps[-1:]])
    ]


def gradient_strip(label: str, deltas: Sequence[float], width: int) -> Text:
    """δ of every layer from input to output as bars on a log scale, in one line.

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
    for group in _neighbours(deltas, room):
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


def _neighbours(values: Sequence[float], most: int) -> list[Sequence[float]]:
    """The values cut into at most `most` stretches of nearly equal length."""
    count = min(len(values), most)
    bounds = [round(i * len(values) / count) for i in range(count + 1)]
    return [values[start:stop] for start, stop in itertools.pairwise(bounds)]
