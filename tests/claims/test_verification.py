"""Every claim on doctored results on both sides of its gates, and claims of a person's own."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.claims import (
    CLAIMS,
    Measure,
    as_rows,
    find_claims,
    grown_network,
    judge_runs,
    plan_claims,
    remember,
    remembered,
)
from normlab.claims.claim import read_claim
from normlab.claims.registries import DEMONSTRATIONS
from normlab.claims.verification import claim_grids
from normlab.config import compose_grids, grids, run_id
from normlab.errors import ConfigError
from normlab.runs import run_folder, to_json
from normlab.show import to_verdict_json, to_verdict_markdown
from normlab.show.terminal.claim_figures import gate_text

# ------------------------------------------------------------------ doctored run folders


def write_run(config, figures):
    """A run's folder as normlab writes it, with figures of our own."""
    folder = run_folder(config)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("metrics", "layers"):
        if name in figures:
            DataFrame(figures[name]).to_parquet(folder / f"{name}.parquet")
    scores = {key: value for key, value in figures.items() if key not in ("metrics", "layers")}
    summary = {
        "run_id": run_id(config),
        "name": "doctored",
        "status": "finished",
        "verdict": "trains",
        "reason": "",
        "seconds": 1.0,
        "steps": 1,
        **scores,
        "config": config.model_dump(mode="json"),
    }
    (folder / "summary.json").write_text(to_json(summary))


_configs = {}


def configs_of(claim, scale, root):
    """A claim's real runs of three seeds, in the results folder of this test; composed once."""
    if (claim.id, scale) not in _configs:
        every = compose_grids(claim_grids(claim, scale))
        _configs[claim.id, scale] = [config for config in every if config.seed < 3]
    return [
        config.model_copy(update={"output": config.output.model_copy(update={"root": str(root)})})
        for config in _configs[claim.id, scale]
    ]


def doctored(name, figures, root, scale="small"):
    """The verdict of a claim whose runs have the figures that `figures(config)` says."""
    claim = CLAIMS[name]
    configs = configs_of(claim, scale, root)
    for config in configs:
        write_run(config, figures(config))
    return judge_runs(claim, scale, configs)


def deltas(*mean_delta):
    """layers.parquet of a snapshot at step 0, the output layer last."""
    return [
        {"step": 0, "layer": i, "name": f"hidden{i}", "kind": "linear", "mean_delta": value}
        for i, value in enumerate([*mean_delta, 1.0], start=1)
    ]


def nielsen(**ratios):
    """Runs whose last hidden layer has so many times the first one's mean δ, by depth."""

    def figures(config):
        hidden = config.model.depth - 1
        ratio = ratios.get(f"h{hidden}", {2: 4.7, 3: 24, 4: 100}[hidden])
        return {"layers": deltas(0.01, *[0.02] * (hidden - 2), 0.01 * ratio)}

    return figures


def at_init(**factors):
    """C08: R by variant."""
    usual = {"none": 1e-12, "bn": 0.7, "skip": 3.0, "ln": 1e-8} | factors

    def figures(config):
        return {"gradient_ratio_init": usual["skip" if config.model.residual else config.norm.name]}

    return figures


def factor_by_init(he=1.0, lecun=0.7071):
    def figures(config):
        return {"gradient_factor_init": he if config.model.init == "he_normal" else lecun}

    return figures


def factor_by_batch(**squared):
    usual = {"b8": 1.79, "b32": 1.52, "b128": 1.465, "b512": 1.458} | squared

    def figures(config):
        return {"gradient_factor_init": math.sqrt(usual[f"b{config.probes.batch_size}"])}

    return figures


def factor_by_chi(**shares):
    """C11: the squared factor as a share of χ₁, whose values are science's."""
    chi_1 = {(1.32665, 0.223607): 1.0, (1.224745, 0.223607): 0.939}
    chi_1 |= {(2.0, 0.223607): 1.342, (2.0, 0.0): 1.363}

    def figures(config):
        point = (config.model.init_gain, config.model.bias_std)
        name = f"g{point[0]:.4g}b{bool(point[1]):d}".replace(".", "_")
        return {"gradient_factor_init": math.sqrt(chi_1[point] * shares.get(name, 1.0))}

    return figures


def curves(bn=(0.1, 0.95, 0.95, 0.95, 0.95), none=(0.1, 0.5, 0.7, 0.8, 0.9), best=1.0):
    """C12: test accuracy at 0, 25, 50, 75 and 100 % of the steps; worse at other rates."""

    def figures(config):
        curve = bn if config.norm.name == "bn" else none
        off = 0.0 if config.optimizer.lr == best else 0.3
        rows = [{"step": 100 * i, "test_acc": a - off} for i, a in enumerate(curve)]
        return {"metrics": rows, "test_acc": curve[-1] - off}

    return figures


def usable(bn, none):
    """C13: learns up to these rates, and diverges or is dead above."""

    def figures(config):
        most = bn if config.norm.name == "bn" else none
        if config.optimizer.lr <= most:
            return {"train_acc": 0.9}
        diverges = config.optimizer.lr > 2 * most
        return {"status": "diverged", "train_acc": 0.9} if diverges else {"train_acc": 0.1}

    return figures


def oddly(usual, odd, seed=2):
    """One seed's figures are others."""
    return lambda config: (odd if config.seed == seed else usual)(config)


def degradation(
    p20=0.013, p56=0.2, r20=0.007, r56=0.001, init=1.0, epoch=1.0, cosine=0.5, odd=None, r110=0.001
):
    """C14, C15, C17: train errors by depth and form; `odd` is the shallow error of seed 2."""

    def figures(config):
        deep, skip = config.model.depth == 56, config.model.residual
        error = (r56 if deep else r20) if skip else (p56 if deep else p20)
        if config.model.depth == 110:
            error = r110
        if odd is not None and config.seed == 2 and not deep and not skip:
            error = odd
        return {
            "train_acc": 1 - error,
            "gradient_ratio_init": init,
            "gradient_ratio_first_epoch": epoch,
            "sample_cosine_first_epoch": cosine,
        }

    return figures


def small_batch(**rises):
    """C18: by how much the test error rises from B = 32 to 2, by norm."""
    usual = {"bn": 0.11, "gn": 0.0, "ln": 0.002} | rises

    def figures(config):
        rise = usual[config.norm.name] if config.training.batch_size == 2 else 0.0
        return {"test_acc": 0.9 - rise}

    return figures


CASES = [
    ("C06", nielsen(), "PASS"),
    ("C06", nielsen(h2=3.9), "FAIL"),
    ("C06", nielsen(h2=6.1), "FAIL"),
    ("C06", nielsen(h3=17.9), "FAIL"),
    ("C06", nielsen(h3=30.1), "FAIL"),
    ("C06", nielsen(h4=79), "FAIL"),
    ("C06", nielsen(h4=171), "FAIL"),
    ("C06", oddly(nielsen(), nielsen(h4=1e5)), "PASS"),  # a median
    ("C07", nielsen(h4=10), "PASS"),
    ("C07", nielsen(h4=5.9), "FAIL"),
    ("C07", nielsen(h4=20.1), "FAIL"),
    ("C08", at_init(), "PASS"),
    ("C08", at_init(none=1.1e-8), "FAIL"),
    ("C08", at_init(bn=0.04), "FAIL"),
    ("C08", at_init(bn=21), "FAIL"),
    ("C08", at_init(skip=0.09), "FAIL"),
    ("C08", at_init(skip=31), "FAIL"),
    ("C08", at_init(ln=1.1e-4), "FAIL"),
    ("C09", factor_by_init(), "PASS"),
    ("C09", factor_by_init(he=0.96), "FAIL"),
    ("C09", factor_by_init(he=1.04), "FAIL"),
    ("C09", factor_by_init(lecun=0.68), "FAIL"),
    ("C09", factor_by_init(lecun=0.73), "FAIL"),
    ("C09", oddly(factor_by_init(), factor_by_init(he=1.3)), "FAIL"),
    ("C10", factor_by_batch(), "PASS"),
    ("C10", factor_by_batch(b128=1.467 * 1.031), "FAIL"),
    ("C10", factor_by_batch(b128=1.467 * 0.969), "FAIL"),
    ("C10", factor_by_batch(b512=1.467 * 1.031), "FAIL"),
    ("C10", factor_by_batch(b512=1.467 * 0.969), "FAIL"),
    ("C10", factor_by_batch(b32=1.45), "FAIL"),
    ("C10", factor_by_batch(b8=1.50), "FAIL"),
    ("C11", factor_by_chi(), "PASS"),
    *(
        ("C11", factor_by_chi(**{point: share}), "FAIL")
        for point in ("g1_225b1", "g1_327b1", "g2b0", "g2b1")
        for share in (0.94, 1.06)
    ),
    ("C12", curves(), "PASS"),
    ("C12", curves(bn=(0.1, 0.5, 0.91, 0.92, 0.93)), "PASS"),
    ("C12", curves(bn=(0.1, 0.5, 0.89, 0.91, 0.93)), "FAIL"),
    ("C12", curves(bn=(0.1, 0.5, 0.6, 0.7, 0.8)), "FAIL"),  # never reaches it
    ("C13", usable(bn=3.2, none=0.8), "PASS"),
    ("C13", usable(bn=1.6, none=0.8), "FAIL"),
    ("C13", usable(bn=0.1, none=0.8), "FAIL"),
    ("C14", degradation(), "PASS"),
    ("C14", degradation(p20=0.013, p56=0.062), "FAIL"),
    ("C14", degradation(p20=0.3, p56=0.013), "FAIL"),
    ("C14", degradation(odd=0.21), "FAIL"),  # one seed of the other sign
    ("C14", degradation(init=0.009), "CONFOUNDED"),
    ("C14", degradation(epoch=0.009), "CONFOUNDED"),
    ("C14", degradation(epoch=101), "CONFOUNDED"),
    ("C14", degradation(cosine=0.995), "CONFOUNDED"),
    ("C14", degradation(p56=0.013, init=0.009), "FAIL"),
    # One seed is enough to confound, and one without a finite ratio is no less.
    ("C14", oddly(degradation(), degradation(epoch=0.009)), "CONFOUNDED"),
    ("C14", oddly(degradation(), degradation(epoch=math.inf)), "CONFOUNDED"),
    ("C14", oddly(degradation(), degradation(epoch=math.nan)), "CONFOUNDED"),
    ("C15", degradation(), "PASS"),
    ("C15", degradation(init=1e6), "PASS"),  # explodes at init and settles
    ("C15", degradation(init=0.009), "CONFOUNDED"),
    ("C15", degradation(epoch=0.009), "CONFOUNDED"),
    ("C15", degradation(epoch=101), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(init=0.009)), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(epoch=101)), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(cosine=0.995)), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(epoch=math.nan)), "CONFOUNDED"),
    ("C17", degradation(), "PASS"),
    ("C17", degradation(r56=0.007), "PASS"),
    ("C17", degradation(r56=0.0071), "FAIL"),
    ("C17", degradation(r20=0.3, r56=0.2), "FAIL"),  # no better than its plain twin
    ("C18", small_batch(), "PASS"),
    ("C18", small_batch(bn=0.019), "FAIL"),
    ("C18", small_batch(gn=0.011), "FAIL"),
    ("C18", small_batch(ln=0.011), "FAIL"),
]


@pytest.mark.parametrize(("name", "figures", "verdict"), CASES)
def test_gates_let_through_what_holds_and_nothing_else(name, figures, verdict, tmp_path):
    found = doctored(name, figures, tmp_path)
    assert (found.verdict, found.reason) == (verdict, "")
    assert all(part.n == 3 for part in found.measured)


PAPER_CASES = [
    ("C14", degradation(p20=0.013, p56=0.029), "PASS"),
    ("C14", degradation(p20=0.013, p56=0.027), "FAIL"),
    ("C09", lambda c: {"train_acc": 0.8 if c.model.init == "he_normal" else 0.1}, "PASS"),
    ("C17", degradation(), "PASS"),
    ("C17", degradation(r110=0.008), "FAIL"),
    ("C09", lambda _: {"train_acc": 0.8}, "FAIL"),
    ("C09", lambda _: {"train_acc": 0.1}, "FAIL"),
]


@pytest.mark.parametrize(("name", "figures", "verdict"), PAPER_CASES)
def test_gates_of_the_papers_scale(name, figures, verdict, tmp_path):
    assert doctored(name, figures, tmp_path, "paper").verdict == verdict


def test_growth_is_judged_by_the_grown_networks_error(tmp_path, monkeypatch):
    """C16, with a doctored growth of one seed on either side of 0.1 points."""
    for gap, verdict in ((0.0009, "PASS"), (0.0011, "FAIL")):
        gaps = iter([0.0, gap, 0.0])

        def grown(*_, gaps=gaps):
            return {"shallow": 0.01, "grown": 0.01 - next(gaps)}

        monkeypatch.setattr(grown_network, "grown_error", grown)
        assert doctored("C16", degradation(), tmp_path).verdict == verdict


def test_covariate_shift_is_reported_without_a_verdict(tmp_path):
    def figures(_):
        rows = [
            {"step": step, "layer": layer, "act_mean": 0.5 * step, "act_std": 2.0}
            for step in (0, 1, 2)
            for layer in (1, 2, 3)
        ]
        return {"train_acc": 0.5, "layers": rows}

    found = doctored("C19", figures, tmp_path)
    assert found.verdict == "REPORTED"
    drifts = [part.value for part in found.measured if part.measure.name.startswith("drift")]
    assert drifts == pytest.approx([0.25] * 3)


class Spy(dict):
    """Which figure of a demonstration a measure asks for."""

    def __missing__(self, key):
        self.asked = key
        return 0.5


@pytest.mark.parametrize("name", [c for c in CLAIMS if CLAIMS[c].small.demonstration])
def test_demonstrations_fail_outside_their_gates(name, monkeypatch):
    claim = CLAIMS[name]
    keys = {}
    for measure in claim.small.measures:
        from normlab.claims.evidence import Evidence

        spy = Spy()
        measure.by_seed(Evidence(DataFrame(), {0: spy}))
        keys[measure.name] = spy.asked
    inside = {
        keys[m.name]: (m.gate[0] if m.gate[0] > -math.inf else m.gate[1]) if m.gate else 0.0
        for m in claim.small.measures
    }
    assert all(m.gate is None or m.gate != (-math.inf, math.inf) for m in claim.small.measures)

    def judged(figures):
        """Of five seeds the third has these figures."""
        assert claim.small.demonstration in DEMONSTRATIONS  # and all are loaded
        monkeypatch.setitem(
            DEMONSTRATIONS._parts,
            claim.small.demonstration,
            lambda seed: figures if seed == 2 else inside,
        )
        return judge_runs(claim, "small", []).verdict

    assert judged(inside) == "PASS"
    for measure in claim.small.measures:
        if measure.gate:
            low, high = measure.gate
            far = 10 * (1 + abs(low) if math.isinf(high) else 1 + abs(high))
            sides = {"max": (high + far,), "min": (low - far,)}
            for outside in sides.get(measure.statistic, (low - far, high + far)):
                if math.isfinite(outside) and (measure.statistic != "geomean" or outside > 0):
                    assert judged(inside | {keys[measure.name]: outside}) == "FAIL", measure


@pytest.mark.parametrize("name", [c for c in CLAIMS if CLAIMS[c].small.demonstration])
def test_demonstrations_hold(name):
    assert judge_runs(CLAIMS[name], "small", []).verdict == "PASS"


# ----------------------------------------------------------------------- incomplete evidence


def test_missing_failed_and_unmeasured_runs_are_no_verdict(tmp_path):
    claim = CLAIMS["C09"]
    configs = configs_of(claim, "small", tmp_path)
    figures = factor_by_init()
    for config in configs[:-1]:
        write_run(config, figures(config))
    found = judge_runs(claim, "small", configs)
    assert (found.verdict, found.reason) == ("INCOMPLETE", "1 of 6 runs are missing or failed")
    write_run(configs[-1], {"status": "failed"})
    assert judge_runs(claim, "small", configs).reason == "1 of 6 runs are missing or failed"
    for config in configs:
        write_run(config, {"gradient_factor_init": math.nan if config.seed == 2 else 1.0})
    found = judge_runs(claim, "small", configs)
    assert found.verdict == "INCOMPLETE"
    assert found.reason == "δ per layer, He: 1 of 3 seeds have no such figure"


@pytest.mark.parametrize("name", ["C14", "C18"])
def test_divergence_is_not_the_effect(name, tmp_path):
    """Broken weights score at chance: that is neither degradation nor a small batch's error."""
    usual = degradation() if name == "C14" else small_batch()

    def broken(config):
        deep = config.model.depth == 56 and not config.model.residual
        small = config.norm.name == "bn" and config.training.batch_size == 2
        worse = {"status": "diverged", "train_acc": 0.1, "test_acc": 0.1}
        return usual(config) | (worse if (deep if name == "C14" else small) else {})

    found = doctored(name, broken, tmp_path)
    assert found.verdict == "CONFOUNDED"
    assert "runs diverged" in found.reason


@pytest.mark.parametrize("none", [0.001, 6.4])
def test_a_largest_rate_beyond_the_grid_is_no_ratio(none, tmp_path):
    found = doctored("C13", usable(bn=6.4, none=none), tmp_path)
    assert (found.verdict, found.measured[0].missing) == ("INCOMPLETE", 3)


def test_a_best_rate_at_the_edge_is_told(tmp_path):
    found = doctored("C12", curves(best=10.0), tmp_path)
    edge = [p.value for p in found.measured if p.measure.name.startswith("arms at their best")]
    assert edge == [2]


def test_other_peoples_runs_in_the_folder_do_not_count(tmp_path):
    claim = CLAIMS["C09"]
    configs = configs_of(claim, "small", tmp_path)
    for config in configs:
        write_run(config, factor_by_init()(config))
    write_run(configs[0].model_copy(update={"seed": 99}), {"gradient_factor_init": 1e9})
    assert judge_runs(claim, "small", configs).verdict == "PASS"


# ---------------------------------------------------------------------------------- the table


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_every_experiment_composes(scale):
    for claim in CLAIMS.values():
        if scale == "small" or claim.paper:
            several = claim_grids(claim, scale)
            assert bool(several) == bool(claim.protocol(scale).experiment)
            seeds: dict[str, int] = {}
            for config in compose_grids(several):
                assert config.output.experiment == claim.protocol(scale).experiment
                identity = run_id(config)
                assert identity not in seeds
                seeds[identity] = config.seed
            assert len(set(seeds.values())) >= (5 if scale == "small" else 3) or not seeds


def test_arms_are_commands_that_compose():
    for claim in CLAIMS.values():
        if claim.arm:
            words = claim.arm.split()
            assert words[:2] == ["normlab", "run"]
            next(iter(compose_grids(grids(words[2:]))))


def test_the_papers_schedule_is_he_et_als():
    config = next(iter(compose_grids(claim_grids(CLAIMS["C14"], "paper"))))
    assert config.training.steps == 64_000
    assert [round(m * 64_000) for m in config.schedule.milestones] == [32_000, 48_000]
    assert (config.data.crop_padding, config.data.flip) == (4, True)
    assert (config.data.standardize, config.data.train_size) == ("pixel_mean", None)
    assert (config.model.width, config.model.bias, config.model.init) == (16, False, "he_normal")
    assert (config.optimizer.lr, config.optimizer.momentum) == (0.1, 0.9)
    assert (config.optimizer.weight_decay, config.training.batch_size) == (1e-4, 128)
    assert (config.schedule.gamma, config.model.shortcut) == (0.1, "A")
    warm = [c for c in compose_grids(claim_grids(CLAIMS["C14"], "paper")) if c.model.depth == 110]
    assert {(c.schedule.warmup_steps, c.schedule.warmup_shape) for c in warm} == {(400, "constant")}


def test_settings_that_would_change_a_claim_are_refused():
    with pytest.raises(ConfigError, match=r"training\.epochs=1: would change what the claim is"):
        plan_claims([CLAIMS["C08"]], "small", ["training.epochs=1"])
    planned, runs = plan_claims([CLAIMS["C08"]], "small", ["runtime.threads=2"])
    assert len(planned.configs) == len(runs["C08"]) == 20


def test_claims_that_share_runs_make_them_once(tmp_path):
    shared = [CLAIMS[name] for name in ("C14", "C15", "C16", "C17")]
    planned, runs = plan_claims(shared, "small", [f"output.root={tmp_path}"])
    assert len(planned.configs) == 20
    assert {len(configs) for configs in runs.values()} == {20}


# ------------------------------------------------------------------------------- one's own

MINE = """
statement: LayerNorm trains this net as well as BatchNorm.
experiment: [model=mlp, "norm=bn,ln", "seed=range(3)"]
metric: train_acc("norm=bn") - train_acc("norm=ln")
gate: [-0.02, 0.02]
"""


def own_claim(tmp_path, text=MINE):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("gap", "verdict"), [(0.01, "PASS"), (0.03, "FAIL"), (-0.03, "FAIL")])
def test_a_claim_of_ones_own_is_judged_like_any(tmp_path, gap, verdict):
    (claim,) = find_claims([str(own_claim(tmp_path))])
    _, runs = plan_claims([claim], "small", [f"output.root={tmp_path}"])
    assert {config.output.experiment for config in runs["mine"]} == {"mine"}
    for config in runs["mine"]:
        write_run(config, {"train_acc": 0.9 if config.norm.name == "bn" else 0.9 - gap})
    found = judge_runs(claim, "small", runs["mine"])
    assert (found.verdict, found.n) == (verdict, 3)
    assert found.measured[0].value == pytest.approx(gap)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("metric:", "metrics:"), "metrics: no such key; choices: id, statement"),
        (("gate: [-0.02, 0.02]", ""), "gate is missing"),
        (("[-0.02, 0.02]", "[0.02, -0.02]"), "low is above high"),
        (("[-0.02, 0.02]", "0.02"), r"gate metric=0.02: must be \[low, high\]"),
        (("[-0.02, 0.02]", "{other: [0, 1]}"), "gate other: there is no such metric"),
        (
            ('experiment: [model=mlp, "norm=bn,ln", "seed=range(3)"]', "experiment: 3"),
            "experiment=3",
        ),
        ((MINE, "- a\n- list\n"), "must be a mapping"),
        ((MINE, "statement: [\n"), "not valid YAML"),
        (("gate:", "statistic: mode\ngate:"), "statistic=mode: no such choice; choices: mean"),
        (("gate:", "id: c14\ngate:"), "id=c14: must be letters.*no id of normlab's own"),
        (("gate:", "id: ../up\ngate:"), "id=../up: must be letters"),
        (("train_acc(", "trian_acc("), "trian_acc: no such metric"),
    ],
)
def test_bad_claim_files_get_a_clear_line(tmp_path, change, says):
    file = own_claim(tmp_path, MINE.replace(*change))
    with pytest.raises(ConfigError, match=f"^{re.escape(str(file))}: .*{says}") as error:
        read_claim(file)
    assert "\n" not in str(error.value)


def test_a_claim_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="C99: no such claim; choices: C01, C02"):
        find_claims(["C99"])
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        find_claims(["nowhere.yaml"])


def test_a_protocol_that_a_claim_lacks_is_refused():
    with pytest.raises(ConfigError, match="C01: has no protocol at --scale paper"):
        CLAIMS["C01"].protocol("paper")


def test_two_claims_of_equal_runs_are_both_judged(tmp_path):
    files = [tmp_path / name for name in ("a.yaml", "b.yaml")]
    for file in files:
        file.write_text(MINE)
    claims = find_claims([str(file) for file in files])
    planned, runs = plan_claims(claims, "small", [f"output.root={tmp_path}"])
    assert len(planned.configs) == 6
    for config in planned.configs:
        write_run(config, {"train_acc": 0.9})
    assert [judge_runs(c, "small", runs[c.id]).verdict for c in claims] == ["PASS", "PASS"]
    files[1].write_text(MINE.replace("gate:", "id: a\ngate:"))
    with pytest.raises(ConfigError, match="has the id a of another claim"):
        find_claims([str(file) for file in files])


@pytest.mark.parametrize(
    ("gate", "shown"),
    [
        ((0, 5), "0 … 5"),
        ((0.5, 1), "0.5 … 1"),
        ((-math.inf, 5), "≤ 5"),
        ((4, math.inf), "≥ 4"),
        ((0, 0), "= 0"),
        ((-math.inf, -1e-12), "< 0"),
    ],
)
def test_gates_are_printed_as_they_are(gate, shown):
    assert gate_text(Measure(name="x", value="train_acc", gate=gate)) == shown


# ------------------------------------------------------------------------------ the record


def test_verdicts_are_remembered_and_printed(tmp_path):
    found = doctored("C09", factor_by_init(), tmp_path)
    endless = replace(
        found,
        measured=tuple(
            replace(part, measure=part.measure.model_copy(update={"gate": (0.5, math.inf)}))
            for part in found.measured
        ),
    )
    remember([found], tmp_path)
    assert remembered(tmp_path, "small")["C09"]["verdict"] == "PASS"
    assert remembered(tmp_path, "paper") == {}
    (tmp_path / ".verdicts" / "C08-small.json").write_text("{")
    assert list(remembered(tmp_path, "small")) == ["C09"]
    (row,) = json.loads(to_verdict_json([endless]))
    assert {"id", "verdict", "measured", "gate", "n"} <= set(row)
    assert row["gate"]["δ per layer, He"] == [0.5, None]
    assert row["n"] == 3
    assert as_rows([found])[0]["measured"]["δ per layer, He"]["value"] == pytest.approx(1)
    lines = to_verdict_markdown([found]).splitlines()
    assert len(lines) == 2 + len(found.measured)
    assert "**PASS**" in lines[2]
    assert Path(tmp_path / ".verdicts" / "C09-small.json").exists()


# --------------------------------------------------------------------------------- done once


def test_tables_are_read_once_and_runs_composed_once(tmp_path, monkeypatch):
    from normlab.claims import evidence, verification

    reads, composed = [], []
    read_table, compose = evidence.read_table, verification.compose_grids
    monkeypatch.setattr(evidence, "read_table", lambda *of: [reads.append(of), read_table(*of)][1])
    monkeypatch.setattr(
        verification, "compose_grids", lambda *of: [composed.append(of), compose(*of)][1]
    )
    found = doctored("C06", nielsen(), tmp_path, "paper")
    assert found.reason.startswith("train accuracy")  # which these runs lack: all else was read
    assert len(reads) == len(set(reads)) == 9
    plan_claims([CLAIMS[name] for name in ("C14", "C15", "C16", "C17")], "small")
    assert len(composed) == 1
