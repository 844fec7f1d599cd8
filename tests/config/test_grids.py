import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.config import compose, compose_grids, composing, grids, run_id, size
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


@settings(max_examples=15)  # each composes up to 27 points
@given(st.data())
def test_patched_points_equal_hydras_own(data: st.DataObject) -> None:
    """Composing once per group choices and patching gives what composing each point gives."""
    keys = data.draw(st.lists(st.sampled_from(list(AXES)), min_size=1, max_size=3, unique=True))
    chosen = {
        key: data.draw(st.lists(st.sampled_from(AXES[key]), min_size=1, unique=True))
        for key in keys
    }
    swept = list(compose_grids(grids([f"{k}={','.join(v)}" for k, v in chosen.items()])))
    points: list[list[str]] = [[]]
    for key, values in chosen.items():
        points = [[*point, f"{key}={value}"] for point in points for value in values]
    assert swept == [compose(point) for point in points]


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
    ],
)
def test_bad_grids(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(compose_grids(grids(overrides)))


def test_planning_ten_thousand_is_done_without_composing_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hydra alone would take ten minutes."""
    loads, hydra_in = [], composing.hydra_in

    @contextlib.contextmanager
    def counted(config_dir: Path | None) -> Iterator[Callable[[Sequence[str]], Any]]:
        with hydra_in(config_dir) as load:

            def counting(settings: Sequence[str]) -> Any:
                loads.append(settings)
                return load(settings)

            yield counting

    monkeypatch.setattr(composing, "hydra_in", counted)
    found = grids(["model=cnn,resnet", "model.depth=8,20,56", "norm=none,bn,ln", "seed=range(556)"])
    assert size(found) == 10_008
    ids = {run_id(config) for config in compose_grids(found)}
    assert len(ids) == 10_008
    assert len(loads) == 6  # of model and norm, which bring keys of their own
