"""A person's own YAML files: what they may say, and what they cannot do."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from normlab.config import compose, compose_grids, grids
from normlab.config.composing import group_choices
from normlab.errors import ConfigError
from tests.conftest import LAUGHS

SECRET = "s3cr3t"


def own(folder: Path, **files: str) -> Path:
    """A folder of own YAML files, named with two underscores for the slash."""
    for name, text in files.items():
        file = folder / (name.replace("__", "/") + ".yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def test_config_dir_adds_choices(tmp_path: Path) -> None:
    folder = tmp_path / "my groups"
    (folder / "norm").mkdir(parents=True)
    text = "defaults:\n  - bn\n  - _self_\nmomentum: 0.5\n"
    (folder / "norm" / "slow.yaml").write_text(text, encoding="utf-8")
    assert compose(["norm=slow"], folder) == compose(["norm.momentum=0.5"])
    assert "slow" in group_choices(folder)["norm"]
    with pytest.raises(ConfigError, match="no such choice"):
        compose(["norm=slow"])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no such folder"),
        ({"norms/mine.yaml": "name: bn"}, "no such group 'norms'.*did you mean norm"),
        ({"norm/mine.yaml": "name: bn"}, "norm.position: is missing"),
        ({"norm/mine.yaml": "name: [bn"}, r"norm/mine.yaml: not valid YAML \(line 1: "),
        ({"norm/mine.yaml": "defaults:\n  - mine\n"}, "a YAML cannot be read|mine"),
        ({"norm/bn.yaml": "name: bn"}, "has the name of one of normlab's own"),
        ({"norm/mine.yaml": "defaults:\n  - absent\n"}, "Could not load 'norm/absent'"),
    ],
)
def test_a_bad_config_dir_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    folder = tmp_path / "own"
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        compose(["norm=mine"], folder)


@pytest.mark.parametrize(
    "text",
    [
        "defaults: [digits, _self_]\nroot: ${oc.env:SECRET}\n",
        "defaults: [digits, _self_]\nroot: ${oc.decode:${oc.env:SECRET}}\n",
        "defaults: [digits, _self_]\nroot: x${${kind}:SECRET}\nkind: oc.env\n",
        "defaults: ['${oc.env:SECRET}', _self_]\n",
        "defaults: [{override /norm: '${oc.env:SECRET}'}, digits]\n",
        "defaults: [{'/norm@${oc.env:SECRET}': bn}, digits]\n",
        "defaults: [digits, _self_]\nroot: ${hydra:runtime.cwd}\n",
        "defaults: [digits, _self_]\n${oc.env:SECRET}: 1\n",
    ],
)
def test_no_yaml_reads_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    with pytest.raises(ConfigError, match="only other keys can be interpolated") as caught:
        compose(["data=mine"], own(tmp_path, data__mine=text))
    assert SECRET not in str(caught.value)


def test_other_keys_can_be_interpolated(tmp_path: Path) -> None:
    folder = own(tmp_path, data__mine="defaults: [digits, _self_]\nroot: x/${norm.name}\n")
    assert compose(["data=mine", "norm=ln"], folder).data.root == "x/ln"


def test_the_resolvers_of_the_program_around_it_stay() -> None:
    OmegaConf.register_new_resolver("ours", lambda: 7)
    try:
        compose(["norm=ln"])
        assert OmegaConf.create({"a": "${ours:}", "b": "${oc.env:HOME,x}"}).a == 7
        assert OmegaConf.has_resolver("oc.env")
    finally:
        OmegaConf.clear_resolver("ours")


def doubling(levels: int) -> str:
    """Keys that each are twice the next one."""
    keys = "".join(f"k{i}: ${{data.k{i + 1}}}${{data.k{i + 1}}}\n" for i in range(levels))
    return f"{keys}k{levels}: x\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (doubling(40), "more than 20 interpolations"),
        (LAUGHS, "its anchors stand for more than 500,000 characters"),
        ("a: &a [*a]\n", "its anchors stand for more than"),
        ("a: " + "[" * 1000, "not valid YAML"),
        ("a: " + "x" * 70_000, "too large, above 65,536 bytes"),
        ("defaults: [" + "digits, " * 30 + "]", "more than 24 defaults"),
        ("defaults: [../../evil]", r"defaults name groups and choices, not \.\./\.\./evil"),
        ("defaults: [{/data: //tmp/evil}]", "defaults name groups and choices, not //tmp/evil"),
        ("- 3", "must be a mapping of keys to values"),
        ("3", "must be a mapping of keys to values"),
    ],
)
def test_a_yaml_that_stands_for_more_than_it_holds_is_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        compose(["data=mine"], own(tmp_path, data__mine=text))
    assert "\n" not in str(caught.value)


def test_files_that_double_each_other_are_refused(tmp_path: Path) -> None:
    files = {f"data__d{i}": f"defaults: [d{i + 1}@a, d{i + 1}@b]\n" for i in range(40)}
    with pytest.raises(ConfigError, match="more than 24 defaults"):
        compose(["data=d0"], own(tmp_path, **files))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_place_of_a_yaml_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "mine.yaml")
    with pytest.raises(ConfigError, match="no regular file"):
        compose(["data=mine"], tmp_path)


# ------------------------------------------------------------------------------ experiments


@pytest.mark.parametrize(
    "header", ["", "# @package _global_\n", "# A title.\n# @package _global_\n"]
)
@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_an_experiment_needs_no_header_and_may_end_in_yml(
    tmp_path: Path, header: str, suffix: str
) -> None:
    folder = tmp_path / "a=b é"
    (folder / "experiment").mkdir(parents=True)
    text = f"{header}training: {{epochs: 3}}\nsweep: {{norm: 'bn,ln'}}\n"
    (folder / f"experiment/mine{suffix}").write_text(text, encoding="utf-8")
    found = list(compose_grids(grids(["experiment=mine"], folder), folder))
    assert [(config.norm.name, config.training.epochs) for config in found] == [
        ("bn", 3),
        ("ln", 3),
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("sweep: [{norm: [bn, ln], seed: [0, 1]}]", [("bn", 0), ("bn", 1), ("ln", 0), ("ln", 1)]),
        ("sweep: {norm: 'bn,ln', seed: 3}", [("bn", 3), ("ln", 3)]),
        ("sweep: [{norm: bn}, {norm: ln, seed: 2}]", [("bn", 0), ("ln", 2)]),
        ("sweep: [{zip: {norm: [bn, ln], seed: 'range(2)'}}]", [("bn", 0), ("ln", 1)]),
        ("sweep:", [("bn", 0)]),
        ("sweep: []", [("bn", 0)]),
    ],
)
def test_a_sweep_block_is_a_grid(
    tmp_path: Path, block: str, expected: list[tuple[str, int]]
) -> None:
    folder = own(tmp_path, experiment__mine=block)
    found = compose_grids(grids(["experiment=mine"], folder), folder)
    assert [(config.norm.name, config.seed) for config in found] == expected


def test_values_of_a_sweep_block_mean_what_they_are_in_yaml(tmp_path: Path) -> None:
    block = """
    sweep:
      - model: resnet
        model.bias: true
        data.train_size: [null, 100]
        model.residual: [true, false]
        probes.measure: [[delta_rms], [grad_norm, delta_rms]]
        data.root: ["a;b, c", 'it''s']
        training: [{epochs: 1}, {epochs: 2}]
    """
    folder = own(tmp_path, experiment__mine=block)
    found = list(compose_grids(grids(["experiment=mine"], folder), folder))
    assert len(found) == 32
    assert {config.data.model_dump()["train_size"] for config in found} == {None, 100}
    assert {config.model.residual for config in found} == {True, False}
    assert {config.probes.measure for config in found} == {
        ("delta_rms",),
        ("grad_norm", "delta_rms"),
    }
    assert {config.data.model_dump()["root"] for config in found} == {"a;b, c", "it's"}
    assert {config.training.epochs for config in found} == {1, 2}


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("sweep: true", "its sweep: must be a list of mappings of keys to values, not true"),
        ("sweep: [norm]", r"must be a list of mappings of keys to values, not \[norm\]"),
        ("sweep: [{zip: [1, 2]}]", r"zip must be a mapping of keys to lists, not \[1,2\]"),
        ("sweep: [{norm: []}]", r"norm=\[\]: no value, so the sweep is empty"),
        ("sweep: [{norm: true}]", "norm=true: norm takes one of bn, "),
        ("sweep: [{seed: '1,2', zip: {seed: '3,4', norm: 'bn,ln'}}]", "seed is set twice"),
        ("sweep: [{experiment: 'C06,C07'}]", "a sweep takes one experiment"),
        ("sweep: [{seed: 1, seed: 2}]", "not valid YAML .*duplicate key seed"),
    ],
)
def test_a_bad_sweep_block_gets_a_clear_line(tmp_path: Path, block: str, says: str) -> None:
    folder = own(tmp_path, experiment__mine=block)
    with pytest.raises(ConfigError, match=says) as caught:
        grids(["experiment=mine"], folder)
    assert "\n" not in str(caught.value)
