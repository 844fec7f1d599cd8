"""What mean-field theory says of an MLP."""

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from normlab.measurement import MeanField

MEANINGS = {
    "ordered": "ordered phase: the gradient vanishes",
    "critical": "critical: the gradient keeps its size",
    "chaotic": "chaotic phase: the gradient explodes",
}


def theory_table(facts: MeanField) -> Group:
    """q*, χ₁, depth scales, the critical line: what `measurement.overview` says."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    chi_1, critical, alike = facts.chi_1, facts.critical_weight_variance, facts.correlation
    rows = [
        ("σ_w², σ_b²", f"{facts.weight_variance:.4g}, {facts.bias_variance:.4g}",
         "fan-in times the variance of weights; variance of biases"),
        ("q*", _or_infinite(facts.q),
         "the variance of z that depth leads standardized inputs to"),
        ("χ₁", f"{chi_1:.4g}", f"a layer's factor of the squared gradient; {_phase(facts)}"),
        ("√χ₁", f"{math.sqrt(chi_1):.4g}", "that of δ"),
        ("depth scale", _layers(facts.gradient_depth),
         "1/|ln χ₁|: the squared gradient changes by a factor e"),
        ("c*", "–" if alike is None else f"{alike:.4g}",
         "the correlation that two inputs end with" if alike is not None else
         "any: where z is that small or large, layers keep the correlation of two inputs"),
        ("its depth scale", _layers(facts.correlation_depth),
         "how deep inputs can still be told apart"),
        ("critical σ_w²", f"{critical:.4g}" if critical == critical else "none", _line(facts)),
    ]  # fmt: skip
    if facts.auto_gain is not None:
        rows.insert(
            0, ("gain", f"{facts.auto_gain:.4g}", f"model.init_gain=auto: {facts.auto_rule}")
        )
    for row in rows:
        table.add_row(*row)
    skips = "with skips, " if facts.residual else ""
    if facts.factor is not None:
        table.add_row(
            f"{skips}depth {facts.depth}",
            f"×{facts.factor:.4g} per layer",
            f"δ of this network; first over last hidden layer {facts.ratio:.2g}",
        )
    elif skips:
        table.add_row(f"{skips}depth {facts.depth}", "not known", "for this nonlinearity or data")
    name = f"MLP {facts.activation}, wide, without norm and skips, at initialization"
    return Group(Text(name, style="bold"), table)


def _phase(facts: MeanField) -> str:
    """The phase in words, and what becomes of z or of two inputs."""
    words = MEANINGS[facts.phase]
    if facts.q == 0:
        return f"{words}, z dies out"
    if math.isinf(facts.q):
        return f"{words}, z grows for ever"
    if facts.phase == "critical":
        return words
    become = "inputs become alike" if facts.correlation == 1 else "like inputs become unlike"
    return f"{words}, {become}"


def _line(facts: MeanField) -> str:
    """What the critical σ_w² is."""
    if facts.chi_1_below_critical is None:
        return "where χ₁ = 1 for these biases: the critical line"
    jump = f"{facts.chi_1_below_critical:.3g} to {facts.chi_1_above_critical:.3g}"
    return f"where χ₁ jumps from {jump} for these biases: the critical line"


def _or_infinite(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.4g}"


def _layers(depth: float) -> str:
    return "∞" if math.isinf(depth) else f"{depth:.3g} layers"
