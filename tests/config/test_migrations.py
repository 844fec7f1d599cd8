"""A key that was added later: an older run keeps its id and reads as it behaved."""

import hashlib
import json
from typing import Any

import pytest

from normlab.config import Config, compose, config_folder, from_plain, from_yaml, run_id, to_yaml
from normlab.config.migrations import ADDED, completed
from normlab.config.schema import GROUPS
from normlab.errors import ConfigError

BN = compose(["norm=bn"])


def plain(config: Config, *without: str) -> dict[str, Any]:
    """A config as a version wrote it that did not have these keys."""
    values = config.model_dump(mode="json")
    for key in without:
        group, _, field = key.rpartition(".")
        del (values[group] if group else values)[field]
    return values


def id_of(values: dict[str, Any]) -> str:
    """The id as it has always been made, of the keys there are."""
    identity = {k: v for k, v in values.items() if k not in ("runtime", "launcher", "output")}
    identity["data"] = {k: v for k, v in identity["data"].items() if k != "root"}
    probes = identity["probes"]  # of a network without tokens
    identity["probes"] = {k: v for k, v in probes.items() if k != "tokens"}
    training = identity["training"]
    identity["training"] = {k: v for k, v in training.items() if k != "max_seconds"}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@pytest.fixture(autouse=True)
def only_those_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in tuple(ADDED):
        monkeypatch.delitem(ADDED, key)


@pytest.mark.parametrize(
    ("key", "before", "other"),
    [
        ("norm.noise", 0.0, "norm.noise=0.5"),
        ("training.clip_norm", None, "training.clip_norm=1.0"),
        ("training.loss", "softmax", "training.loss=sigmoid"),
        ("probes.measure", list(BN.probes.measure), "probes.measure=[delta_rms]"),
        ("seed", 0, "seed=1"),
    ],
)
def test_an_older_run_keeps_its_id(
    key: str, before: Any, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = plain(BN, key)
    assert run_id(BN) == id_of(plain(BN)) != id_of(older)
    monkeypatch.setitem(ADDED, key, before)
    assert run_id(BN) == id_of(older)
    assert from_plain(older) == from_yaml(json.dumps(older)) == BN
    changed = compose(["norm=bn", other])
    assert run_id(changed) == id_of(plain(changed))
    assert from_yaml(to_yaml(changed)) == changed


def test_a_default_that_is_new_makes_new_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADDED, "norm.noise", 0.5)
    older = from_plain(plain(BN, "norm.noise"))
    assert older.model_dump()["norm"]["noise"] == 0.5
    assert run_id(older) == id_of(plain(BN, "norm.noise"))
    assert run_id(BN) == id_of(plain(BN)) != run_id(older)


def test_equal_values_of_another_type_are_other_values(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (0, False):
        monkeypatch.setitem(ADDED, "norm.noise", value)
        assert run_id(BN) == id_of(plain(BN))


def test_only_parts_that_have_a_key_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADDED, "norm.noise", 0.0)
    without_norm = compose(["norm=none"])
    assert from_plain(plain(without_norm)) == without_norm
    assert run_id(without_norm) == id_of(plain(without_norm))
    odd = {"norm": {"name": "mine"}, "model": 3}
    assert completed(odd) == odd


def test_a_key_of_one_kind_of_part_is_none_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """model.block is older in a CNN than in an MLP: there it stays a part of the id."""
    mlp, cnn = compose(["model=mlp"]), compose(["model=cnn"])
    monkeypatch.setitem(ADDED, "model[mlp].block", "post")
    older = plain(mlp, "model.block")
    assert run_id(mlp) == id_of(older) != id_of(plain(mlp))
    assert from_plain(older) == mlp
    assert run_id(cnn) == id_of(plain(cnn))
    with pytest.raises(ConfigError, match=r"model\.block"):
        from_plain(plain(cnn, "model.block"))


def test_a_new_group_is_a_key_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADDED, "schedule", BN.schedule.model_dump(mode="json"))
    older = plain(BN, "schedule")
    assert run_id(BN) == id_of(older)
    assert from_plain(older) == BN


@pytest.mark.parametrize("key", ["runtime.threads", "launcher.workers", "output.weights"])
def test_what_is_outside_identity_has_the_default_of_today(key: str) -> None:
    assert from_plain(plain(BN, key)) == BN


def test_a_name_leads_to_no_other_file() -> None:
    values = plain(BN)
    values["launcher"] = {"name": "../norm/bn"}
    with pytest.raises(Exception, match="no such choice"):
        from_plain(values)
    assert (config_folder() / "norm" / "bn.yaml").is_file()
    assert "bn" in GROUPS["norm"]
