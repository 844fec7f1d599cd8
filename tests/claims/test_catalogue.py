"""Normlab's own claims: every file reads, every gate is the frozen one, and no torch is needed."""

import math
import subprocess
import sys

import pytest

from normlab.analysis import DEGRADED_SPEED
from normlab.claims import CLAIMS, claim_ids
from normlab.config import config_folder, group_choices
from normlab.errors import ConfigError
from normlab.measurement import COLLAPSED_COSINE, EXPLODING_RATIO, VANISHING_RATIO

INF = math.inf
# Claim, scale, measure, low, high, statistic over the seeds: with another one it is another gate.
FROZEN = [
    ("C01", "small", "|Σ softmax − 1|", -INF, 1e-06, "max"),
    ("C01", "small", "|∇ logsumexp − softmax|", -INF, 1e-05, "max"),
    ("C01", "small", "|softmax(a, 0) − logistic(a)|", -INF, 1e-06, "max"),
    ("C01", "small", "least weight", 0, INF, "min"),
    ("C02", "small", "largest weight of padding, fp32", 0, 0, "max"),
    ("C02", "small", "largest weight of padding, fp64", 0, 0, "max"),
    ("C02", "small", "all-padded row, distance from uniform, fp32", -INF, 1e-07, "max"),
    ("C02", "small", "share of NaN in an all-padded row, fp16", 1, 1, "min"),
    ("C02", "small", "masked_softmax: largest weight of padding", 0, 0, "max"),
    ("C02", "small", "masked_softmax: values or gradients not finite", 0, 0, "max"),
    ("C03", "small", "|mean| of a BN feature", -INF, 1e-05, "max"),
    ("C03", "small", "|mean| of an LN sample", -INF, 1e-05, "max"),
    ("C03", "small", "|BN(X) − LN(Xᵀ)ᵀ|", -INF, 1e-05, "max"),
    ("C03", "small", "|variance − v/(v+ε)|", -INF, 1e-05, "max"),
    ("C04", "small", "error with γ=√(Var+ε)", -INF, 1e-05, "max"),
    ("C05", "small", "|BN(10Wx) − BN(Wx)|", -INF, 1e-06, "max"),
    ("C05", "small", "∂L/∂W at 10W over at W", 0.099, 0.101, "mean"),
    ("C06", "small", "2 hidden layers, last/first", 4, 6, "median"),
    ("C06", "small", "3 hidden layers, last/first", 18, 30, "median"),
    ("C06", "small", "4 hidden layers, last/first", 80, 170, "median"),
    ("C06", "paper", "2 hidden layers, last/first", 4, 6, "median"),
    ("C06", "paper", "3 hidden layers, last/first", 18, 30, "median"),
    ("C06", "paper", "4 hidden layers, last/first", 80, 170, "median"),
    ("C07", "small", "4 hidden layers, last/first", 6, 20, "median"),
    ("C08", "small", "R without norm", -INF, 1e-08, "geomean"),
    ("C08", "small", "R with BN", 0.05, 20, "geomean"),
    ("C08", "small", "R residual without norm", 0.1, 30, "geomean"),
    ("C08", "small", "R with LN", -INF, 0.0001, "geomean"),
    ("C08", "paper", "R without norm", -INF, 1e-08, "geomean"),
    ("C08", "paper", "R with BN", 0.05, 20, "geomean"),
    ("C08", "paper", "R residual without norm", 0.1, 30, "geomean"),
    ("C08", "paper", "R with LN", -INF, 0.0001, "geomean"),
    ("C09", "small", "δ per layer, He", 0.97, 1.03, "geomean"),
    ("C09", "small", "δ per layer, 1/n", 0.687, 0.727, "geomean"),
    ("C09", "paper", "train accuracy, He", 0.5, INF, "mean"),
    ("C09", "paper", "train accuracy, Xavier", -INF, 0.2, "mean"),
    ("C10", "small", "δ² per layer, B=512", 1.42299, 1.5110100000000002, "geomean"),
    ("C10", "small", "δ² per layer, B=128", 1.42299, 1.5110100000000002, "geomean"),
    ("C10", "small", "δ² per layer, B=32 above B=512", 0, INF, "mean"),
    ("C10", "small", "δ² per layer, B=8 above B=32", 0, INF, "mean"),
    ("C10", "paper", "δ² per layer, B=512", 1.42299, 1.5110100000000002, "geomean"),
    ("C10", "paper", "δ² per layer, B=128", 1.42299, 1.5110100000000002, "geomean"),
    ("C10", "paper", "δ² per layer, B=32 above B=512", 0, INF, "mean"),
    ("C10", "paper", "δ² per layer, B=8 above B=32", 0, INF, "mean"),
    ("C11", "small", "slope²/χ₁ at σ_w²=1.5, σ_b²=.05", 0.95, 1.05, "geomean"),
    ("C11", "small", "slope²/χ₁ at σ_w²=1.76, σ_b²=.05", 0.95, 1.05, "geomean"),
    ("C11", "small", "slope²/χ₁ at σ_w²=4, σ_b²=0", 0.95, 1.05, "geomean"),
    ("C11", "small", "slope²/χ₁ at σ_w²=4, σ_b²=.05", 0.95, 1.05, "geomean"),
    ("C12", "small", "share of the steps that BN needs, 80 %", -INF, 0.5, "median"),
    ("C12", "small", "share of the steps that BN needs, 90 %", 0.5, 1, "median"),
    ("C13", "small", "largest learning rate, BN over none", 4, INF, "geomean"),
    ("C13", "paper", "largest learning rate, BN over none", 4, INF, "geomean"),
    ("C14", "small", "train error, plain deep − shallow", 0.05, INF, "mean"),
    ("C14", "small", "seeds with this sign", 1, 1, "mean"),
    ("C14", "small", "R at init, least seed", 0.01, INF, "min"),
    ("C14", "small", "R from the end of epoch 1 on, least", 0.01, INF, "min"),
    ("C14", "small", "R from the end of epoch 1 on, greatest", -INF, 100.0, "max"),
    ("C14", "small", "cosine of samples after epoch 1", -INF, 0.99, "max"),
    ("C14", "paper", "train error, plain deep − shallow", 0.015, INF, "mean"),
    ("C14", "paper", "seeds with this sign", 1, 1, "mean"),
    ("C14", "paper", "R at init, least seed", 0.01, INF, "min"),
    ("C14", "paper", "R from the end of epoch 1 on, least", 0.01, INF, "min"),
    ("C14", "paper", "R from the end of epoch 1 on, greatest", -INF, 100.0, "max"),
    ("C14", "paper", "cosine of samples after epoch 1", -INF, 0.99, "max"),
    ("C15", "small", "R at init, least seed", 0.01, INF, "min"),
    ("C15", "small", "R from the end of epoch 1 on, least", 0.01, INF, "min"),
    ("C15", "small", "R from the end of epoch 1 on, greatest", -INF, 100.0, "max"),
    ("C15", "small", "cosine of samples after epoch 1", -INF, 0.99, "max"),
    ("C15", "paper", "R at init, least seed", 0.01, INF, "min"),
    ("C15", "paper", "R from the end of epoch 1 on, least", 0.01, INF, "min"),
    ("C15", "paper", "R from the end of epoch 1 on, greatest", -INF, 100.0, "max"),
    ("C15", "paper", "cosine of samples after epoch 1", -INF, 0.99, "max"),
    ("C16", "small", "train error, grown − shallow", -INF, 0.001, "max"),
    ("C16", "paper", "train error, grown − shallow", -INF, 0.001, "max"),
    ("C17", "small", "train error, residual deep − shallow", -INF, 0.005, "mean"),
    ("C17", "small", "train error, residual − plain, deep", -INF, -1e-12, "mean"),
    ("C17", "paper", "train error, residual deep − shallow", -INF, 0, "mean"),
    ("C17", "paper", "train error, residual 110 − shallow", -INF, 0, "mean"),
    ("C17", "paper", "train error, residual − plain, deep", -INF, -1e-12, "mean"),
    ("C18", "small", "BN error, B=4 − B=32", 0.02, INF, "mean"),
    ("C18", "small", "GN error, B=4 − B=32", -INF, 0.01, "mean"),
    ("C18", "small", "LN error, B=4 − B=32", -INF, 0.01, "mean"),
    ("C20", "small", "no norm, variance per block", 1.9, 2.1, "geomean"),
    ("C20", "small", "BN, straightness R²", 0.98, INF, "min"),
    ("C21", "small", "mask, LayerNorm", 0, 0, "max"),
    ("C21", "small", "mask, RMSNorm", 0, 0, "max"),
    ("C21", "small", "mask, BN over real tokens alone", 0, 0, "max"),
    ("C21", "small", "mask, BN over all tokens", 0.1, INF, "min"),
    ("C21", "small", "no mask, LayerNorm", 0.1, INF, "min"),
    ("C21", "small", "mask, LayerNorm, four times as much padding", -INF, 1e-06, "max"),
    ("C22", "small", "exponent, first layer", 2.98, 3.02, "mean"),
    ("C22", "small", "exponent, second layer", 2.98, 3.02, "mean"),
    ("C23", "small", "slope, queries", 0.95, 1.05, "mean"),
    ("C23", "small", "slope, keys", 0.95, 1.05, "mean"),
    ("C23", "small", "ratio at L=24, post-LN", -INF, 1e-04, "geomean"),
    ("C23", "small", "ratio at L=24, pre-LN", 0.01, INF, "geomean"),
    ("C23", "small", "ratio at L=24, DeepNorm", 0.1, INF, "geomean"),
    ("C24", "small", "slope, post-LN", -0.25, 0.25, "mean"),
    ("C24", "small", "slope, pre-LN", -0.65, -0.35, "mean"),
    ("C25", "small", "train accuracy, post-LN without warm-up", -INF, 0.5, "mean"),
    ("C25", "small", "what warm-up adds, post-LN", 0.4, INF, "mean"),
    ("C25", "small", "train accuracy, pre-LN without warm-up", 0.9, INF, "mean"),
    ("C26", "small", "variance of q·k over d, d=16", 0.95, 1.05, "mean"),
    ("C26", "small", "variance of q·k over d, d=64", 0.95, 1.05, "mean"),
    ("C26", "small", "variance of q·k over d, d=512", 0.95, 1.05, "mean"),
    ("C26", "small", "entropy over formula, s=¼√(2 ln n)", 0.98, 1.02, "mean"),
    ("C26", "small", "entropy over formula, s=½√(2 ln n)", 0.98, 1.02, "mean"),
    ("C26", "small", "rows with a weight above .99, d=512, without √d", 0.4, INF, "mean"),
    ("C26", "small", "the same with √d", 0, 0, "max"),
    ("C27", "small", "train error, plain, least over blocks", 0.5, INF, "min"),
    ("C27", "small", "train error, residual, median over blocks", -INF, 0.15, "max"),
    ("C28", "small", "plain, 24 layers", -0.2, 0.2, "mean"),
    ("C28", "small", "residual, 24 layers", 0.7, INF, "min"),
    ("C28", "small", "residual, branches times 1/√L", 0.9, INF, "min"),
    ("C28", "small", "branches times 1/√L above residual", 0, INF, "min"),
    ("C29", "small", "mean square per block, a = 1", 1.9, 2.1, "geomean"),
    ("C29", "small", "mean square, a = 1/√L", 2.42, 2.96, "geomean"),
    ("C29", "small", "mean square, a = 1/L", 1.01, 1.03, "geomean"),
    ("C29", "small", "mean square, a from 0 (SkipInit)", 1, 1, "mean"),
    ("C29", "small", "gradient, a = 1", 1e6, INF, "geomean"),
    ("C29", "small", "gradient, a = 1/√L", 1.48, 1.81, "geomean"),
    ("C29", "small", "gradient, a = 1/L", 1.0, 1.02, "geomean"),
    ("C29", "small", "gradient, a from 0 (SkipInit)", 1, 1, "mean"),
    ("C30", "small", "variance behind 10 blocks", 1.33, 1.47, "geomean"),
    ("C30", "small", "variance behind 25 blocks", 1.9, 2.1, "geomean"),
    ("C30", "small", "variance behind 50 blocks", 2.85, 3.15, "geomean"),
]


def test_every_gate_is_the_frozen_one():
    found = [
        (claim.id, scale, measure.name, *measure.gate, measure.statistic)
        for claim in CLAIMS.values()
        for scale in ("small", "paper")
        if (protocol := getattr(claim, scale))
        for measure in protocol.measures
        if measure.gate
    ]
    assert found == FROZEN


# The figures of demonstrations behind the gates, in FROZEN's order.
FIGURES = {
    "C01": ["sum", "gradient", "logistic", "least"],
    "C02": [
        *("fill_float32", "fill_float64", "uniform_float32", "fill_nan_float16"),
        *("own", "own_broken"),
    ],
    "C03": ["mean", "row_mean", "transpose", "variance"],
    "C04": ["exact"],
    "C05": ["output", "gradient"],
    "C20": ["factor", "straightness"],
    "C21": ["ln", "rms", "bn_masked", "bn", "no_mask", "ln_longer"],
    "C22": ["first_layer", "second_layer"],
    "C23": ["query", "key", "post", "pre", "deepnorm"],
    "C24": ["post", "pre"],
    "C26": [
        *("variance_16", "variance_64", "variance_512"),
        *("over_model_quarter", "over_model_half", "taken_unscaled", "taken_scaled"),
    ],
    "C28": ["plain_24", "residual_24", "scaled_24", "scaled_above_residual_24"],
    "C29": [
        *("gain_per_block_one", "gain_sqrt_depth", "gain_depth", "gain_skipinit"),
        *("gradient_one", "gradient_sqrt_depth", "gradient_depth", "gradient_skipinit"),
    ],
    "C30": ["10", "25", "50"],
}


def test_every_gate_of_a_demonstration_is_of_its_figure():
    """What holds of one figure may hold of another: no verdict would tell them apart."""
    found = {
        claim.id: [measure.arguments["figure"] for measure in claim.small.measures if measure.gate]
        for claim in CLAIMS.values()
        if claim.small.demonstration and claim.id != "C32"  # which is reported
    }
    assert found == FIGURES


def test_gates_of_degradation_are_the_diagnoses():
    bounds = {(c, s, name): (low, high) for c, s, name, low, high, _ in FROZEN}
    gap = "train error, plain deep − shallow"
    assert bounds["C14", "small", gap] == (DEGRADED_SPEED, INF)
    assert bounds["C14", "paper", gap] == (0.015, INF)
    for scale in ("small", "paper"):
        from_epoch_1 = "R from the end of epoch 1 on"
        assert bounds["C15", scale, f"{from_epoch_1}, least"] == (VANISHING_RATIO, INF)
        assert bounds["C15", scale, f"{from_epoch_1}, greatest"] == (-INF, EXPLODING_RATIO)
    assert bounds["C15", "small", "cosine of samples after epoch 1"] == (-INF, COLLAPSED_COSINE)


def test_there_are_thirty_two_claims_of_which_three_have_no_gate():
    assert list(CLAIMS) == list(claim_ids()) == [f"C{i:02}" for i in range(1, 33)]
    assert len(CLAIMS) == 32
    assert all(CLAIMS[name].id == name for name in CLAIMS)
    gated = [c.id for c in CLAIMS.values() if any(m.gate for m in c.small.measures)]
    assert [c for c in CLAIMS if c not in gated] == ["C19", "C31", "C32"]
    assert "C33" not in CLAIMS
    with pytest.raises(KeyError):
        CLAIMS["C33"]


def test_what_confounds_degradation_is_measured_like_c15():
    for scale in ("small", "paper"):
        own = CLAIMS["C15"].protocol(scale).measures
        assert CLAIMS["C14"].protocol(scale).measures[-len(own) :] == own
        assert all(measure.confounds for measure in own)


def test_claims_are_no_config_group():
    assert (config_folder() / "claim" / "C01.yaml").is_file()
    assert "claim" not in group_choices()


def loaded_by(statement):
    heavy = ("torch", "pandas", "numpy", "pydantic", "yaml", "hydra")
    code = f"import sys\n{statement}\nprint(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_ids_need_no_heavy_package_and_claims_no_torch():
    ids = "from normlab.claims import CLAIMS, claim_ids; claim_ids(), list(CLAIMS)"
    assert loaded_by(ids) == []
    read = (
        "from normlab.claims import *; [c.title for c in CLAIMS.values()]; find_claims, judge_runs"
    )
    assert "torch" not in loaded_by(read)


def test_a_protocol_that_a_claim_lacks_is_refused():
    with pytest.raises(ConfigError, match="C01: has no protocol at --scale paper"):
        CLAIMS["C01"].protocol("paper")
