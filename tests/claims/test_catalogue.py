"""normlab's own claims as they are committed: their files, and the gates that were frozen."""

import math

import pytest

from normlab.claims import CLAIMS, claim_ids
from normlab.claims.claim import read_claim
from normlab.config import config_folder, group_choices

INF = math.inf
# Written by hand: a gate that moves fails here. "-paper" where the two scales differ.
GATES = {
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
        "δ² per layer, B=512": (1.42299, 1.5110100000000002),
        "δ² per layer, B=128": (1.42299, 1.5110100000000002),
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
        "train error, plain deep − shallow": (0.05, INF),
        "seeds with this sign": (1, 1),
    },
    "C14-paper": {
        "train error, plain deep − shallow": (0.015, INF),
        "seeds with this sign": (1, 1),
    },
    "C15": {
        "R at init, least seed": (0.01, INF),
        "R after epoch 1, least seed": (0.01, INF),
        "R after epoch 1, greatest seed": (-INF, 100),
        # Trap 6: activations that became alike stop a net too.
        "cosine of samples after epoch 1": (-INF, 0.99),
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


def gates(claim):
    for scale in ("small", "paper"):
        protocol = claim.small if scale == "small" else claim.paper
        for measure in protocol.measures if protocol else ():
            if measure.gate:
                yield scale, measure


def frozen(identity, scale, name):
    for key in (f"{identity}-{scale}", identity, "C15"):
        if name in GATES.get(key, {}):
            return GATES[key][name]
    raise AssertionError(f"{identity}, {name}: a gate that was not frozen")


@pytest.mark.parametrize("identity", claim_ids())
def test_gates_are_the_frozen_ones(identity):
    for scale, measure in gates(CLAIMS[identity]):
        assert measure.gate == frozen(identity, scale, measure.name), measure.name


def test_every_frozen_gate_is_used():
    used = {measure.name for claim in CLAIMS.values() for _, measure in gates(claim)}
    assert used == {name for frozen_gates in GATES.values() for name in frozen_gates}


def test_there_are_twenty_and_one_is_only_reported():
    assert list(CLAIMS) == claim_ids() == [f"C{i:02}" for i in range(1, 21)]
    gated = [name for name, claim in CLAIMS.items() if any(m.gate for m in claim.small.measures)]
    assert [name for name in CLAIMS if name not in gated] == ["C19"]


def test_the_folder_of_claims_is_no_group_of_settings():
    assert "claim" not in group_choices()


def test_a_full_claim_of_ones_own_is_read_like_normlabs(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text((config_folder() / "claim" / "C14.yaml").read_text(encoding="utf-8"))
    mine, own = read_claim(file), CLAIMS["C14"]
    assert (mine.id, mine.file) == ("mine", file)
    assert (mine.small, mine.paper) == (own.small, own.paper)
