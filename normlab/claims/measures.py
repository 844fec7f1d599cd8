"""Measures that are more than an expression: functions of a claim's evidence, by seed.

A claim's file names one by `measure:`; its other arguments stand beside that key.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pandas import DataFrame

from normlab.analysis import where
from normlab.claims.claim import MEASURES, Expression
from normlab.claims.evidence import Evidence
from normlab.claims.expressions import BySeed, evaluate_expression
from normlab.measurement import chi, fixed_point, snapshot_steps, state_at

# Of a network that learns at all, in C13.
USABLE_ACCURACY = 0.5


def _by_seed(runs: DataFrame) -> Iterator[tuple[int, str]]:
    """Seeds and folders of some runs."""
    for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
        yield int(seed), folder


@MEASURES.register("demonstrated")
def demonstrated(evidence: Evidence, figure: str) -> BySeed:
    """A figure of the claim's demonstration."""
    return {seed: found[figure] for seed, found in evidence.figures.items()}


@MEASURES.register("above_zero")
def above_zero(evidence: Evidence, expression: Expression) -> BySeed:
    """1 for a seed in which an expression is above 0, else 0."""
    values = evaluate_expression(expression, evidence)
    return {seed: float(value > 0) for seed, value in values.items()}


@MEASURES.register("nielsen_ratio")
def nielsen_ratio(evidence: Evidence, hidden: int, step: int = 0) -> BySeed:
    """Last over first of so many hidden layers' mean δ at a step (Nielsen 2015, ch. 5)."""
    found = {}
    for seed, folder in _by_seed(where(evidence.runs, [f"model.depth={hidden + 1}"])):
        layers = evidence.layers(folder)
        rows = layers[layers["step"] == step].sort_values("layer")["mean_delta"].to_numpy()
        if not len(rows):
            raise LookupError(f"snapshot at step {step}")
        found[seed] = float(rows[hidden - 1] / rows[0])
    return found


@MEASURES.register("nielsen_extreme")
def nielsen_extreme(evidence: Evidence, hidden: int, extreme: Literal["min", "max"]) -> BySeed:
    """The least or the greatest such ratio over a training."""
    found = {}
    for seed, folder in _by_seed(where(evidence.runs, [f"model.depth={hidden + 1}"])):
        layers = evidence.layers(folder).dropna(subset=["mean_delta"])
        table = layers.pivot(index="step", columns="layer", values="mean_delta")
        ratios = table[hidden] / table[1]
        found[seed] = float(min(ratios) if extreme == "min" else max(ratios))
    return found


@MEASURES.register("gradient_ratio_extreme")
def gradient_ratio_extreme(
    evidence: Evidence, runs: tuple[str, ...], from_step: int, extreme: Literal["min", "max"]
) -> BySeed:
    """The least or the greatest R = δ_first / δ_last over the snapshots from a step on.

    Of the plain networks that fulfil the filters, one a seed; NaN where an R is not finite.
    """
    found = {}
    for seed, folder in _by_seed(where(evidence.runs, runs)):
        layers = evidence.layers(folder)
        steps = [step for step in snapshot_steps(layers) if step >= from_step]
        if not steps:
            raise LookupError(f"snapshot from step {from_step} on")
        ratios = np.array([state_at(layers, step).ratio for step in steps])
        if not np.isfinite(ratios).all():
            found[seed] = math.nan
        else:
            found[seed] = float(ratios.min() if extreme == "min" else ratios.max())
    return found


@MEASURES.register("slope_over_chi")
def slope_over_chi(evidence: Evidence, init_gain: float, bias_std: float) -> BySeed:
    """The squared factor of networks' gradients over χ₁, at one point of the grid.

    With weights of variance init_gain²/fan-in, as LeCun's, and all of one nonlinearity.
    """
    runs = where(evidence.runs, [f"model.init_gain={init_gain}", f"model.bias_std={bias_std}"])
    variance = init_gain**2  # 1/fan_in times the gain's square
    (activation,) = runs["model.activation"].unique()
    chi_1 = chi(activation, fixed_point(activation, variance, bias_std**2), variance)
    squared = runs.set_index("seed")["gradient_factor_init"] ** 2 / chi_1
    return {int(s): float(v) for s, v in zip(squared.index, squared, strict=True)}


# ---------------------------------------------------------------------- learning rates


@MEASURES.register("steps_to")
def steps_to(evidence: Evidence, target: float, runs: tuple[str, ...] = ()) -> BySeed:
    """The steps after which test accuracy is first seen at a target, ∞ where it never is.

    Of the runs that fulfil the filters, one a seed.
    """
    found = {}
    for seed, folder in _by_seed(where(evidence.runs, runs)):
        curve = evidence.metrics(folder)
        reached = curve.loc[curve["test_acc"] >= target, "step"]
        found[seed] = float(reached.iloc[0]) if len(reached) else math.inf
    return found


@MEASURES.register("share_of_steps")
def share_of_steps(evidence: Evidence, norm: str, baseline: str, target: float) -> BySeed:
    """A norm's steps to a test accuracy over the baseline's: ∞ where it never has it.

    NaN where neither has it.
    """
    quick, slow = (steps_to(evidence, target, (f"norm={name}",)) for name in (norm, baseline))
    return {
        seed: quick[seed] / slow[seed] if math.isfinite(min(quick[seed], slow[seed])) else math.nan
        for seed in quick.keys() & slow.keys()
    }


@MEASURES.register("largest_rate")
def largest_rate(evidence: Evidence, norm: str) -> BySeed:
    """The largest learning rate at which a net ends above half of train accuracy."""
    runs = where(evidence.runs, [f"norm={norm}"])
    usable = runs[(runs["status"] != "diverged") & (runs["train_acc"] > USABLE_ACCURACY)]
    largest = usable.groupby("seed")["optimizer.lr"].max()
    return {int(seed): float(largest.get(seed, math.nan)) for seed in runs["seed"].unique()}


@MEASURES.register("largest_rate_ratio")
def largest_rate_ratio(evidence: Evidence, norm: str, baseline: str) -> BySeed:
    """The largest usable learning rate with a norm over the baseline's.

    NaN where the baseline learns at no rate, or still at the largest of the grid.
    """
    larger, smaller = largest_rate(evidence, norm), largest_rate(evidence, baseline)
    top = float(evidence.runs["optimizer.lr"].max())
    known = {seed: rate if rate < top else math.nan for seed, rate in smaller.items()}
    return {seed: larger[seed] / known[seed] for seed in larger if seed in known}


# -------------------------------------------------------------------- trained networks


@MEASURES.register("growth")
def growth(evidence: Evidence) -> BySeed:
    """|train error of the shallowest plain net, grown to the deepest one's depth, − its own|."""
    from normlab.claims.trained_networks import grown_error

    plain = where(evidence.runs, ["model.residual=false"])
    depth = int(plain["model.depth"].max())
    found = {}
    for seed, folder in _by_seed(plain[plain["model.depth"] == plain["model.depth"].min()]):
        errors = grown_error(Path(folder), depth)
        found[seed] = abs(errors["grown"] - errors["shallow"])
    return found


@MEASURES.register("lesion")
def lesion(
    evidence: Evidence, runs: tuple[str, ...], over: Literal["min", "median", "max"]
) -> BySeed:
    """Train error of networks with one block taken out, over their blocks (Veit et al. 2016).

    Of the runs that fulfil the filters, one a seed.
    """
    from normlab.claims.trained_networks import lesion_errors

    quantile = {"min": 0.0, "median": 0.5, "max": 1.0}[over]
    return {
        seed: float(np.quantile(lesion_errors(Path(folder)), quantile))
        for seed, folder in _by_seed(where(evidence.runs, runs))
    }


@MEASURES.register("drift")
def drift(evidence: Evidence, runs: tuple[str, ...] = ()) -> BySeed:
    """How far a layer's distribution moves between snapshots, in its standard deviations.

    Mean over hidden layers and snapshots after the first of |change of act_mean| / act_std, of the
    runs that fulfil the filters; NaN where there is but one snapshot.
    """
    found = {}
    for seed, folder in _by_seed(where(evidence.runs, runs)):
        layers = evidence.layers(folder).dropna(subset=["act_mean"])
        layers = layers[layers["layer"] < layers["layer"].max()]
        means = layers.pivot(index="step", columns="layer", values="act_mean")
        spreads = layers.pivot(index="step", columns="layer", values="act_std")
        moved = (means.diff().abs() / spreads.where(spreads > 0)).iloc[1:].to_numpy()
        found[seed] = math.nan if np.isnan(moved).all() else float(np.nanmean(moved))
    return found
