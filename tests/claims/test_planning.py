"""The runs that claims need: each composed once, shared ones made once, none of them altered."""

import pytest

from normlab.claims import CLAIMS, find_claims, is_setting, judge_runs, plan_claims
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
    with pytest.raises(ConfigError) as error:
        plan_claims([CLAIMS["C08"]], "small", ["runtime.threads=2", "training.epochs=1"])
    assert str(error.value) == (
        "training.epochs=1: would change what the claim is about; only runtime, launcher and "
        "output.root can be set here"
    )
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


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(("C08", False), ("mine.yaml", False), ("a=b.yaml", False), ("a=b.yml", False)),
        *(("norm=bn", True), ("output.root=a.yaml", True), ("launcher=a.yml", True)),
        *(("runtime.x=a.yaml", True), ("launcher.x=a.yaml", True), ("launcher", False)),
    ],
)
def test_a_setting_is_no_claim_and_no_file(word, expected):
    assert is_setting(word) is expected


def own_claim(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    (claim,) = find_claims([str(tmp_path / "mine.yaml")])
    return claim


def test_what_is_set_beside_a_claim_of_ones_own_replaces_what_it_sets(tmp_path):
    own = '"output.experiment=other", "output.root=a=b", "runtime.threads=1", model=mlp'
    claim = own_claim(tmp_path, MINE.replace("model=mlp", own))
    root = str(tmp_path / "c=d")
    _, runs = plan_claims([claim], "small", [f"output.root={root}", "runtime.threads=2"])
    outputs = {(c.output.experiment, c.output.root, c.runtime.threads) for c in runs["mine"]}
    assert outputs == {("other", root, 2)}


def test_a_claims_groups_and_experiment_may_stand_in_a_persons_folder(tmp_path):
    for name, text in (
        ("norm/slow", "defaults:\n  - bn\n  - _self_\nmomentum: 0.5\n"),
        ("experiment/own", "# @package _global_\nsweep:\n  - norm: bn,slow\n    seed: range(3)\n"),
    ):
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        (tmp_path / "own" / f"{name}.yaml").write_text(text)
    listed = MINE.replace("norm=bn,ln", "norm=bn,slow")
    (experiment,) = (line for line in listed.splitlines() if line.startswith("experiment:"))
    for text in (listed, listed.replace(experiment, "experiment: own")):
        claim = own_claim(tmp_path, text)
        _, runs = plan_claims([claim], "small", [f"output.root={tmp_path}"], tmp_path / "own")
        assert sorted(c.norm.momentum for c in runs["mine"]) == [0.1] * 3 + [0.5] * 3


def test_failed_runs_are_made_again_where_that_is_asked_for(tmp_path):
    claim = own_claim(tmp_path, MINE)
    overrides = [f"output.root={tmp_path}"]
    _, runs = plan_claims([claim], "small", overrides)
    assert {config.output.experiment for config in runs["mine"]} == {"mine"}
    write_run(runs["mine"][0], {"status": "failed"})
    for retry_failed, pending in ((False, 5), (True, 6)):
        planned, _ = plan_claims([claim], "small", overrides, retry_failed=retry_failed)
        assert len(planned.pending) == pending
    assert len(plan_claims([claim], "small", overrides)[0].pending) == 5


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


def test_a_claim_of_very_many_runs_is_refused_before_they_are_composed(tmp_path, monkeypatch):
    many = own_claim(tmp_path, MINE.replace('"seed=range(3)"', '"seed=range(9999)", "~x"'))
    with pytest.raises(ConfigError, match=r"^mine: its experiment has 19,998 runs, above 10,000$"):
        plan_claims([many], "small")
    claim = own_claim(tmp_path, MINE)
    monkeypatch.setattr("normlab.claims.planning.MOST_RUNS", 6)
    assert len(plan_claims([claim], "small", [f"output.root={tmp_path}"])[1]["mine"]) == 6


def test_claims_without_runs_need_no_sweep():
    assert plan_claims([CLAIMS["C01"], CLAIMS["C02"]], "small") == (None, {"C01": [], "C02": []})
