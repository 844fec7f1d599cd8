"""What claims measure beyond expressions: functions of their runs, a figure for every seed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from normlab.claims.evidence import Evidence
from normlab.claims.expressions import evaluate
from normlab.claims.registries import BySeed, measure
from normlab.measurement import chi, fixed_point
from normlab.results import where

# Train accuracy of a network that learns at all.
USABLE_ACCURACY = 0.5


@measure
def is_positive(evidence: Evidence, value: str) -> BySeed:
    """1 for a seed in which an expression is above 0, else 0."""
    return {seed: float(found > 0) for seed, found in evaluate(value, evidence).items()}


# ------------------------------------------------------------------- Nielsen's mean δ (C06)


@measure
def nielsen_ratio(evidence: Evidence, hidden: int) -> BySeed:
    """Last over first hidden layer's mean δ at initialization (Nielsen 2015, ch. 5)."""
    found = {}
    for seed, layers in evidence.layers(f"model.depth={hidden + 1}"):
        start = layers[layers["step"] == 0].sort_values("layer")["mean_delta"].to_numpy()
        found[seed] = float(start[hidden - 1] / start[0])
    return found


@measure
def nielsen_extreme(evidence: Evidence, hidden: int, extreme: Literal["min", "max"]) -> BySeed:
    """The least or the greatest such ratio over a training."""
    found = {}
    for seed, layers in evidence.layers(f"model.depth={hidden + 1}"):
        table = layers.dropna(subset=["mean_delta"]).pivot(
            index="step", columns="layer", values="mean_delta"
        )
        ratios = table[hidden] / table[1]
        found[seed] = float(ratios.min() if extreme == "min" else ratios.max())
    return found


# ----------------------------------------------------------------- mean-field theory (C11)


@measure
def slope_over_chi(evidence: Evidence, init_gain: float, bias_std: float) -> BySeed:
    """The gradient's measured squared factor per layer over χ₁, of tanh networks."""
    runs = where(evidence.runs, [f"model.init_gain={init_gain}", f"model.bias_std={bias_std}"])
    q = fixed_point("tanh", init_gain**2, bias_std**2)  # 1/fan_in times the gain's square
    chi_1 = chi("tanh", q, init_gain**2)
    squared = runs.set_index("seed")["gradient_factor_init"] ** 2 / chi_1
    return {int(s): float(v) for s, v in zip(squared.index, squared, strict=True)}


# ------------------------------------------------------------- best learning rates (C12)


def _best_rate(evidence: Evidence, norm: str) -> float:
    """The learning rate with the best final test accuracy on average; a diverged run has none."""
    runs = where(evidence.runs, [f"norm={norm}"])
    scores = runs["test_acc"].where(runs["status"] == "finished", 0.0)
    means = scores.groupby(runs["optimizer.lr"]).mean()
    return float(means.index.to_numpy()[means.argmax()])


@measure
def best_rate(evidence: Evidence, norm: str) -> BySeed:
    """The learning rate with the best final test accuracy, averaged over seeds."""
    rate = _best_rate(evidence, norm)
    return {int(seed): rate for seed in evidence.runs["seed"].unique()}


@measure
def share_of_steps(evidence: Evidence) -> BySeed:
    """The share of the steps after which BatchNorm has the baseline's final test accuracy.

    Each arm at its best learning rate; infinite where BatchNorm never has it.
    """
    curves = {
        norm: dict(evidence.metrics(f"norm={norm}", f"optimizer.lr={_best_rate(evidence, norm)}"))
        for norm in ("none", "bn")
    }
    found = {}
    for seed in curves["none"].keys() & curves["bn"].keys():
        baseline, bn = curves["none"][seed], curves["bn"][seed]
        final = baseline["test_acc"].iloc[-1]
        reached = bn.loc[bn["test_acc"] >= final, "step"]
        share = reached.iloc[0] / baseline["step"].iloc[-1] if len(reached) else math.inf
        found[seed] = float(share)
    return found


@measure
def reached(evidence: Evidence) -> BySeed:
    """1 for a seed in which BatchNorm has the baseline's final test accuracy at all, else 0."""
    return {seed: float(share <= 1) for seed, share in share_of_steps(evidence).items()}


@measure
def at_the_edge(evidence: Evidence) -> BySeed:
    """How many of the two arms are at their best at the learning rates' least or greatest."""
    rates = evidence.runs["optimizer.lr"]
    edges = {float(rates.min()), float(rates.max())}
    count = sum(_best_rate(evidence, norm) in edges for norm in ("none", "bn"))
    return {int(seed): float(count) for seed in evidence.runs["seed"].unique()}


# --------------------------------------------------------- largest learning rates (C13)


@measure
def largest_rate(evidence: Evidence, norm: str) -> BySeed:
    """The largest learning rate at which a net ends above half of train accuracy."""
    runs = where(evidence.runs, [f"norm={norm}"])
    usable = runs[(runs["status"] == "finished") & (runs["train_acc"] > USABLE_ACCURACY)]
    largest = usable.groupby("seed")["optimizer.lr"].max()
    return {int(seed): float(largest.get(seed, math.nan)) for seed in runs["seed"].unique()}


@measure
def rate_ratio(evidence: Evidence) -> BySeed:
    """The largest rate of BatchNorm over that without norm.

    NaN where the net without norm learns at no rate, or still at the largest of the grid.
    """
    bn, none = largest_rate(evidence, "bn"), largest_rate(evidence, "none")
    top = float(evidence.runs["optimizer.lr"].max())
    known = {seed: rate if rate < top else math.nan for seed, rate in none.items()}
    return {seed: bn[seed] / known[seed] for seed in bn if seed in known}


# ---------------------------------------------------------------- capacity (C16), drift (C19)


@measure
def growth(evidence: Evidence) -> BySeed:
    """|train error of the shallow plain net grown to the deep one's depth − of the shallow net|."""
    from normlab.claims.grown_network import grown_error

    plain = evidence.runs[~evidence.runs["model.residual"].astype(bool)]
    depths = plain["model.depth"]
    found = {}
    shallow = plain[depths == depths.min()]
    for seed, folder in zip(shallow["seed"], shallow["folder"], strict=True):
        errors = grown_error(Path(folder), int(depths.max()))
        found[int(seed)] = abs(errors["grown"] - errors["shallow"])
    return found


@measure
def drift(evidence: Evidence, filters: Sequence[str]) -> BySeed:
    """How far a layer's distribution moves between snapshots, in its standard deviations.

    Mean over hidden layers and snapshots after the first of |change of act_mean| / act_std.
    """
    found = {}
    for seed, table in evidence.layers(*filters):
        layers = table.dropna(subset=["act_mean"])
        layers = layers[layers["layer"] < layers["layer"].max()]
        means = layers.pivot(index="step", columns="layer", values="act_mean")
        spreads = layers.pivot(index="step", columns="layer", values="act_std")
        moved = means.diff().abs() / spreads.where(spreads > 0)
        found[seed] = float(np.nanmean(moved.iloc[1:].to_numpy()))
    return found
