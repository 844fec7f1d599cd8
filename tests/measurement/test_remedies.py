"""Advice: first the setting that is to blame, never what is set already."""

from collections.abc import Iterator
from typing import Any

import pytest

from normlab.measurement.figures import TrainingEnd
from normlab.measurement.remedies import remedies
from normlab.vocabulary import CAUSES
from tests.measurement.failing import composed, figures

ENCODER = "model=encoder model.depth=12 norm=ln optimizer=adam"
SMALL = {"ending": TrainingEnd("finished", 165, 10, 1, 10_000)}  # two samples an epoch


@pytest.mark.parametrize(
    ("cause", "overrides", "changes", "expected"),
    [
        ("rate_too_small", "optimizer.lr=1e-4", {}, "lr=0.1, lr=0.03"),
        ("rate_too_small", "optimizer.lr=0.05", {}, "lr=0.5, lr=0.2"),
        ("rate_too_small", "optimizer=adam optimizer.lr=1e-6", {}, "lr=0.001, lr=0.0003"),
        ("rate_too_small", "optimizer=adam optimizer.eps=1", {}, "optimizer.eps=1e-08, lr=0.01"),
        ("rate_too_small", "schedule.warmup_steps=9999", {}, "schedule.warmup_steps=0, lr=1"),
        (
            *(
                "rate_too_small",
                "schedule=multistep schedule.milestones=[0.01] schedule.gamma=1e-3",
            ),
            *({}, "schedule.gamma=1, lr=1"),
        ),
        ("rate_too_small", "schedule=onecycle schedule.rise=0.999", {}, "lr=1, lr=0.3"),
        ("rate_too_large", "optimizer.lr=5", {}, "lr=0.1, lr=0.03"),
        ("rate_too_large", "optimizer.lr=0.1", {}, "lr=0.01, lr=0.003"),
        (
            *("rate_too_large", f"{ENCODER} model.placement=post optimizer.lr=4e-3", {}),
            "model.placement=pre, lr=0.001, lr=0.0003, schedule.warmup_steps=82",
        ),
        (
            "rate_too_large",
            f"{ENCODER} model.placement=post optimizer.lr=4e-3 schedule.warmup_steps=82",
            *({}, "model.placement=pre, lr=0.001, lr=0.0003"),
        ),
        ("rate_too_large", f"{ENCODER} optimizer.lr=4e-3", {}, "lr=0.001, lr=0.0003"),
        ("collapsed", f"{ENCODER} model.residual=false", {}, "model.residual=true"),
        (
            *("collapsed", f"{ENCODER} model.residual=false model.placement=post", {}),
            "model.residual=true model.placement=pre",
        ),
        # Pre-LN alone does not do at a hundred times the default rate.
        (
            *("rate_too_large", f"{ENCODER} model.placement=post optimizer.lr=0.1", {}),
            "lr=0.001, lr=0.0003, model.placement=pre, schedule.warmup_steps=82",
        ),
        (
            *("rate_too_large", f"{ENCODER} model.placement=post optimizer.lr=9e-3", {}),
            "model.placement=pre, lr=0.001",
        ),
        (
            *("rate_too_large", f"{ENCODER} model.placement=post optimizer.lr=0.011", {}),
            "lr=0.001, lr=0.0003",
        ),
        # Where a norm stands is all the same if it does not normalize.
        (
            *("rate_too_large", f"{ENCODER} norm=none model.placement=post optimizer.lr=4e-3", {}),
            "lr=0.001, lr=0.0003",
        ),
        (
            *("collapsed", f"{ENCODER} norm=none model.residual=false model.placement=post", {}),
            "model.residual=true",
        ),
        (
            *("collapsed", f"{ENCODER} norm=none model.placement=post", {}),
            "norm=ln model.placement=pre",
        ),
        (
            *("exploding_at_init", f"{ENCODER} norm=none model.placement=post", {}),
            "norm=ln model.placement=pre, model.init_gain=0.3",
        ),
        (
            *("exploding_at_init", f"{ENCODER} norm=none model.placement=none", {}),
            "norm=ln model.placement=pre, model.init_gain=0.3",
        ),
        (
            *("exploding_at_init", f"{ENCODER} norm=none", {}),
            "norm=ln, model.init_gain=0.3",
        ),
        ("rate_too_large", "optimizer.momentum=0.995", {}, "optimizer.momentum=0.9, lr=0.01"),
        ("rate_too_large", "optimizer.momentum=0.995 optimizer.lr=5", {}, "lr=0.1, lr=0.03"),
        (
            *("rate_too_large", "schedule.warmup_steps=99 schedule.warmup_factor=50"),
            *({}, "schedule.warmup_factor=0.1, lr=0.01"),
        ),
        (
            "clipping",
            "training.clip_norm=1e-4",
            {},
            "training.clip_norm=null, training.clip_norm=1",
        ),
        (
            "rate_too_large",
            "schedule=multistep schedule.gamma=20",
            {},
            "schedule.gamma=0.1, lr=0.01",
        ),
        ("rate_too_large", "schedule.final_factor=30", {}, "schedule.final_factor=0, lr=0.01"),
        ("rate_too_large", "model.init_gain=60 norm=bn", {"gain_init": 85.0}, "model.init_gain=1"),
        ("too_short", "model.init_gain=60 norm=ln", {"gain_init": 85.0}, "model.init_gain=1"),
        (
            *("too_short", "training.stop_metric=train_acc training.stop_value=0.5"),
            {"ending": TrainingEnd("stopped", 44, 10, 11, 10_000)},
            "training.stop_metric=null training.stop_value=null",
        ),
        ("batch_too_small", "norm=bn training.batch_size=2 data.train_size=10", SMALL, "norm=ln"),
        ("weight_decay", "optimizer.weight_decay=0.1", {}, "optimizer.weight_decay=0.0001"),
        ("weight_decay", "optimizer.weight_decay=5e-4", {}, "optimizer.weight_decay=0"),
        ("too_short", "training.epochs=3", {"update": 0.01}, "training.epochs=10"),
        ("too_short", "training.steps=12", {"update": 0.0001}, "training.steps=200"),
        ("stale_statistics", "norm=bn norm.momentum=0", {}, "norm.momentum=0.1, norm=ln"),
        ("stale_statistics", "norm=bn", {}, "norm.momentum=0.3, norm=ln"),
        ("stale_statistics", "norm=bn norm.momentum=0.3", {}, "norm.momentum=0.5, norm=ln"),
        ("stale_statistics", "norm=bn norm.momentum=1", {}, "norm.momentum=0.1, norm=ln"),
        ("stale_statistics", "norm=bn training.batch_size=3", {}, "training.batch_size=16"),
        ("batch_too_small", "norm=bn training.batch_size=2", {}, "training.batch_size=16, norm=ln"),
        ("vanishing_at_init", "", {}, "norm=bn, model.residual=true"),
        ("vanishing_at_init", "model.activation=tanh", {}, "norm=bn, model.residual=true, relu"),
        ("vanishing_at_init", "norm=bn", {}, "model.residual=true"),
        ("vanishing_at_init", "norm=bn norm.eps=100", {}, "norm.eps=1e-05, model.residual=true"),
        ("vanishing_at_init", "training.batch_size=1", {}, "norm=ln, model.residual=true"),
        ("vanishing_at_init", "model.depth=26", {}, "norm=bn model.residual=true"),
        ("vanishing_at_init", "model.depth=2", {}, "norm=bn"),
        ("vanishing_at_init", "model.depth=3", {}, "norm=bn, model.residual=true"),
        ("exploding_at_init", "model.init_gain=4", {}, "model.init_gain=1, norm=bn"),
        ("exploding_at_init", "", {}, "norm=bn, model.residual=true"),
        (
            *("exploding_at_init", "model.residual=true model.depth=12 model.init_gain=2"),
            *({}, "model.init_gain=0.3, norm=bn"),
        ),
        (
            *("exploding_at_init", "model.residual=true model.depth=12", {}),
            "model.init_gain=0.3, norm=bn, model.branch_scale=sqrt_depth",
        ),
        (
            *("exploding_at_init", "model=resnet model.depth=20", {}),
            "norm=bn, model.init_gain=0.3, model.branch_scale=sqrt_depth",
        ),
        (
            "exploding_at_init",
            "model.residual=true model.depth=12 model.branch_scale=sqrt_depth model.init_gain=1",
            *({}, "model.init_gain=0.3, norm=bn"),
        ),
        (
            *("exploding_at_init", "model=resnet model.depth=20 model.init_gain=3"),
            *({}, "norm=bn, model.init_gain=0.3"),
        ),
        (
            *("exploding_at_init", "model.init=normal model.init_std=1"),
            *({}, "model.init=he_normal model.init_std=null, norm=bn"),
        ),
        ("collapsed", "model.bias_std=30", {}, "model.bias_std=0, norm=bn"),
        (
            *("collapsed", "model=cnn model.depth=8 norm=in norm.position=after"),
            *({}, "norm=bn, norm.position=before"),
        ),
        ("zero_init", "model.init_gain=0", {}, "model.init_gain=1"),
        (
            *("zero_init", "model.init=normal model.init_std=1e-6"),
            *({}, "model.init=he_normal model.init_std=null"),
        ),
        ("capacity", "model.width=2", {}, "model.width=64"),
        ("capacity", "model.width=100", {}, "model.width=400"),
        ("capacity", "model.activation=identity", {}, "relu"),
        ("depth", "model.depth=40", {}, "model.residual=true, model.depth=10"),
        (
            *("depth", "model.depth=40", {"falling": 0.1, "update": 0.1}),
            "model.residual=true, training.epochs=60, model.depth=10",
        ),
        ("depth", "model=cnn model.depth=32", {}, "model.residual=true, model.depth=8"),
        ("memorizes", "data=gaussian", {}, "data=digits"),
        ("memorizes", "data.train_size=10", {}, "data.train_size=null"),
        ("memorizes", "", {}, "optimizer.weight_decay=0.001"),
        ("memorizes", "data.train_size=10 data.label_noise=0.1", {}, "data.label_noise=0"),
        ("memorizes", "data.train_size=10 data.label_noise=0.05", {}, "data.train_size=null"),
        ("label_noise", "data.label_noise=0.1", {}, "data.label_noise=0, training.epochs=60"),
        ("data_settings", "data.crop_padding=7", {}, "data.crop_padding=0"),
        ("data_settings", "data=gaussian data.size=1", {}, "data.size=8"),
        ("unknown", "", {}, "lr=0.02, training.epochs=60"),
        ("unknown", "norm=bn norm.noise=9", {}, "norm.noise=0"),
        ("none", "", {}, ""),
    ],
)
def test_advice(cause: str, overrides: str, changes: dict[str, Any], expected: str) -> None:
    wanted = [
        word.replace("lr=", "optimizer.lr=") if word.startswith("lr=") else word
        for word in expected.replace("relu", "model.activation=relu").split(", ")
        if word
    ]
    assert remedies(cause, figures(*overrides.split(), **changes))[: len(wanted)] == wanted


def test_warm_up_is_advised_where_there_is_none() -> None:
    warm = figures(*f"{ENCODER} model.placement=post schedule.warmup_steps=82".split())
    assert not [words for words in remedies("rate_too_large", warm) if "warmup" in words]


SETTINGS = [
    "model=encoder norm=ln model.placement=post model.residual=false optimizer=adam",
    "model=encoder norm=none model.placement=none model.init_gain=2",
    "",
    "norm=bn",
    "norm=ln model.residual=true",
    "model=cnn model.depth=8 norm=in norm.position=after",
    "model=resnet model.depth=20 norm=bn model.init_gain=3",
    "training.steps=5 norm=bn norm.momentum=0 training.batch_size=2",
    "optimizer=adamw optimizer.weight_decay=1 schedule=onecycle data=gaussian",
    "model.init=normal model.init_std=0.5 model.bias_std=2 model.depth=40",
    "schedule=multistep schedule.gamma=0.001 model.activation=identity model.width=3",
    "data.crop_padding=6 data.train_size=100 training.batch_size=50 training.clip_norm=1e-3",
]
# What a cause asks to be set, so that advice has something to put back.
NEEDS = {
    "zero_init": "model.init_gain=0",
    "data_settings": "data.crop_padding=6",
    "clipping": "training.clip_norm=1e-5",
    "weight_decay": "optimizer.weight_decay=0.3",
    "stale_statistics": "norm=bn norm.momentum=0.001",
    "batch_too_small": "norm=bn training.batch_size=2",
}


def every_combination() -> Iterator[Any]:
    """Of cause and settings; each cause meets settings of its own in one that is not slow."""
    for place, cause in enumerate(name for name in CAUSES if name != "none"):
        for other, overrides in enumerate(SETTINGS):
            marks = [] if other == place % len(SETTINGS) else [pytest.mark.slow]
            yield pytest.param(cause, overrides, marks=marks)


@pytest.mark.parametrize(("cause", "overrides"), list(every_combination()))
def test_advice_composes_and_changes_something(cause: str, overrides: str) -> None:
    """Each put behind the command as it stands."""
    needed = NEEDS.get(cause, "")
    if "init_std" in overrides and cause == "zero_init":
        needed = ""
    if "data=gaussian" in overrides and cause == "data_settings":
        needed = "data.size=1"
    given = ("model=mlp", "model.depth=5", "norm=none", *overrides.split(), *needed.split())
    known = figures(*overrides.split(), *needed.split())
    advice = remedies(cause, known)
    assert len(set(advice)) == len(advice)
    for words in advice:
        assert composed(*given, *words.split()) != known.config


def test_a_norm_is_advised_with_a_branch_scale_that_it_goes_with() -> None:
    fixup = ("model.residual=true", "model.block=pre", "model.branch_scale=fixup")
    advice = remedies("collapsed", figures(*fixup))
    assert "norm=bn model.branch_scale=one" in advice
    for words in advice:  # each is a config
        composed("model=mlp", "norm=none", *fixup, *words.split())
