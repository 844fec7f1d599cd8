"""The runs that claims need: each composed once, shared ones made once, none of them altered."""

import pytest

from normlab.claims import CLAIMS, find_claims, judge_runs, plan_claims
from normlab.claims.planning import claim_grids
from normlab.config import compose_grids, grids, run_id
from normlab.errors import ConfigError
from tests.claims.doctored import MINE, write_run


@pytest.mark.slow
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
    for text in (
        "seed=7",
        "+seed=7",
        "seed=range(2)",
        "norm=bn",
        "output.experiment=mine",
        "~seed",
    ):
        with pytest.raises(ConfigError, match="would change what the claim is"):
            plan_claims([CLAIMS["C08"]], "small", [text])
    planned, runs = plan_claims([CLAIMS["C08"]], "small", ["runtime.threads=2"])
    assert len(planned.configs) == len(runs["C08"]) == 20


def test_claims_that_share_runs_make_them_once(tmp_path):
    shared = [CLAIMS[name] for name in ("C14", "C15", "C16", "C17")]
    planned, runs = plan_claims(shared, "small", [f"output.root={tmp_path}"])
    assert len(planned.configs) == 20
    assert {len(configs) for configs in runs.values()} == {20}


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


def test_the_runs_of_claims_are_composed_once(monkeypatch, tmp_path):
    composed = []

    def counted(grids, config_dir=None):
        for config in compose_grids(grids, config_dir):
            composed.append(config)
            yield config

    monkeypatch.setattr("normlab.claims.planning.compose_grids", counted)
    monkeypatch.setattr("normlab.runs.sweeping.compose_grids", counted)
    shared = [CLAIMS[name] for name in ("C14", "C01", "C15", "C08")]
    planned, runs = plan_claims(shared, "small", [f"output.root={tmp_path}"])
    assert len(composed) == len(planned.configs) == 40
    assert {name: len(configs) for name, configs in runs.items()} == {
        "C14": 20,
        "C01": 0,
        "C15": 20,
        "C08": 20,
    }


def test_a_claim_of_very_many_runs_is_refused_before_they_are_composed(tmp_path):
    (tmp_path / "a.yaml").write_text(MINE.replace('"seed=range(3)"', '"seed=range(9999)", "~x"'))
    (claim,) = find_claims([str(tmp_path / "a.yaml")])
    with pytest.raises(ConfigError, match="a: its experiment has 19,998 runs, above 10,000"):
        plan_claims([claim], "small")


def test_claims_without_runs_need_no_sweep():
    assert plan_claims([CLAIMS["C01"], CLAIMS["C02"]], "small") == (None, {"C01": [], "C02": []})
