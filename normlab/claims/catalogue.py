"""The claims of the literature: each with its experiment, what it measures, its gate and source."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from normlab.claims.evidence import (
    BySeed,
    Claim,
    Evidence,
    Form,
    Measure,
    Protocol,
    Statistic,
    evaluate,
)
from normlab.measurement import COLLAPSED_COSINE, EXPLODING_RATIO, VANISHING_RATIO, chi, fixed_point
from normlab.results import DEGRADED_ASYMPTOTE, DEGRADED_SPEED, where

# Of a network that learns at all, in C13.
USABLE_ACCURACY = 0.5
INF = math.inf

# ------------------------------------------------------------------ measures as functions


def _figure(name: str) -> Callable[[Evidence], BySeed]:
    """A figure of a claim's demonstration."""
    return lambda evidence: {seed: found[name] for seed, found in evidence.figures.items()}


def _nielsen_ratio(hidden: int) -> Callable[[Evidence], BySeed]:
    """Last over first hidden layer's mean δ at initialization (Nielsen 2015, ch. 5)."""

    def by_seed(evidence: Evidence) -> BySeed:
        runs = where(evidence.runs, [f"model.depth={hidden + 1}"])
        found = {}
        for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
            layers = evidence.layers(folder)
            start = layers[layers["step"] == 0].sort_values("layer")["mean_delta"].to_numpy()
            found[int(seed)] = float(start[hidden - 1] / start[0])
        return found

    return by_seed


def _nielsen_extreme(hidden: int, of: Callable[[Any], float]) -> Callable[[Evidence], BySeed]:
    """The least or the greatest such ratio over a training."""

    def by_seed(evidence: Evidence) -> BySeed:
        runs = where(evidence.runs, [f"model.depth={hidden + 1}"])
        found = {}
        for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
            layers = evidence.layers(folder).dropna(subset=["mean_delta"])
            table = layers.pivot(index="step", columns="layer", values="mean_delta")
            found[int(seed)] = of(table[hidden] / table[1])
        return found

    return by_seed


def _slope_over_chi(index: int) -> Callable[[Evidence], BySeed]:
    """Measured squared factor of the gradient over χ₁, at one point of the grid."""

    def by_seed(evidence: Evidence) -> BySeed:
        points = evidence.runs[["model.init_gain", "model.bias_std"]].drop_duplicates()
        gain, biases = points.sort_values(["model.init_gain", "model.bias_std"]).to_numpy()[index]
        runs = evidence.runs
        runs = runs[(runs["model.init_gain"] == gain) & (runs["model.bias_std"] == biases)]
        q = fixed_point("tanh", gain**2, biases**2)  # 1/fan_in times the gain's square
        chi_1 = chi("tanh", q, gain**2)
        squared = runs.set_index("seed")["gradient_factor_init"] ** 2 / chi_1
        return {int(s): float(v) for s, v in zip(squared.index, squared, strict=True)}

    return by_seed


def _best_rate(evidence: Evidence, norm: str) -> float:
    """The learning rate with the best final test accuracy on average; a diverged run has none."""
    runs = where(evidence.runs, [f"norm={norm}"])
    scores = runs["test_acc"].where(runs["status"] == "finished", 0.0)
    means = scores.groupby(runs["optimizer.lr"]).mean()
    return float(means.index.to_numpy()[means.argmax()])


def _best_rate_of(norm: str) -> Callable[[Evidence], BySeed]:
    def by_seed(evidence: Evidence) -> BySeed:
        rate = _best_rate(evidence, norm)
        return {int(seed): rate for seed in evidence.runs["seed"].unique()}

    return by_seed


def _share_of_steps(evidence: Evidence) -> BySeed:
    """The share of the steps after which BatchNorm has the baseline's final test accuracy."""
    curves = {}
    for norm in ("none", "bn"):
        rate = _best_rate(evidence, norm)
        runs = where(evidence.runs, [f"norm={norm}"])
        runs = runs[runs["optimizer.lr"] == rate]
        for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
            curves[norm, int(seed)] = evidence.metrics(folder)
    found = {}
    for seed in {seed for _, seed in curves}:
        if ("none", seed) not in curves or ("bn", seed) not in curves:
            continue
        baseline, bn = curves["none", seed], curves["bn", seed]
        final = baseline["test_acc"].iloc[-1]
        reached = bn.loc[bn["test_acc"] >= final, "step"]
        share = reached.iloc[0] / baseline["step"].iloc[-1] if len(reached) else math.inf
        found[seed] = float(share)
    return found


def _at_the_edge(evidence: Evidence) -> BySeed:
    rates = evidence.runs["optimizer.lr"]
    edges = {float(rates.min()), float(rates.max())}
    count = sum(_best_rate(evidence, norm) in edges for norm in ("none", "bn"))
    return {int(seed): float(count) for seed in evidence.runs["seed"].unique()}


def _reached(evidence: Evidence) -> BySeed:
    return {seed: float(share <= 1) for seed, share in _share_of_steps(evidence).items()}


def _largest_rate(norm: str) -> Callable[[Evidence], BySeed]:
    """The largest learning rate at which a net ends above half of train accuracy."""

    def by_seed(evidence: Evidence) -> BySeed:
        runs = where(evidence.runs, [f"norm={norm}"])
        usable = runs[(runs["status"] == "finished") & (runs["train_acc"] > USABLE_ACCURACY)]
        largest = usable.groupby("seed")["optimizer.lr"].max()
        return {int(seed): float(largest.get(seed, math.nan)) for seed in runs["seed"].unique()}

    return by_seed


def _rate_ratio(evidence: Evidence) -> BySeed:
    """NaN where the net without norm learns at no rate, or still at the largest of the grid."""
    bn, none = _largest_rate("bn")(evidence), _largest_rate("none")(evidence)
    top = float(evidence.runs["optimizer.lr"].max())
    known = {seed: rate if rate < top else math.nan for seed, rate in none.items()}
    return {seed: bn[seed] / known[seed] for seed in bn if seed in known}


def _shallow_plain(evidence: Evidence) -> DataFrame:
    runs = evidence.runs[~evidence.runs["model.residual"].astype(bool)]
    shallow: DataFrame = runs[runs["model.depth"] == runs["model.depth"].min()]
    return shallow


def _growth(evidence: Evidence) -> BySeed:
    """|train error of the grown net − of the trained shallow net|."""
    from normlab.claims.demonstrations import grown_error

    depth = int(
        evidence.runs.loc[~evidence.runs["model.residual"].astype(bool), "model.depth"].max()
    )
    found = {}
    runs = _shallow_plain(evidence)
    for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
        errors = grown_error(Path(folder), depth)
        found[int(seed)] = abs(errors["grown"] - errors["shallow"])
    return found


def _drift(*filters: str) -> Callable[[Evidence], BySeed]:
    """How far a layer's distribution moves between snapshots, in its standard deviations.

    Mean over hidden layers and snapshots after the first of |change of act_mean| / act_std.
    """

    def by_seed(evidence: Evidence) -> BySeed:
        runs = where(evidence.runs, filters)
        found = {}
        for seed, folder in zip(runs["seed"], runs["folder"], strict=True):
            layers = evidence.layers(folder).dropna(subset=["act_mean"])
            layers = layers[layers["layer"] < layers["layer"].max()]
            means = layers.pivot(index="step", columns="layer", values="act_mean")
            spreads = layers.pivot(index="step", columns="layer", values="act_std")
            moved = means.diff().abs() / spreads.where(spreads > 0)
            found[int(seed)] = float(np.nanmean(moved.iloc[1:].to_numpy()))
        return found

    return by_seed


def _same_sign(expression: str) -> Callable[[Evidence], BySeed]:
    """1 for a seed in which an expression is above 0, else 0."""
    return lambda evidence: {
        seed: float(value > 0) for seed, value in evaluate(expression, evidence).items()
    }


# --------------------------------------------------------------------------------- gates

# Calibrated (C06 to C10), or fixed before the final runs and never widened. Pilots, which a claim
# quotes, were on seeds 100–102, which the final runs do not use; C09-paper had none.
GATES: dict[str, dict[str, tuple[float, float]]] = {
    "C01": {
        "|Σ softmax − 1|": (-INF, 1e-6),
        "|∇ logsumexp − softmax|": (-INF, 1e-5),
        "|softmax(a, 0) − logistic(a)|": (-INF, 1e-6),
        "least weight": (0, INF),
    },
    "C02": {
        "largest weight of padding, fp32": (0, 0),
        "largest weight of padding, fp64": (0, 0),
        "all-padded row, distance from uniform, fp32": (-INF, 1e-7),
        "share of NaN in an all-padded row, fp16": (1, 1),
        "masked_softmax: largest weight of padding": (0, 0),
        "masked_softmax: values or gradients not finite": (0, 0),
    },
    "C03": {
        "|mean| of a BN feature": (-INF, 1e-5),
        "|mean| of an LN sample": (-INF, 1e-5),
        "|BN(X) − LN(Xᵀ)ᵀ|": (-INF, 1e-5),
        "|variance − v/(v+ε)|": (-INF, 1e-5),
    },
    "C04": {"error with γ=√(Var+ε)": (-INF, 1e-5)},
    "C05": {"|BN(10Wx) − BN(Wx)|": (-INF, 1e-6), "∂L/∂W at 10W over at W": (0.099, 0.101)},
    "C06": {
        "2 hidden layers, last/first": (4, 6),
        "3 hidden layers, last/first": (18, 30),
        "4 hidden layers, last/first": (80, 170),
    },
    "C07": {"4 hidden layers, last/first": (6, 20)},
    "C08": {
        "R without norm": (-INF, 1e-8),
        "R with BN": (0.05, 20),
        "R residual without norm": (0.1, 30),
        "R with LN": (-INF, 1e-4),
    },
    "C09": {"δ per layer, He": (0.97, 1.03), "δ per layer, 1/n": (0.687, 0.727)},
    # Paper scale: He et al. say converges and stalls; a net that stalls stays at chance, 10 %.
    "C09-paper": {"train accuracy, He": (0.5, INF), "train accuracy, Xavier": (-INF, 0.2)},
    "C10": {
        "δ² per layer, B=512": (1.467 * 0.97, 1.467 * 1.03),
        "δ² per layer, B=128": (1.467 * 0.97, 1.467 * 1.03),
        "δ² per layer, B=32 above B=512": (0, INF),
        "δ² per layer, B=8 above B=32": (0, INF),
    },
    "C11": {
        "slope²/χ₁ at σ_w²=1.5, σ_b²=.05": (0.95, 1.05),
        "slope²/χ₁ at σ_w²=1.76, σ_b²=.05": (0.95, 1.05),
        "slope²/χ₁ at σ_w²=4, σ_b²=0": (0.95, 1.05),
        "slope²/χ₁ at σ_w²=4, σ_b²=.05": (0.95, 1.05),
    },
    "C12": {"share of the steps that BN needs": (-INF, 0.5)},
    "C13": {"largest learning rate, BN over none": (4, INF)},
    "C14": {
        "train error, plain deep − shallow": (DEGRADED_SPEED, INF),
        "seeds with this sign": (1, 1),
    },
    "C14-paper": {
        "train error, plain deep − shallow": (DEGRADED_ASYMPTOTE, INF),
        "seeds with this sign": (1, 1),
    },
    "C15": {
        "R at init, least seed": (VANISHING_RATIO, INF),
        "R after epoch 1, least seed": (VANISHING_RATIO, INF),
        "R after epoch 1, greatest seed": (-INF, EXPLODING_RATIO),
        # Trap 6: activations that became alike stop a net too.
        "cosine of samples after epoch 1": (-INF, COLLAPSED_COSINE),
    },
    "C16": {"train error, grown − shallow": (-INF, 0.001)},
    "C17": {
        "train error, residual deep − shallow": (-INF, 0),
        "train error, residual − plain, deep": (-INF, -1e-12),
    },
    "C17-paper": {
        "train error, residual deep − shallow": (-INF, 0),
        "train error, residual 110 − shallow": (-INF, 0),
        "train error, residual − plain, deep": (-INF, -1e-12),
    },
    "C18": {
        "BN error, B=2 − B=32": (0.02, INF),
        "GN error, B=2 − B=32": (-INF, 0.01),
        "LN error, B=2 − B=32": (-INF, 0.01),
    },
    # ×2: a pilot on seeds 100–102 gave 1.972, 2.019, 2.054 with 1024 units; R² is science's.
    "C20": {"no norm, variance per block": (1.9, 2.1), "BN, straightness R²": (0.98, INF)},
}


def _measure(
    claim: str,
    name: str,
    by_seed: str | Callable[[Evidence], BySeed],
    statistic: Statistic = "mean",
    form: Form = "number",
    confounds: bool = False,
) -> Measure:
    """A measure with its gate from the table, if it has one."""
    return Measure(name, by_seed, GATES.get(claim, {}).get(name), statistic, form, confounds)


def _deeper(residual: str, shallow: int, deep: int) -> str:
    """By how much the deeper net's train error is higher."""
    shallower, deeper = (
        f'train_acc("model.residual={residual}", "model.depth={depth}")'
        for depth in (shallow, deep)
    )
    return f"{shallower} - {deeper}"


def _c14_measures(claim: str) -> tuple[Measure, ...]:
    gap = _deeper("false", 20, 56)
    return (
        _measure(claim, "train error, plain deep − shallow", gap, form="points"),
        _measure(claim, "seeds with this sign", _same_sign(gap), form="count"),
        *(_c15_measures()),
    )


def _c15_measures() -> tuple[Measure, ...]:
    deep = '("model.residual=false", "model.depth=56")'
    init, epoch = f"gradient_ratio_init{deep}", f"gradient_ratio_first_epoch{deep}"
    return (
        _measure("C15", "R at init, least seed", init, "min", confounds=True),
        _measure("C15", "R after epoch 1, least seed", epoch, "min", confounds=True),
        _measure("C15", "R after epoch 1, greatest seed", epoch, "max", confounds=True),
        _measure(
            "C15",
            "cosine of samples after epoch 1",
            f"sample_cosine_first_epoch{deep}",
            "max",
            confounds=True,
        ),
    )


def _c17_measures(claim: str) -> tuple[Measure, ...]:
    names = {56: "train error, residual deep − shallow", 110: "train error, residual 110 − shallow"}
    depths = (56, 110) if claim == "C17-paper" else (56,)
    return (
        *(
            _measure(claim, names[deep], _deeper("true", 20, deep), form="points")
            for deep in depths
        ),
        _measure(
            claim,
            "train error, residual − plain, deep",
            'train_acc("model.residual=false", "model.depth=56")'
            ' - train_acc("model.residual=true", "model.depth=56")',
            form="points",
        ),
    )


_C16 = (_measure("C16", "train error, grown − shallow", _growth, "max", "points"),)
_C06 = tuple(
    _measure(
        "C06", f"{hidden} hidden layers, last/first", _nielsen_ratio(hidden), "median", "times"
    )
    for hidden in (2, 3, 4)
)
_C08 = tuple(
    _measure("C08", name, f"gradient_ratio_init({filters})", "geomean")
    for name, filters in (
        ("R without norm", '"norm=none", "model.residual=false"'),
        ("R with BN", '"norm=bn"'),
        ("R residual without norm", '"norm=none", "model.residual=true"'),
        ("R with LN", '"norm=ln"'),
    )
)


def _rate(batch: int, depth: int = 30) -> str:
    return f'gradient_factor_init("probes.batch_size={batch}", "model.depth={depth}")**2'


_C10 = (
    _measure("C10", "δ² per layer, B=512", _rate(512), "geomean", "times"),
    _measure("C10", "δ² per layer, B=128", _rate(128), "geomean", "times"),
    _measure("C10", "δ² per layer, B=32 above B=512", f"{_rate(32)} - {_rate(512)}"),
    _measure("C10", "δ² per layer, B=8 above B=32", f"{_rate(8)} - {_rate(32)}"),
)
_C10_DEPTHS = tuple(
    Measure(f"δ² per layer, B=512, depth {depth}", _rate(512, depth), None, "geomean", "times")
    for depth in (10, 50)
)
_C12 = (
    _measure("C12", "share of the steps that BN needs", _share_of_steps),
    Measure("seeds in which BN gets there", _reached, form="count"),
    Measure("arms at their best at the grid's edge", _at_the_edge),
    Measure("best learning rate, none", _best_rate_of("none")),
    Measure("best learning rate, BN", _best_rate_of("bn")),
)
_C13 = (
    _measure("C13", "largest learning rate, BN over none", _rate_ratio, "geomean", "times"),
    Measure("largest learning rate, none", _largest_rate("none"), statistic="geomean"),
    Measure("largest learning rate, BN", _largest_rate("bn"), statistic="geomean"),
)
_C19 = tuple(
    measure
    for name, filters in (
        ("none", ("norm=none",)),
        ("BN", ("norm=bn", "norm.noise=0")),
        ("BN + noise", ("norm=bn", "norm.noise=0.5")),
    )
    for measure in (
        Measure(
            f"train accuracy, {name}",
            f"train_acc({', '.join(map(json.dumps, filters))})",
            form="points",
        ),
        Measure(f"drift of layers' means, {name}", _drift(*filters)),
    )
)


def _demonstrated(claim: str, figures: Mapping[str, tuple[str, Statistic]]) -> tuple[Measure, ...]:
    return tuple(
        _measure(claim, name, _figure(figure), statistic)
        for name, (figure, statistic) in figures.items()
    )


CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim(
            "C01",
            "softmax is what it is said to be",
            "Softmax maps real numbers to positive weights that sum to 1, generalizes the logistic "
            "function, and is the gradient of the categorical distribution's log-normalizer.",
            "definition",
            "∇ logsumexp = softmax; in floats a weight can be exactly 0 or 1",
            "torch.softmax of random logits with the sum, the logistic function and autograd's "
            "gradient of logsumexp, in float32.",
            "In floats a weight can be exactly 0 or 1, so positivity is of real numbers only.",
            Protocol(
                "6 400 random logits in rows of 100, 5 seeds",
                _demonstrated(
                    "C01",
                    {
                        "|Σ softmax − 1|": ("sum", "max"),
                        "|∇ logsumexp − softmax|": ("gradient", "max"),
                        "|softmax(a, 0) − logistic(a)|": ("logistic", "max"),
                        "least weight": ("least", "min"),
                    },
                ),
                demonstration="softmax",
            ),
        ),
        Claim(
            "C02",
            "padding filled with −2³²+1 gets no weight",
            "Padding positions filled with −2³²+1 get weight 0 after softmax.",
            "the source text",
            "true where a row keeps a position and numbers have 32 bits or more",
            "The fill in fp16, fp32 and fp64 with the library's masked_softmax.",
            "A row that is all padding becomes uniform, and in fp16, where the fill is −∞, NaN.",
            Protocol(
                "64 rows of 20 with random padding, one of them all padding, 5 seeds",
                _demonstrated(
                    "C02",
                    {
                        "largest weight of padding, fp32": ("fill_float32", "max"),
                        "largest weight of padding, fp64": ("fill_float64", "max"),
                        "all-padded row, distance from uniform, fp32": ("uniform_float32", "max"),
                        "share of NaN in an all-padded row, fp16": ("fill_nan_float16", "min"),
                        "masked_softmax: largest weight of padding": ("own", "max"),
                        "masked_softmax: values or gradients not finite": ("own_broken", "max"),
                    },
                ),
                demonstration="padding",
            ),
        ),
        Claim(
            "C03",
            "BN is vertical, LN horizontal",
            "BatchNorm makes each feature's mean over the batch 0 and its variance 1; LayerNorm "
            "does so for each sample over its features.",
            "Ioffe & Szegedy 2015; Ba et al. 2016",
            "mean 0, variance 1",
            "Means and variances along both axes, and BN(X) with LN(Xᵀ)ᵀ, without γ and β.",
            "The variance is v/(v+ε), not 1: features of small variance stay below it.",
            Protocol(
                "X of 128 × 64 with variances from 4e-4 to 400, float64, 5 seeds",
                _demonstrated(
                    "C03",
                    {
                        "|mean| of a BN feature": ("mean", "max"),
                        "|mean| of an LN sample": ("row_mean", "max"),
                        "|BN(X) − LN(Xᵀ)ᵀ|": ("transpose", "max"),
                        "|variance − v/(v+ε)|": ("variance", "max"),
                        "least variance of a BN feature": ("least_variance", "min"),
                    },
                ),
                demonstration="statistics",
            ),
        ),
        Claim(
            "C04",
            "γ and β can undo the normalization",
            "With γ the standard deviation and β the mean, BatchNorm is the identity.",
            "Ioffe & Szegedy 2015, section 3",
            "γ = √Var, β = E recovers the input",
            "BN(x) with x for γ = √(Var+ε), and for the paper's γ = √Var.",
            "It is exact only with ε inside: the paper's own γ is off where variances are near ε.",
            Protocol(
                "X of 256 × 64 with deviations from .01 to 1, float32, 5 seeds",
                _demonstrated(
                    "C04",
                    {
                        "error with γ=√(Var+ε)": ("exact", "max"),
                        "error with γ=√Var": ("naive", "max"),
                    },
                ),
                demonstration="identity",
            ),
        ),
        Claim(
            "C05",
            "BN does not see the scale of weights",
            "BN(aWx) = BN(Wx), and the gradient by larger weights is smaller: ∂/∂(aW) = (1/a) "
            "∂/∂W.",
            "Ioffe & Szegedy 2015, section 3.3",
            "invariant to the scale of W",
            "Output and ∂L/∂W behind W and 10W, ε → 0.",
            "Hence ‖∂L/∂W‖ is no measure of learning speed under BN; compare update_ratio.",
            Protocol(
                "a layer of 32 → 16 on 128 samples, float64, 5 seeds",
                _demonstrated(
                    "C05",
                    {
                        "|BN(10Wx) − BN(Wx)|": ("output", "max"),
                        "∂L/∂W at 10W over at W": ("gradient", "mean"),
                    },
                ),
                demonstration="invariance",
            ),
        ),
        Claim(
            "C06",
            "early layers of a sigmoid net learn slower",
            "In a sigmoid network of four hidden layers the first learns about 100 times slower "
            "than the fourth.",
            "Nielsen 2015, chapter 5",
            "last/first 4.7, 23.9 and 95.8 with 2, 3 and 4 hidden layers, in one network each",
            "‖mean over samples of δ‖ of the last with that of the first hidden layer, his "
            "weights, biases, loss and images.",
            "His 100× is for weights of variance 1/fan_in and biases of variance 1, and for his "
            "measure, in which samples cancel; C07 is the control.",
            Protocol(
                "at initialization, 1000 MNIST images, 30 seeds",
                _C06,
                "C06",
                seconds=20,
            ),
            Protocol(
                "500 epochs of full-batch gradient descent, 30 seeds",
                (
                    *_C06,
                    Measure(
                        "4 hidden layers, least of 500 epochs",
                        _nielsen_extreme(4, min),
                        None,
                        "median",
                        "times",
                    ),
                    Measure(
                        "4 hidden layers, greatest",
                        _nielsen_extreme(4, max),
                        None,
                        "median",
                        "times",
                    ),
                    Measure(
                        "train accuracy, 4 hidden layers",
                        'train_acc("model.depth=5")',
                        form="points",
                    ),
                ),
                "C06-paper",
                seconds=240,
            ),
            "normlab run experiment=C06 model.depth=5 seed=0",
        ),
        Claim(
            "C07",
            "… but not with weights of variance 1",
            "With weights ~ N(0, 1) the same network's ratio is about 10, not 100.",
            "control",
            "about 10 in pilot runs; not in the book",
            "The same as C06 with another initialization.",
            "Quoting the 100× without its initialization.",
            Protocol(
                "at initialization, 4 hidden layers, 30 seeds",
                (
                    _measure(
                        "C07", "4 hidden layers, last/first", _nielsen_ratio(4), "median", "times"
                    ),
                ),
                "C07",
                seconds=10,
            ),
            arm="normlab run experiment=C07 seed=0",
        ),
        Claim(
            "C08",
            "BN and skips keep a sigmoid net's gradient, LN does not",
            "At depth 20 a sigmoid network's gradient vanishes at initialization; BatchNorm or "
            "skips keep it, LayerNorm does not.",
            "Ioffe & Szegedy 2015",
            "BatchNorm makes training with saturating nonlinearities possible",
            "R, the first over the last hidden layer's delta_rms, of four variants.",
            "LayerNorm does not rescue a deep sigmoid MLP: it does not centre over samples.",
            Protocol(
                "depth 20, width and batch 256, Gaussian images with random labels, 5 seeds",
                _C08,
                "C08",
                seconds=8,
            ),
            Protocol("depth 20, width and batch 1024, 5 seeds", _C08, "C08-paper", seconds=60),
            "normlab run experiment=C08 norm=ln",
        ),
        Claim(
            "C09",
            "rectifiers need weights of variance 2/n",
            "With weights of variance 2/n a deep ReLU network keeps its gradient; with 1/n every "
            "layer takes a factor √½.",
            "He et al. 2015a (rectifiers)",
            "a 30-layer net converges with 2/n and stalls with Xavier's initialization",
            "δ's factor per layer of the two initializations.",
            "Xavier's is not 1/n in general: it is 2/(fan_in + fan_out).",
            Protocol(
                "40 layers of 512 at initialization, 5 seeds",
                (
                    _measure(
                        "C09",
                        "δ per layer, He",
                        'gradient_factor_init("model.init=he_normal")',
                        "geomean",
                        "times",
                    ),
                    _measure(
                        "C09",
                        "δ per layer, 1/n",
                        'gradient_factor_init("model.init=lecun_normal")',
                        "geomean",
                        "times",
                    ),
                ),
                "C09",
                seconds=8,
            ),
            Protocol(
                "a plain CNN-32 without norm on CIFAR-10, 20 epochs, 3 seeds",
                (
                    _measure(
                        "C09-paper",
                        "train accuracy, He",
                        'train_acc("model.init=he_normal")',
                        form="points",
                    ),
                    _measure(
                        "C09-paper",
                        "train accuracy, Xavier",
                        'train_acc("model.init=xavier_normal")',
                        form="points",
                    ),
                ),
                "C09-paper",
                seconds=math.nan,
                diverging=True,
            ),
            "normlab run experiment=C09 model.init=lecun_normal",
        ),
        Claim(
            "C10",
            "BN without skips explodes at initialization",
            "Without skips, BatchNorm makes a ReLU network's squared gradient grow by π/(π−1) = "
            "1.467 a layer at initialization, more at small batches.",
            "Yang et al. 2019, theorem 8",
            "π/(π−1) as B → ∞",
            "The squared factor per layer at four batch sizes.",
            "0.9³⁰ ≈ 0.04 is about vanishing; with BatchNorm the danger at the start is the "
            "opposite.",
            Protocol("30 layers of 512 at initialization, 5 seeds", _C10, "C10", seconds=12),
            Protocol(
                "depths 10, 30, 50, width 1024, 5 seeds",
                (*_C10, *_C10_DEPTHS),
                "C10-paper",
                seconds=120,
            ),
            "normlab run experiment=C10 probes.batch_size=8",
        ),
        Claim(
            "C11",
            "χ₁ predicts the gradient's slope",
            "Mean-field theory's χ₁ is the factor of the squared gradient from layer to layer.",
            "Schoenholz et al. 2017",
            "gradients shrink or grow as χ₁ to the power of the depth",
            "Measured squared factor per layer with χ₁ = σ_w² E[φ′(√q* u)²], of tanh networks.",
            "χ₁ is of the squared gradient; δ itself goes as √χ₁.",
            Protocol(
                "50 layers of 256, 4 points around the critical line, 5 seeds",
                tuple(
                    _measure("C11", name, _slope_over_chi(index), "geomean", "times")
                    for index, name in enumerate(GATES["C11"])
                ),
                "C11",
                seconds=8,
            ),
            arm="normlab run experiment=C11 model.init_gain=2",
            pilot="seeds 100–102: .995, .998, 1.000, .999",
        ),
        Claim(
            "C12",
            "BN speeds a sigmoid net",
            "A sigmoid network with BatchNorm reaches the final accuracy of its twin without in at "
            "most half the steps.",
            "Ioffe & Szegedy 2015, 4.1",
            "the batch-normalized network trains faster and ends higher (Fig. 1a)",
            "Steps until BatchNorm first has the baseline's final test accuracy, each arm at the "
            "best of equal learning rates.",
            "The paper states no learning rate: each arm gets the same grid, wide enough that the "
            "best is not at its edge (a pilot up to 3 had both arms best at 3).",
            Protocol(
                "12 000 binary MNIST images, 2000 steps of 60 (paper: 60 000 and 50 000), 4 rates, "
                "5 seeds",
                _C12,
                "C12",
                seconds=100,
                diverging=True,
            ),
            Protocol(
                "all of MNIST, 50 000 steps, 4 rates, 3 seeds",
                _C12,
                "C12-paper",
                seconds=2400,
                diverging=True,
            ),
            "normlab run experiment=C12 norm=bn optimizer.lr=1",
            pilot=(
                "seeds 100–102, 20 000 images, rates .1 to 3: share .70, both arms best at 3, "
                "the grid's edge; the grid was moved up and the set made smaller for time"
            ),
        ),
        Claim(
            "C13",
            "BN allows a larger learning rate",
            "With BatchNorm the largest learning rate at which a network learns is at least 4 "
            "times as large.",
            "Bjorck et al. 2018",
            "BatchNorm's gain is a larger usable learning rate",
            "The largest of a grid of rates at which a seed ends above 50 % of train accuracy.",
            "A net at too large a rate may die rather than diverge: chance is no learning either.",
            Protocol(
                "CNN-8 on digits for ResNet-110 on CIFAR-10, 5 epochs, 10 rates by factors of "
                "2, 5 seeds",
                _C13,
                "C13",
                seconds=50,
                diverging=True,
            ),
            Protocol(
                "ResNet-110 on CIFAR-10, 3 epochs, 17 rates by factors of 2, 3 seeds",
                _C13,
                "C13-paper",
                seconds=math.nan,
                diverging=True,
            ),
            "normlab run experiment=C13 norm=none optimizer.lr=0.4",
            pilot="seeds 100–102: ×20",
        ),
        Claim(
            "C14",
            "deeper plain nets have a higher TRAIN error",
            "A deeper plain network ends with a higher training error than a shallower one, so it "
            "is not overfitting.",
            "He et al. 2015, Fig. 1 and 6",
            "train error 1.3 % at 20 layers, 5.9 % at 56 (read off the figure, ±.5) after 64 000 "
            "steps on CIFAR-10",
            "Final train error of plain nets of 20 and 56 layers with BatchNorm and He's "
            "initialization.",
            "A net whose gradients vanish, or whose samples' activations became alike, is not "
            "degraded: then the verdict is CONFOUNDED. 20 and 32 layers end too near each other.",
            Protocol(
                "speed: digits for CIFAR-10, width 8, 30 epochs with the rate going to 0, 5 seeds",
                _c14_measures("C14"),
                "C14",
                seconds=180,
            ),
            Protocol(
                "asymptote: CIFAR-10, width 16, 64 000 steps, 3 seeds",
                _c14_measures("C14-paper"),
                "C14-paper",
                seconds=math.nan,
            ),
            "normlab run experiment=C14 model.depth=56 model.residual=false",
            pilot="seeds 100–102: 56.8 pp, 3 of 3; R .030 to .103 after epoch 1",
        ),
        Claim(
            "C15",
            "… and it is not vanishing gradients",
            "The gradients of the deeper plain network neither vanish nor explode.",
            "He et al. 2015, 4.1",
            "backward signals exhibit healthy norms with BN",
            "R of the deep plain nets at initialization and after the first epoch, every seed.",
            "At initialization BN without skips explodes (C10) and then settles: only R above 0.01 "
            "is asked for there.",
            Protocol("the runs of C14", _c15_measures(), "C14", seconds=180),
            Protocol("the runs of C14", _c15_measures(), "C14-paper", seconds=math.nan),
            "normlab run experiment=C14 model.depth=56 model.residual=false",
            pilot="seeds 100–102: R 634 to 694 at init, .030 to .103 after epoch 1; cosine .93",
        ),
        Claim(
            "C16",
            "… nor missing capacity",
            "A deeper network that does as well exists: the shallow one with identity layers "
            "added.",
            "He et al. 2015, section 1",
            "a solution by construction",
            "Train error of the trained plain net of 20 layers with that of the same grown to 56 "
            "by identity layers.",
            "BN is the identity only with γ = √(Var+ε), β = E (C04).",
            Protocol("the shallow plain runs of C14, grown", _C16, "C14", seconds=180),
            Protocol("the shallow plain runs of C14, grown", _C16, "C14-paper", seconds=math.nan),
            "normlab run experiment=C14 model.depth=20 model.residual=false",
            pilot="seeds 100–102: 0 pp",
        ),
        Claim(
            "C17",
            "residual learning removes it",
            "With skips the deeper network's train error is no higher than the shallower one's, "
            "and lower than its plain twin's.",
            "He et al. 2015, Fig. 6",
            "train error .7 % at 20 layers, .1 % at 56 (read off the figure, ±.5)",
            "Final train error of the residual twins of C14, of equal parameters.",
            "A few epochs would show speed alone: the whole schedule is run.",
            Protocol("speed: the residual runs of C14", _c17_measures("C17"), "C14", seconds=180),
            Protocol(
                "asymptote: the residual runs of C14, and ResNet-110",
                _c17_measures("C17-paper"),
                "C14-paper",
                seconds=math.nan,
            ),
            "normlab run experiment=C14 model.depth=56 model.residual=true",
            pilot="seeds 100–102: +.02 and −56.7 pp",
        ),
        Claim(
            "C18",
            "BN suffers at small batches",
            "BatchNorm's error rises at small batches; GroupNorm's and LayerNorm's do not.",
            "Wu & He 2018",
            "ResNet-50 on ImageNet, 32 → 2 images: BN's error rises by about 11 points, GN's stays",
            "Test error at B = 2 less that at B = 32, equal epochs, rate proportional to B.",
            "An equal learning rate would compare rates, not batches.",
            Protocol(
                "ResNet-8 on 720 digits, 5 epochs, 5 seeds (paper: ResNet-50 on ImageNet)",
                tuple(
                    _measure(
                        "C18",
                        f"{norm.upper()} error, B=2 − B=32",
                        f'test_acc("norm={norm}", "training.batch_size=32")'
                        f' - test_acc("norm={norm}", "training.batch_size=2")',
                        form="points",
                    )
                    for norm in ("bn", "gn", "ln")
                ),
                "C18",
                seconds=120,
            ),
            arm="normlab run experiment=C18 norm=bn training.batch_size=2 optimizer.lr=0.00625",
            pilot=(
                "seeds 100–102: BN −.09, GN −2.9, LN −4.2 pp with 720 digits; BN +.4 pp with "
                "all 1437, which took too long"
            ),
        ),
        Claim(
            "C19",
            "it is internal covariate shift that BN cures",
            "BatchNorm works because it reduces the shift of layers' inputs during training.",
            "Ioffe & Szegedy 2015; contested by Santurkar et al. 2018",
            "Santurkar et al.: noise that shifts every layer at every step hardly hurts",
            "Train accuracy, and the drift of the layers' activation means between snapshots, of "
            "BN, BN with noise behind it, and no norm.",
            "Contested: figures without a verdict. The drift is of a layer's mean over all "
            "channels, in which shifts that differ by channel partly cancel.",
            Protocol("CNN-14 on digits for CIFAR-10, 15 epochs, 5 seeds", _C19, "C19", seconds=60),
            Protocol("CNN-20 on CIFAR-10, 30 epochs, 3 seeds", _C19, "C19-paper", seconds=math.nan),
            "normlab run experiment=C19 norm=bn norm.noise=0.5",
        ),
        Claim(
            "C20",
            "BN tames the residual stream",
            "Without norm each residual block doubles the variance at initialization; with BN in "
            "the branch it grows by 1 a block.",
            "De & Smith 2020",
            "BN shrinks the branch against the skip by about √depth",
            "The variance after each of 10 blocks h ← h + W₂φ(N(W₁φ(N(h)))).",
            "A branch that ends in a ReLU has a mean, and more than doubles.",
            Protocol(
                "10 pre-activation ReLU blocks of 1024 units, He's initialization, 5 seeds",
                (
                    _measure(
                        "C20", "no norm, variance per block", _figure("factor"), "geomean", "times"
                    ),
                    _measure("C20", "BN, straightness R²", _figure("straightness"), "min"),
                    Measure("BN, growth a block", _figure("increment")),
                ),
                demonstration="residual_stream",
                seconds=4,
            ),
            pilot=(
                "seeds 100–102: ×1.97 to ×2.05, from which the gate on ×2 was set; R² is "
                "science's .98"
            ),
        ),
    )
}
