"""Every claim on doctored results on both sides of its gates; evidence that is not whole."""

import json
import math

import pytest
from pandas import DataFrame

from normlab.claims import CLAIMS, DEMONSTRATIONS, Evidence, judge_runs, trained_networks
from normlab.claims.evidence import figures_by_seed
from tests.claims.doctored import (
    at_init,
    configs_of,
    curves,
    degradation,
    doctored,
    factor_by_batch,
    factor_by_chi,
    factor_by_init,
    nielsen,
    nielsen_training,
    oddly,
    replaced,
    small_batch,
    usable,
    warmed_up,
    write_run,
)

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
    ("C12", curves(bn=(0.1, 0.7, 0.81, 0.91)), "FAIL"),  # no sooner at 80 %
    ("C12", curves(bn=(0.1, 0.81, 0.91)), "PASS"),  # half the steps to 90 %
    ("C12", curves(bn=(0.1, 0.91)), "FAIL"),  # a quarter of them
    ("C12", curves(bn=(0.1, 0.81, 0.85, 0.85, 0.85, 0.91)), "FAIL"),  # more of them
    ("C12", curves(bn=(0.1, 0.81, 0.85, 0.85, 0.85)), "FAIL"),  # never at 90 %
    ("C12", oddly(curves(), curves(bn=(0.1, 0.2))), "PASS"),  # a median
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
    ("C15", degradation(epoch=0.011), "PASS"),
    ("C15", degradation(epoch=99), "PASS"),
    ("C15", degradation(init=0.009), "CONFOUNDED"),
    ("C15", degradation(epoch=0.009), "CONFOUNDED"),
    ("C15", degradation(epoch=101), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(init=0.009)), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(epoch=101)), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(cosine=0.995)), "CONFOUNDED"),
    ("C15", oddly(degradation(), degradation(epoch=math.nan)), "CONFOUNDED"),
    ("C17", degradation(), "PASS"),
    ("C17", degradation(r56=0.007), "PASS"),
    ("C17", degradation(r56=0.0119), "PASS"),  # half a point
    ("C17", degradation(r56=0.0121), "FAIL"),
    ("C17", degradation(r20=0.3, r56=0.2), "FAIL"),  # no better than its plain twin
    ("C18", small_batch(), "PASS"),
    ("C18", small_batch(bn=0.019), "FAIL"),
    ("C18", small_batch(gn=0.011), "FAIL"),
    ("C18", small_batch(ln=0.011), "FAIL"),
    ("C25", warmed_up(), "PASS"),
    ("C25", warmed_up(post=0.51, warmed=0.99), "FAIL"),
    ("C25", warmed_up(warmed=0.51), "FAIL"),
    ("C25", warmed_up(pre=0.89), "FAIL"),
]


def test_a_verdict_knows_what_its_runs_were_not_all_made_alike_with(tmp_path):
    figures = degradation()
    assert doctored("C14", figures, tmp_path / "one").unlike == ()
    found = doctored(
        "C14", lambda config: figures(config) | {"threads": 1 + config.seed % 2}, tmp_path / "two"
    )
    assert found.verdict == "PASS"
    assert found.unlike == (("threads", ("1", "2"), 1, 1),)


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
    ("C17", degradation(r56=0.0071), "FAIL"),
    ("C15", degradation(epoch=0.011), "PASS"),
    ("C15", degradation(epoch=0.009), "CONFOUNDED"),
    ("C15", degradation(epoch=101), "CONFOUNDED"),
    ("C09", lambda _: {"train_acc": 0.8}, "FAIL"),
    ("C09", lambda _: {"train_acc": 0.1}, "FAIL"),
]


@pytest.mark.parametrize(("name", "figures", "verdict"), PAPER_CASES)
def test_gates_of_the_papers_scale(name, figures, verdict, tmp_path):
    assert doctored(name, figures, tmp_path, "paper").verdict == verdict


RATIOS = {0: 100, 1: 70, 10: 50, 100: 140, 499: 60, 500: 80}


def test_the_papers_epochs_are_told_by_their_least_and_greatest_ratio(tmp_path):
    """Last over first hidden layer, as Nielsen's 95.8 at the start."""
    found = doctored("C06", nielsen_training(RATIOS), tmp_path, "paper")
    figures = {part.measure.name: part.value for part in found.measured}
    least, greatest = "4 hidden layers, least of 500 epochs", "4 hidden layers, greatest"
    assert figures[least] == pytest.approx(50)
    assert figures[greatest] == pytest.approx(140)
    assert figures["4 hidden layers, last/first"] == pytest.approx(100)
    at = {epoch: figures[f"4 hidden layers, epoch {epoch}"] for epoch in (10, 100, 499)}
    assert at == pytest.approx({10: 50, 100: 140, 499: 60})


def test_growth_is_judged_by_the_grown_networks_error(tmp_path, monkeypatch):
    """C16, with a doctored growth of one seed on either side of 0.1 points."""
    for gap, verdict in ((0.0009, "PASS"), (0.0011, "FAIL")):
        gaps = iter([0.0, gap, 0.0])

        def grown(*_, gaps=gaps):
            return {"shallow": 0.01, "grown": 0.01 - next(gaps)}

        monkeypatch.setattr(trained_networks, "grown_error", grown)
        assert doctored("C16", degradation(), tmp_path).verdict == verdict


@pytest.mark.parametrize(
    ("plain", "residual", "verdict"),
    [
        ([0.51, 0.9, 0.8], [0.6, 0.14, 0.0], "PASS"),
        ([0.49, 0.9, 0.8], [0.6, 0.14, 0.0], "FAIL"),
        ([0.51, 0.9, 0.8], [0.6, 0.16, 0.0], "FAIL"),
    ],
)
def test_lesions_are_judged_over_blocks(plain, residual, verdict, tmp_path, monkeypatch):
    """C27: the least of the plain net's and the median of the residual one's, of every seed."""

    def lesions(folder):
        config = json.loads((folder / "summary.json").read_text())["config"]
        skips, depth = config["model"]["residual"], config["model"]["depth"]
        assert depth == 20
        odd, usual = (residual, [0.0] * 3) if skips else (plain, [1.0] * 3)
        return odd if config["seed"] == 1 else usual

    monkeypatch.setattr(trained_networks, "lesion_errors", lesions)
    assert doctored("C27", degradation(), tmp_path).verdict == verdict


def test_covariate_shift_is_reported_without_a_verdict(tmp_path):
    """Of the hidden layers: that the logits grow is no shift of a layer's inputs."""

    def figures(_):
        rows = [
            {"step": step, "layer": layer, "act_mean": speed * step, "act_std": 2.0}
            for step in (0, 1, 2)
            for layer, speed in ((1, 0.5), (2, 0.5), (3, 9.0))
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


@pytest.mark.parametrize(
    "name", [c for c in CLAIMS if CLAIMS[c].small.demonstration and c != "C32"]
)
def test_demonstrations_fail_outside_their_gates(name):
    claim = CLAIMS[name]
    keys = {}
    for measure in claim.small.measures:
        spy = Spy()
        figures_by_seed(measure, Evidence(DataFrame(), {0: spy}))
        keys[measure.name] = spy.asked
    inside = {
        keys[m.name]: (m.gate[0] if m.gate[0] > -math.inf else m.gate[1]) if m.gate else 0.0
        for m in claim.small.measures
    }
    assert all(m.gate is None or m.gate != (-math.inf, math.inf) for m in claim.small.measures)

    def judged(figures):
        """Of five seeds the third has these figures."""
        with replaced(
            DEMONSTRATIONS,
            claim.small.demonstration,
            lambda seed: figures if seed == 2 else inside,
        ):
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if claim.small.seconds > 5 else ())
        for name, claim in CLAIMS.items()
        if claim.small.demonstration
    ],
)
def test_demonstrations_hold(name):
    expected = "REPORTED" if name == "C32" else "PASS"
    assert judge_runs(CLAIMS[name], "small", []).verdict == expected


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
        small = config.norm.name == "bn" and config.training.batch_size == 4
        worse = {"status": "diverged", "train_acc": 0.1, "test_acc": 0.1}
        return usual(config) | (worse if (deep if name == "C14" else small) else {})

    found = doctored(name, broken, tmp_path)
    assert found.verdict == "CONFOUNDED"
    assert "runs diverged" in found.reason


@pytest.mark.parametrize("none", [0.001, 6.4])
def test_a_largest_rate_beyond_the_grid_is_no_ratio(none, tmp_path):
    found = doctored("C13", usable(bn=6.4, none=none), tmp_path)
    assert (found.verdict, found.measured[0].missing) == ("INCOMPLETE", 3)


def test_other_peoples_runs_in_the_folder_do_not_count(tmp_path):
    claim = CLAIMS["C09"]
    configs = configs_of(claim, "small", tmp_path)
    for config in configs:
        write_run(config, factor_by_init()(config))
    write_run(configs[0].model_copy(update={"seed": 99}), {"gradient_factor_init": 1e9})
    assert judge_runs(claim, "small", configs).verdict == "PASS"


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.49, "FAIL"), (0.51, "PASS")])
def test_a_rate_is_usable_above_half_of_train_accuracy(accuracy, verdict, tmp_path):
    """C13: whether BatchNorm still learns at four times the other's largest rate decides."""
    usual = usable(bn=1.6, none=0.8)

    def figures(config):
        bn = config.norm.name == "bn" and config.optimizer.lr > 1.6
        return {"train_acc": accuracy} if bn else usual(config)

    assert doctored("C13", figures, tmp_path).verdict == verdict
