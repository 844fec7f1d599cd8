"""What mean-field theory says of an MLP."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

MEANINGS = {
    "ordered": "ordered phase: the gradient vanishes, inputs become alike",
    "critical": "critical: the gradient keeps its size",
    "chaotic": "chaotic phase: the gradient explodes, like inputs become unlike",
}


def theory_table(facts: Mapping[str, Any]) -> Group:
    """q*, χ₁, depth scales, the critical line: the facts of `measurement.overview`."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    chi_1, critical = facts["chi_1"], facts["critical_weight_variance"]
    rows = [
        ("σ_w², σ_b²", f"{facts['weight_variance']:.4g}, {facts['bias_variance']:.4g}",
         "fan-in times the variance of weights; variance of biases"),
        ("q*", _or_infinite(facts["q"]), "the variance of z that depth leads to"),
        ("χ₁", f"{chi_1:.4g}",
         f"a layer's factor of the squared gradient; {MEANINGS[facts['phase']]}"),
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
