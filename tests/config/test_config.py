import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.claims import claim_ids
from normlab.config import (
    DATA_SETS,
    Config,
    compose,
    config_folder,
    describe,
    from_yaml,
    run_id,
    to_yaml,
    value_choices,
)
from normlab.config.composing import group_choices, leaves
from normlab.errors import ConfigError

DEFAULT = compose()
GROUPS = group_choices()
# Data of one's own are composed with what their files hold: tests/data/test_own.py.
OWN = {f"data={name}" for name, part in DATA_SETS.items() if part.told_by_files}
EVERY = [f"{group}={choice}" for group, choices in GROUPS.items() for choice in choices]
CHOICES = [choice for choice in EVERY if choice not in OWN]


@functools.cache
def chosen(choice: str) -> Config:
    """The config of one choice, composed once: Hydra takes longer than all that is tested of it."""
    return compose([choice])


def changed(config: Config, key: str, value: Any) -> Config:
    """The config with one dotted key changed, validated anew."""
    values = config.model_dump(mode="json")
    *parents, last = key.split(".")
    place = values
    for parent in parents:
        place = place[parent]
    place[last] = value
    return from_yaml(json.dumps(values))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_loads_back(choice: str) -> None:
    config = chosen(choice)
    assert from_yaml(to_yaml(config)) == config


def test_every_yaml_is_in_a_group() -> None:
    files = {file.relative_to(config_folder()) for file in config_folder().rglob("*.yaml")}
    in_groups = {Path(g) / f"{c}.yaml" for g, choices in GROUPS.items() for c in choices}
    claims = {Path("claim") / f"{name}.yaml" for name in claim_ids()}
    assert files == in_groups | claims | {Path("config.yaml")}


def test_the_schema_has_no_default_of_its_own() -> None:
    """Every default value lives in YAML: each field must be given."""

    def fields(model: Any) -> list[Any]:
        found = list(model.model_fields.values())
        for part in model.__subclasses__():
            if part.__module__.startswith("normlab."):  # others may have been loaded by a test
                found += fields(part)
        return found

    base = Config.__mro__[1]
    assert len(fields(base)) > 50
    derived = Config.model_fields["plugins"]  # said by what is loaded, not by a YAML
    assert all(field.is_required() for field in fields(base) if field is not derived)


def test_defaults() -> None:
    assert (DEFAULT.model.name, DEFAULT.model.depth) == ("cnn", 20)
    assert (DEFAULT.norm.name, DEFAULT.data.name) == ("bn", "digits")


def test_resnet_is_cnn_with_residual() -> None:
    assert compose(["model=resnet"]) == compose(["model=cnn", "model.residual=true"])


def test_steps_replace_epochs() -> None:
    assert compose(["training.steps=10"]) == compose(["training.steps=10", "training.epochs=3"])
    assert compose(["training.steps=10"]).training.epochs is None


@pytest.mark.parametrize(
    ("overrides", "same_as"),
    [
        ("norm=bn norm.momentum=0 norm=ln", "norm=ln"),
        ("norm=bn norm.position=after norm=ln", "norm=ln"),
        ("norm=bn norm=ln norm.position=after", "norm=ln norm.position=after"),
        ("schedule=multistep schedule.gamma=0.001 schedule=cosine", "schedule=cosine"),
        ("norm=bn norm.momentum=0 model.depth=8 norm=bn", "norm=bn model.depth=8"),
        # A group that is chosen once keeps its keys, wherever they stand.
        ("norm.position=after norm=ln", "norm=ln norm.position=after"),
    ],
)
def test_a_group_chosen_again_replaces_what_was_set_of_it(overrides: str, same_as: str) -> None:
    assert compose(overrides.split()) == compose(same_as.split())


def test_probes_are_a_set() -> None:
    one = compose(["probes.measure=[grad_norm,delta_rms,grad_norm]"])
    two = compose(["probes.measure=[delta_rms,grad_norm]"])
    assert one == two
    assert one.probes.measure == ("grad_norm", "delta_rms")


def test_negative_zero_is_zero() -> None:
    keys = ("optimizer.weight_decay", "optimizer.beta1", "norm.momentum", "model.init_gain")

    def with_zero(zero: str) -> Config:
        zeros = (*(f"{key}={zero}" for key in keys), f"schedule.milestones=[{zero},0.5]")
        return compose(["schedule=multistep", "optimizer=adam", *zeros])

    negative = with_zero("-0.0")
    assert run_id(negative) == run_id(with_zero("0.0"))
    assert "-0.0" not in to_yaml(negative)


def test_a_root_at_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    roots = {"~": "/home/me", "~/runs": "/home/me/runs", "~no-one/x": "~no-one/x", "a/~": "a/~"}
    for written, root in roots.items():
        assert compose([f"output.root={written}"]).output.root == root


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        DEFAULT.seed = 1  # type: ignore[misc]


# ------------------------------------------------------------------------------ identity

# A second valid value for every key of the default config.
OTHER_VALUES = {
    "seed": 1,
    "data.name": "mnist",
    "data.train_size": 100,
    "data.test_size": 100,
    "data.test_share": 0.2,
    "data.subset": "first",
    "data.seed": 1,
    "data.label_noise": 0.5,
    "data.standardize": "none",
    "data.crop_padding": 1,
    "data.flip": True,
    "data.padding": None,  # only with model=encoder: tests/data/test_padding
    "data.padding_content": None,
    "model.name": None,  # another name is another schema
    "training.label_smoothing": 0.1,
    "training.stop_metric": None,  # neither goes without the other: test_ending_early
    "training.stop_value": None,
    "model.depth": 26,
    "model.width": 16,
    "model.activation": "gelu",
    "model.residual": True,
    "model.shortcut": "B",
    "model.block": "pre",
    "model.branch_scale": None,  # only with skips
    "model.branch_alpha": 0.5,
    "model.weight_standardization": "plain",
    "model.bias": False,
    "model.init": "orthogonal",
    "model.init_gain": 1.5,
    "model.init_std": None,  # only with init=normal
    "model.bias_std": 0.1,
    "norm.name": None,
    "norm.position": "after",
    "norm.affine": False,
    "norm.eps": 1e-3,
    "norm.momentum": 0.2,
    "norm.noise": 0.5,
    "norm.masked": None,  # only with model=encoder: below
    "optimizer.name": None,
    "optimizer.lr": 0.2,
    "optimizer.momentum": 0.8,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 0.0,
    "optimizer.decay": "weights",
    "schedule.name": None,
    "schedule.warmup_steps": 5,
    "schedule.warmup_factor": 0.2,
    "schedule.warmup_shape": "constant",
    "schedule.final_factor": 0.1,
    "training.epochs": 3,
    "training.steps": 7,
    "training.batch_size": 64,
    "training.loss": "sigmoid",
    "training.clip_norm": 1.0,
    "training.precision": "bf16",
    "training.evaluate_every_epochs": 2,
    "training.extends": "0123456789",
    "probes.measure": ["delta_rms"],
    "probes.batch_size": 64,
    "probes.snapshots": 3,
    "probes.grad_norm_steps": 3,
}
NO_PART = ("runtime", "launcher", "experiment")  # of what a group choice alone decides
OUTSIDE = {
    "probes.tokens": ["token_cosine"],  # of a network that has none
    "data.root": "/elsewhere",
    "training.max_seconds": 60.0,
    "runtime.device": "cpu",
    "runtime.threads": 2,
    "runtime.deterministic": False,
    "runtime.graph": "on",
    "runtime.channels_last": True,
    "runtime.checkpoint_seconds": 5,
    "output.root": "/elsewhere",
    "output.experiment": "other",
    "output.weights": True,
    "output.keep": True,
    "launcher.name": "local",
    "launcher.workers": 3,
    "launcher.runs_per_device": 2,
    "launcher.timeout_seconds": 5.0,
}


def test_the_table_of_other_values_is_complete() -> None:
    assert set(leaves()) == set(OTHER_VALUES) & set(leaves()) | set(OUTSIDE)


@pytest.mark.parametrize("key", [k for k in leaves() if OTHER_VALUES.get(k) is not None])
def test_what_can_change_the_outcome_changes_the_id(key: str) -> None:
    other = changed(DEFAULT, key, OTHER_VALUES[key])
    assert other != DEFAULT
    assert run_id(other) != run_id(DEFAULT)


def test_an_encoders_keys_change_the_id() -> None:
    encoder = ("model=encoder", "norm=bn")
    changes = (
        *("data.padding=0.5", "norm.masked=false", "model.heads=8", "model.feed_forward=2"),
        *("model.placement=post", "model.residual=false", "model.qk_norm=true", "model.patch=4"),
        *("model.attention_scale=none", "model.positions=none"),
    )
    identities = {run_id(compose([*encoder, *given])) for given in ((), *((c,) for c in changes))}
    assert len(identities) == 1 + len(changes)


def test_other_groups_change_the_id() -> None:
    configs = [chosen(choice) for choice in CHOICES if choice.split("=")[0] not in NO_PART]
    assert len(configs) > 20
    assert len({run_id(c) for c in configs}) == len({c.model_dump_json() for c in configs})


@given(
    device=st.sampled_from(["auto", "cpu", "mps", "cuda", "cuda:3"]),
    threads=st.integers(1, 1024),
    root=st.text(min_size=1),
    experiment=st.from_regex(r"[\w][\w .+-]{0,40}", fullmatch=True),
)
def test_runtime_and_output_do_not_change_the_id(
    device: str, threads: int, root: str, experiment: str
) -> None:
    values = DEFAULT.model_dump()
    values["runtime"] |= {"device": device, "threads": threads, "checkpoint_seconds": 0}
    values["output"] |= {"root": root, "experiment": experiment}
    values["data"]["root"] = root
    assert run_id(Config.model_validate(values)) == run_id(DEFAULT)


@given(
    seed=st.integers(0, 2**63 - 1),
    lr=st.floats(0, 1e300),
    width=st.integers(1, 10**9),
    root=st.none() | st.text(),
)
@settings(max_examples=25)
def test_yaml_round_trip_keeps_config_and_id(
    seed: int, lr: float, width: int, root: str | None
) -> None:
    config = DEFAULT.model_copy(
        update={
            "seed": seed,
            "data": DEFAULT.data.model_copy(update={"root": root}),
            "model": DEFAULT.model.model_copy(update={"width": width}),
            "optimizer": DEFAULT.optimizer.model_copy(update={"lr": lr}),
        }
    )
    back = from_yaml(to_yaml(config))
    assert back == config
    assert run_id(back) == run_id(config)


def test_odd_line_breaks_load_back() -> None:
    for root in ("a\x85b", "a\u2028b\u2029", "\x00\x1b\ufeff", "1e3", "null"):
        values = DEFAULT.model_dump()
        values["data"]["root"] = root
        config = Config.model_validate(values)
        assert from_yaml(to_yaml(config)) == config


def test_the_id_does_not_depend_on_order_or_spelling() -> None:
    one = compose(["optimizer.lr=1", "seed=3", "model.depth=26"])
    two = compose(["model.depth=26", "seed=3", "optimizer.lr=1.0"])
    assert run_id(one) == run_id(two)


# ------------------------------------------------------------------------------ bad input

REFUSED = {
    "norm=wn model.init=dirac": "model.init=dirac: leaves units with weights of 0",
    "model.init_gain=atuo": "model.init_gain=atuo: must be a number or auto",
    "model.dept=3": "model.dept=3: no such key; did you mean model.depth?",
    "nrom=bn": "nrom=bn: no such key; did you mean norm?",
    f"data.root={'[' * 10_000}": "an override has at most 10,000 characters",
    "norm=batchnorm": "norm=bn is BatchNorm",
    "optimizer=SGD": "choices: adam, adamw, sgd; did you mean sgd?",
    "data=CIFAR-10": "did you mean cifar10?",
    "batch_size=3": "did you mean training.batch_size?",
    "norm=bm": "norm=bm: no such choice; choices: bn, ",
    "model=resent": "choices: cnn, encoder, mlp, resnet; did you mean resnet?",
    "model.depth=7": "nearest are 8 and 14",
    "model.depth=21": "model.depth=21: a CNN's depth is 6n+2; nearest are 20 and 26",
    "model.depth=2": "model.depth=2: a CNN's depth is 6n+2; nearest are 8 and 14",
    "model.depth=999": "model.depth=999: a CNN's depth is 6n+2; nearest are 998 and 1004",
    "model.depth=10001": "model.depth=10001: must be at most 10000",
    "model.depth=abc": "model.depth=abc: must be a whole number",
    "model.depth=2.5": "model.depth=2.5: must be a whole number",
    "model.depth=true": "model.depth=true: must be a whole number",
    "model.depth=": "model.depth=: must be a whole number",
    "model.depth=8,20": "model.depth=8,20: one run takes one value for model.depth",
    "seed=range(3)": "seed=range(3): one run takes one value for seed",
    **{
        text: f"{text}: its range must have an end, and at most 100,000 values"
        for text in (
            *("seed=range(0,1e9)", "seed=shuffle(range(100001))", "seed=range(0,1,0)"),
            *("optimizer.lr=range(nan,1)", "optimizer.lr=range(0,inf)", "seed=range(0,1,1e-400)"),
            f"seed=range(1{'0' * 99})",
        )
    },
    "seed=range(1,3),range(2)": "give values or one range, not ranges in a list",
    "seed=interval(0,1),2": "give values or one range, not ranges in a list",
    "norm=bn,ln": "norm=bn,ln: one run takes one value for norm",
    "model.depth=[": "model.depth=[: not an override",
    "norm.groups=3": "norm.groups=3: no such key of norm=bn; add norm=gn",
    "model=encoder model.block=pre": "its norms stand where model.placement says",
    "data.file=wine.npz": "data.file=wine.npz: no such key of data=digits; add data=npz",
    "data.size=8": "of data=digits; data=gaussian, folder and parquet have it",
    "model=my_own": "encoder, mlp, resnet; a plugin's is given with --plugin FILE_OR_MODULE",
    "model.name=my_own": "; a plugin's is given with --plugin FILE_OR_MODULE",
    "data=wine.npz": "; write data=npz data.file=wine.npz",
    "data=beans/train-0.parquet": "; write data=parquet data.root=beans",
    "data=tests": "; write data=folder data.root=tests",
    "+extra=1": "extra=1: no such key",
    "+model.extra=1": "model.extra=1: no such key",
    "~norm": "norm: is missing",
    "~model.depth": "model.depth: is missing",
    "model.activation=relux": "choices: relu, leaky_relu",
    "model.name=foo": "model.name=foo: no such choice; choices: mlp, cnn",
    "model={depth:20}": "model takes one of cnn, encoder, mlp, resnet",
    "norm@other=bn": "norm takes one of",
    "lr=0.1": "did you mean optimizer.lr?",
    "epochs=3": "did you mean training.epochs?",
    "model.norm=ln": "did you mean norm?",
    "runtime.threads=100000": "must be at most 1024",
    "model.width=99999999999999999999": "must be at most 1000000000",
    "hydra.run.dir=x": "hydra.run.dir=x: no such key",
    "optimizer.lr=nan": "optimizer.lr=nan: must be a finite number",
    "optimizer.lr=inf": "optimizer.lr=inf: must be a finite number",
    "optimizer.lr=-1": "optimizer.lr=-1: must be at least 0",
    "optimizer.momentum=1": "optimizer.momentum=1: must be below 1",
    "training.epochs=null": "training.epochs=null: give training.epochs or training.steps",
    "training=3": "training=3: must be a mapping",
    "runtime.device=gpu": "choices: auto, cpu, cuda, cuda:N, mps",
    "runtime.threads=0": "runtime.threads=0: must be at least 1",
    "output.experiment=../up": "must be one folder name",
    "output.experiment='..'": "must be one folder name",
    "output.experiment=.mine": "begins with a dot, and such folders are hidden; mine would be",
    "output.root=''": "output.root=: must not be empty",
    "data.root=${oc.env:HOME}": "only other keys can be interpolated",
    "data.root=${hydra:runtime.cwd}": "only other keys can be interpolated",
    "data.root=${model.depth}": "must be text",
    "probes.measure=[grad]": "probes.measure.0=grad: no such choice; choices: grad_norm",
    "probes.measure=grad_norm": "must be a list",
    "model.init=normal": "model.init=normal: needs a standard deviation",
    "model.init_std=0.1": "model.init_std=0.1: only model.init=normal has one",
    "optimizer.nesterov=true optimizer.momentum=0": "needs optimizer.momentum above 0",
    "model=mlp training.batch_size=1": "BatchNorm has no variance over one sample",
    "model.bias=false model.bias_std=1.0": "there are no biases",
    "norm=gn norm.groups=3": "norm.groups=3: must divide the layers' channels, 8, 16, 32",
    "+=1": "+=1: not an override",
    "": "not an override",
}


@pytest.mark.parametrize("overrides", REFUSED)
def test_refused_in_one_line(overrides: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(overrides.split(" "))
    message = str(caught.value)
    assert REFUSED[overrides] in message
    assert "\n" not in message
    assert len(message) < 340


def test_value_choices() -> None:
    assert value_choices("model.residual") == ["true", "false"]
    assert "tanh" in value_choices("model.activation")
    assert value_choices("model.block") == ["post", "pre"]
    assert value_choices("model.depth") == []
    assert value_choices("nothing.here") == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "CNN-20 bn on digits"),
        (["model=resnet", "model.depth=56", "norm=none"], "ResNet-56 without norm on digits"),
        (["model=mlp", "model.activation=tanh"], "MLP-20 tanh bn on digits"),
        (["model=mlp", "model.residual=true"], "residual MLP-20 bn on digits"),
    ],
)
def test_describe(overrides: list[str], words: str) -> None:
    assert describe(compose(overrides)) == words
