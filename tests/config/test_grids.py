import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.config import Config, compose, compose_grids, composing, grids, run_id, size
from normlab.config.hydra_loading import hydra_in, plain
from normlab.config.messages import validate
from normlab.errors import ConfigError

AXES = {
    "model": ["mlp", "cnn", "resnet"],
    "norm": ["none", "bn", "ln", "gn"],
    "model.depth": ["8", "20", "56"],
    "model.activation": ["tanh", "'relu'"],
    "optimizer.lr": ["0.1", "1", "1e-3"],
    "data.train_size": ["null", "100"],
    "data.root": ["'a b'", "x"],
    "training.steps": ["null", "5"],
    "probes.measure": ["[delta_rms]", "[act_std,delta_rms]"],
    "seed": ["0", "3"],
}


def by_hydra(words: list[str]) -> Config:
    """Composed by Hydra alone, nothing kept and nothing patched."""
    with hydra_in(None) as load:
        return validate(plain(load(words)))


@settings(max_examples=6)  # each composes up to 9 points
@given(st.data())
def test_patched_points_equal_hydras_own(data: st.DataObject) -> None:
    """Composing once per group choices and patching gives what composing each point gives."""
    keys = data.draw(st.lists(st.sampled_from(list(AXES)), min_size=1, max_size=2, unique=True))
    chosen = {
        key: data.draw(st.lists(st.sampled_from(AXES[key]), min_size=1, unique=True))
        for key in keys
    }
    swept = list(compose_grids(grids([f"{k}={','.join(v)}" for k, v in chosen.items()])))
    points: list[list[str]] = [[]]
    for key, values in chosen.items():
        points = [[*point, f"{key}={value}"] for point in points for value in values]
    expected = [by_hydra(point) for point in points]
    assert swept == expected
    assert [compose(point) for point in points] == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["seed=range(3)"], [(20, 0), (20, 1), (20, 2)]),
        (["seed=choice(4,5)"], [(20, 4), (20, 5)]),
        (["zip(model.depth=8,20; seed=1,2)"], [(8, 1), (20, 2)]),
        (["zip(model.depth=8,20;seed=range(2))", "norm=bn"], [(8, 0), (20, 1)]),
        (["model.depth=8,20", "seed=1,2"], [(8, 1), (8, 2), (20, 1), (20, 2)]),
    ],
)
def test_grammar(overrides: list[str], expected: list[tuple[int, int]]) -> None:
    found = grids(overrides)
    assert size(found) == len(expected)
    assert [(c.model.depth, c.seed) for c in compose_grids(found)] == expected


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("optimizer.lr=range(0.1,0.4,0.1)", "optimizer.lr", [0.1, 0.2, 0.3]),
        ("optimizer.lr=range(0.1,0.8,0.1)", "optimizer.lr", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("optimizer.lr=range(1,1.3,0.1)", "optimizer.lr", [1.0, 1.1, 1.2]),
        ("optimizer.lr=range(1e-3,4e-3,1e-3)", "optimizer.lr", [0.001, 0.002, 0.003]),
        ("optimizer.lr=range(0.3,0,-0.1)", "optimizer.lr", [0.3, 0.2, 0.1]),
        ("optimizer.lr=sort(range(0.1,0.4,0.1),reverse=true)", "optimizer.lr", [0.3, 0.2, 0.1]),
        ("seed=range(5,0,-2)", "seed", [5, 3, 1]),
        ("seed=range(2,7,2)", "seed", [2, 4, 6]),
    ],
)
def test_a_range_counts_in_decimals_and_leaves_its_stop_out(
    text: str, key: str, expected: list[float]
) -> None:
    (axis,) = grids([text])[0]
    (values,) = [[setting.value for (setting,) in axis.points]]
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]
    assert [setting.text for (setting,) in axis.points] == [f"{key}={value}" for value in expected]


def test_a_shuffled_range_has_the_same_values() -> None:
    (axis,) = grids(["optimizer.lr=shuffle(range(0.1,0.8,0.1))"])[0]
    found = sorted(setting.value for (setting,) in axis.points)
    assert found == [
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
    ]


def test_what_stands_in_quotes_or_brackets_does_not_end_a_part_of_a_zip() -> None:
    texts = (r"zip(data.root='a;b','it\'s;'; seed=1,2)", 'zip(data.root="(;",x;seed=1,2)')
    for text, roots in zip(texts, (["a;b", "it's;"], ["(;", "x"]), strict=True):
        found = list(compose_grids(grids([text])))
        assert [c.data.model_dump()["root"] for c in found] == roots
        assert [c.seed for c in found] == [1, 2]


def test_mappings_can_be_swept() -> None:
    found = list(compose_grids(grids(["training={epochs: 1},{epochs: 2}", "seed=0,1"])))
    assert [(c.training.epochs, c.seed) for c in found] == [(1, 0), (1, 1), (2, 0), (2, 1)]


def test_paths_need_no_quotes() -> None:
    for place in ("/tmp/a=b", "/tmp/é", "a@b#c", "~nobody-here=é"):
        assert compose([f"data.root={place}"]).data.model_dump()["root"] == place
    found = compose_grids(grids(["data.root=/é,/b=c"]))
    assert [c.data.model_dump()["root"] for c in found] == ["/é", "/b=c"]


# ------------------------------------------------------------------- keys that are set twice


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["seed=0,1", "seed=1,2"], "seed=0,1 and seed=1,2: seed is set twice; give it once"),
        (["norm=bn", "norm=ln"], "norm=bn and norm=ln: norm is set twice"),
        (["zip(seed=1,2;model.depth=8,20)", "seed=3"], "seed is set twice"),
        (["zip(seed=1,2;seed=3,4)"], r"zip\(seed=1,2;seed=3,4\): seed is set twice"),
        (["experiment=C08", "experiment=C09"], "experiment is set twice"),
        (["zip(experiment=C08,C09;seed=1,2)"], "a sweep takes one experiment"),
        (["+seed=1", "++seed=2"], "seed is set twice"),
        (["training={epochs: 1},{epochs: 2}", "training.epochs=3"], "training.epochs is set twice"),
        (["training.epochs=3", "training={epochs: 1}"], "training is set twice"),
        (["experiment=quickstart", "training={epochs: 1}", "training.epochs=3"], "set twice"),
    ],
)
def test_no_axis_of_a_grid_vanishes(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        grids(overrides)


def test_of_one_run_the_later_setting_counts() -> None:
    assert compose(["seed=1", "norm=ln", "seed=2", "norm=gn"]) == compose(["norm=gn", "seed=2"])
    assert compose(["training.epochs=2", "training={epochs: 5}"]).training.epochs == 5
    assert compose(["training={epochs: 5}", "training.epochs=2"]).training.epochs == 2


def points(*overrides: str) -> list[tuple[int, float]]:
    found = compose_grids(grids(["experiment=C18", "norm=bn", "seed=0", *overrides]))
    return [(c.training.batch_size, c.optimizer.lr) for c in found]


def test_an_override_of_a_zipped_key_chooses_its_points() -> None:
    assert points() == [(4, 0.0125), (32, 0.1)]
    assert points("training.batch_size=4") == [(4, 0.0125)]
    assert points("optimizer.lr=0.1,0.0125") == [(4, 0.0125), (32, 0.1)]
    assert points("training.batch_size=2,4", "optimizer.lr=1.0") == [(2, 1.0), (4, 1.0)]
    assert points("zip(training.batch_size=2,4; optimizer.lr=1.0,3.0)") == [(2, 1.0), (4, 3.0)]
    says = (
        "training.batch_size=2,4: varies together with optimizer.lr (training.batch_size=4 "
        "optimizer.lr=0.0125; training.batch_size=32 optimizer.lr=0.1); give one of these values, "
        "or optimizer.lr too"
    )
    with pytest.raises(ConfigError, match=re.escape(says)):
        points("training.batch_size=2,4")


def test_glob() -> None:
    assert [c.norm.name for c in compose_grids(grids(["norm=glob(*n)"]))] == [
        "bn",
        "gn",
        "in",
        "ln",
        "wn",
    ]


def test_an_experiment_brings_its_grids_and_gives_way_to_overrides() -> None:
    found = list(compose_grids(grids(["experiment=quickstart"])))
    assert len(found) == 24
    assert {c.output.experiment for c in found} == {"quickstart"}
    variants = {(c.norm.name, c.model.residual) for c in found}
    assert variants == {("none", False), ("ln", False), ("bn", False), ("bn", True)}
    fewer = list(compose_grids(grids(["experiment=quickstart", "model.depth=8", "seed=7"])))
    assert len(fewer) == 4
    assert {(c.model.depth, c.seed) for c in fewer} == {(8, 7)}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.depth=8,21"], r"run 2 of 2 \(model.depth=21\): .*nearest are 20 and 26"),
        (["norm=bn,gn", "norm.groups=2"], r"run 1 of 2 \(norm=bn\): norm.groups=2: no such key"),
        (["zip(seed=1,2;model.depth=8)"], "its lists have 2, 1 values"),
        (["norm=bn,bx"], "norm=bx: no such choice"),
        (["norm=glob(zz*)"], "no value, so the sweep is empty; choices: bn"),
        (["optimizer.lr=interval(0,1)"], "has no list of values"),
        (["experiment=quickstart,quickstart"], "takes one experiment"),
        (["experiment=quick"], "no such choice; choices: C06, .*quickstart"),
        (["seed=range(3"], "not an override"),
        (["~seed=1,2"], "~ takes a key out, of which there are no several values"),
    ],
)
def test_bad_grids(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(compose_grids(grids(overrides)))


def test_planning_thousands_is_done_without_composing_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hydra alone would take minutes."""
    composing._OWN_BASES.clear()
    loads: list[Any] = []

    @contextlib.contextmanager
    def counted(config_dir: Path | None) -> Iterator[Callable[[Sequence[str]], Any]]:
        with hydra_in(config_dir) as load:

            def counting(settings: Sequence[str]) -> Any:
                loads.append(settings)
                return load(settings)

            yield counting

    monkeypatch.setattr(composing, "hydra_in", counted)
    found = grids(["model=cnn,resnet", "model.depth=8,20,56", "norm=none,bn,ln", "seed=range(120)"])
    assert size(found) == 2160
    ids = {run_id(config) for config in compose_grids(found)}
    assert len(ids) == 2160
    assert len(loads) == 6  # of model and norm, which bring keys of their own
