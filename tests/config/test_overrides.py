"""Settings put over a config, and a config written as the overrides that make it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from normlab.config import compose, override, overrides_of, with_overrides
from normlab.errors import ConfigError

WORDS = (
    *("model=mlp", "model.depth=12", "norm=bn", "norm.momentum=0", "optimizer.lr=3e-5"),
    *("schedule=multistep", "schedule.milestones=[0.01]", "training.steps=12", "seed=3"),
)


@pytest.mark.parametrize(
    "advice",
    [
        ["optimizer.lr=0.1"],
        ["norm=ln"],
        ["norm=bn"],
        ["norm=ln", "norm.eps=0.1", "model.residual=true"],
        ["norm.momentum=0.5", "norm=bn", "norm=ln"],
        ["schedule=cosine"],
        ["training.clip_norm=1", "training.epochs=30"],
        ["training={epochs: 3, batch_size: 16}"],
        ["probes=verdict", "model.width=${model.depth}"],
    ],
)
def test_settings_put_over_a_config_are_those_appended_to_its_words(advice: list[str]) -> None:
    assert with_overrides(compose(WORDS), advice) == compose([*WORDS, *advice])


def test_every_other_key_stays() -> None:
    config = compose([*WORDS, "output.experiment='a, b'", "runtime.threads=3"])
    changed = with_overrides(config, ["optimizer.lr=1"]).model_dump()
    assert changed.pop("optimizer") == {**config.optimizer.model_dump(), "lr": 1.0}
    rest = config.model_dump()
    del rest["optimizer"]
    assert changed == rest


def test_what_a_choice_interpolates_is_the_runs_own(tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    text = "defaults:\n  - ln\n  - _self_\neps: ${optimizer.lr}\n"
    (tmp_path / "norm" / "mine.yaml").write_text(text, encoding="utf-8")
    config = compose(["optimizer.lr=0.25"])
    assert with_overrides(config, ["norm=mine"], tmp_path).norm.model_dump()["eps"] == 0.25
    changed = with_overrides(config, ["norm=mine", "optimizer.lr=0.5"], tmp_path)
    assert changed.norm.model_dump()["eps"] == 0.5


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("norm.nope=1", "norm.nope=1: no such key; did you mean norm.noise?"),
        ("training={nope: 1}", "training={nope: 1}: no such key"),
        ("optimizer.lr=x", "optimizer.lr=x: must be a finite number"),
        ("norm=nope", "norm=nope: no such choice; choices: bn"),
        ("norm=bn,ln", "norm=bn,ln: one run takes one value for norm"),
        ("experiment=quickstart", "experiment=quickstart: a run's settings are changed by"),
        ("+norm.more=1", "+norm.more=1: a run's settings are changed by"),
        ("~seed", "~seed: a run's settings are changed by"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(word: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        with_overrides(compose(), [word])
    assert str(error.value).startswith(told)


def test_a_config_is_made_again_by_its_overrides() -> None:
    for words in ([], WORDS, ["data=gaussian", "training.clip_norm=1", "norm=none"]):
        config = compose(words)
        assert compose(overrides_of(config)) == config
    assert overrides_of(compose(["norm=ln", "optimizer.lr=0.1"])) == ["norm=ln"]
    assert "output.experiment=x" not in overrides_of(compose(["output.experiment=x"]))


@hypothesis_settings(max_examples=15)
@given(
    st.text("ab'\"\\ ,=[]{}()#:.-1é", min_size=1, max_size=12).filter(
        lambda text: text.strip() == text
    )
)
def test_any_text_is_written_so_that_it_is_read_again(text: str) -> None:
    assert compose([override("output.root", text)]).output.root == text


@pytest.mark.parametrize("text", ["true", "null", "1", "1e5", "nan", "it\\'s", "end\\"])
def test_texts_that_read_like_other_values_stay_text(text: str) -> None:
    assert compose([override("output.root", text)]).output.root == text
