"""Each rule on both sides of each of its thresholds, which stand here a second time by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest

from normlab.measurement.causes import RULES, find_cause
from normlab.measurement.figures import Figures, TrainingEnd, skill
from normlab.measurement.states import NOTHING_MEASURED
from normlab.vocabulary import CAUSES
from tests.measurement.failing import composed, figures, state

BN, DEEP, DEEP_BN = ("norm=bn",), ("model.depth=17",), ("norm=bn", "model.depth=17")
# (1 − 0.004)^165 = 0.516 is left of the statistics' start.
LAGGING = ("norm=bn", "norm.momentum=0.004")
DIVERGED = TrainingEnd("diverged", 7, 10, 11, 10_000)


def test_every_cause_but_unknown_has_a_rule() -> None:
    assert {rule.cause for rule in RULES} >= set(CAUSES) - {"unknown"}


def test_nothing_to_blame_is_unknown() -> None:
    found = find_cause(figures())
    assert (found.cause, found.evidence, found.missing) == ("unknown", (), ())


def alike(cosine: float, centred: float) -> Any:
    return state(step=0, cosine=cosine, centred_cosine=centred)


FAINT = state(ratio=0.009)
ENCODER = ("model=encoder", "model.depth=12", "norm=ln")


def tokens(distance: float, step: int = 0) -> Any:
    return state(step=step, distance=distance, unit="block")


NOISY, ONLY_NOISE = ("data.label_noise=0.5",), ("data.label_noise=1",)
# Settings, the figures that show a cause, and figures just on the other side of its threshold.
CASES: list[tuple[str, tuple[str, ...], dict[str, Any], dict[str, Any]]] = [
    ("none", (), {"train_skill": 0.91, "test_skill": 0.9}, {"train_skill": 0.89}),
    (
        *("memorizes", (), {"train_skill": 1.0, "test_skill": 0.49}),
        {"train_skill": 1.0, "test_skill": 0.51},
    ),
    (
        *("memorizes", (), {"train_skill": 0.51, "test_skill": 0.09}),
        {"train_skill": 0.51, "test_skill": 0.11},
    ),
    (
        *("memorizes", (), {"train_skill": 0.51, "test_skill": 0.09}),
        {"train_skill": 0.49, "test_skill": 0.09},
    ),
    (
        *("memorizes", NOISY, {"train_skill": 0.76, "test_skill": 0.6}),
        {"train_skill": 0.74, "test_skill": 0.6},
    ),
    (
        *("memorizes", NOISY, {"train_skill": 1.0, "test_skill": 0.87}),
        {"train_skill": 1.0, "test_skill": 0.88},
    ),
    (
        *("memorizes", ("data.label_noise=0.06",), {"train_skill": 1.0, "test_skill": 0.94}),
        {"train_skill": 1.0, "test_skill": 0.96},
    ),
    ("collapsed", ENCODER, {"init": tokens(0.9e-4)}, {"init": tokens(1.1e-4)}),
    (
        *("rate_too_large", ENCODER, {"init": tokens(0.02), "end": tokens(0.9e-4, 10)}),
        {"init": tokens(0.02), "end": tokens(1.1e-4, 10)},
    ),
    (
        *("exploding_at_init", (*ENCODER, "model.placement=none")),
        *({"init": state(step=0, ratio=101.0)}, {"init": state(step=0, ratio=99.0)}),
    ),
    ("label_noise", NOISY, {"train_skill": 0.46}, {"train_skill": 0.24}),
    (
        "label_noise",
        NOISY,
        {"train_skill": 0.46, "weight_growth": 9.0},
        {"train_skill": 0.44, "weight_growth": 9.0},
    ),
    ("label_noise", NOISY, {"train_skill": 0.26}, {"train_skill": 0.24}),
    ("label_noise", ONLY_NOISE, {"train_skill": -0.01}, {"train_skill": 0.09, "init": FAINT}),
    ("zero_init", (), {"gain_init": 0.009}, {"gain_init": 0.011}),
    ("zero_init", BN, {"gain_init": 0.0}, {"gain_init": 0.011}),
    (
        *("stale_statistics", BN, {"loss_end": 1.8, "loss_end_eval_mode": 3.7}),
        {"loss_end": 1.8, "loss_end_eval_mode": 3.5},
    ),
    (
        *("stale_statistics", LAGGING, {"loss_end": 1.5, "loss_end_eval_mode": 2.0}),
        {"loss_end": 1.5, "loss_end_eval_mode": 1.9},
    ),
    (
        *("stale_statistics", BN, {"loss_end": 1.8, "loss_end_eval_mode": 9.0}),
        {"loss_end": 1.9, "loss_end_eval_mode": 9.0},
    ),
    (
        *("exploding_at_init", (), {"init": state(ratio=101.0, diagnosis="exploding")}),
        {"init": state(ratio=99.0)},
    ),
    (
        *("exploding_at_init", (), {"init": state(ratio=math.nan, diagnosis="exploding")}),
        {"init": state(ratio=99.0)},
    ),
    ("exploding_at_init", (), {"loss_init": 46.1}, {"loss_init": 46.0}),
    (
        *("vanishing_at_init", (), {"init": state(ratio=0.009), "weight_growth": 9.0}),
        {"init": state(ratio=0.011), "weight_growth": 9.0},
    ),
    # Before all that goes on in training only where next to nothing is left.
    *(
        ("collapsed", overrides, {"init": alike(0.991, there), "weight_growth": 9.0}, {**short})
        for overrides, there, short in (
            ((), 0.995, {"init": alike(0.991, 0.993), "weight_growth": 9.0}),
            ((), 0.995, {"init": alike(0.989, 0.995), "weight_growth": 9.0}),
            (("model.depth=26",), 0.986, {"init": alike(0.991, 0.984), "weight_growth": 9.0}),
            (("model.depth=26",), 0.986, {"init": alike(0.989, 0.986), "weight_growth": 9.0}),
        )
    ),
    ("collapsed", (), {"init": alike(0.991, 0.986)}, {"init": alike(0.989, 0.986)}),
    ("collapsed", (), {"init": alike(0.991, 0.986)}, {"init": alike(0.991, 0.984)}),
    ("collapsed", ("model.bias_std=0.6",), {"init": alike(0.991, 0.5)}, {"init": alike(0.98, 0.5)}),
    ("weight_decay", (), {"weight_kept": 0.69}, {"weight_kept": 0.71}),
    ("rate_too_small", (), {"update": 0.0009}, {"update": 0.00122, "falling": 0.01, "ending": 300}),
    ("rate_too_small", (), {"update": 0.0049}, {"update": 0.0051}),
    ("too_short", (), {"update": 0.006}, {"update": 0.0062}),  # 165 steps: 0.99 and 1.02
    ("too_short", (), {"update": 0.00121}, {"update": 0.00122, "falling": 0.0}),
    ("too_short", (), {"falling": 0.051}, {"falling": 0.049}),
    (
        *("too_short", (), {"falling": 0.1, "loss_end": 2.49}),
        {"falling": 0.1, "loss_end": 2.51},
    ),
    (
        *("too_short", (), {"falling": 0.1, "loss_init": 1.0, "loss_end": 2.30}),
        {"falling": 0.1, "loss_init": 1.0, "loss_end": 2.31},
    ),
    ("rate_too_large", (), {"weight_growth": 3.1}, {"weight_growth": 2.9}),
    ("rate_too_large", (), {"update": 0.16}, {"update": 0.14}),
    # 20 times the loss at init, or that of chance, 2.3, where that is more
    *(
        ("rate_too_large", (), {"falling": 0.1, **shown}, {"falling": 0.1, **short})
        for shown, short in (
            ({"loss_init": 2.5, "loss_end": 50.1}, {"loss_init": 2.5, "loss_end": 49.9}),
            ({"loss_init": 0.1, "loss_end": 46.1}, {"loss_init": 0.1, "loss_end": 46.0}),
            ({"end": state(ratio=101.0)}, {"end": state(ratio=99.0)}),
        )
    ),
    (
        *("rate_too_large", (), {"end": state(ratio=math.nan, diagnosis="vanishing")}),
        {"end": state(ratio=0.011)},
    ),
    (
        "rate_too_large",
        (),
        {"init": state(ratio=0.11), "end": FAINT},
        {"init": FAINT, "end": FAINT},
    ),
    ("rate_too_large", BN, {"weight_growth": 4.6}, {"weight_growth": 4.4}),
    ("rate_too_large", (), {"dead_end": 0.61}, {"dead_end": 0.59}),
    ("rate_too_large", (), {"dead_end": 0.61}, {"dead_init": 0.61, "dead_end": 0.9}),
    ("vanishing_at_init", (), {"init": state(ratio=0.09)}, {"init": state(ratio=0.11)}),
    (
        "rate_too_large",
        (),
        {"ending": DIVERGED},
        {"ending": TrainingEnd("finished", 165, 10, 11, 10_000)},
    ),
]


# Of an MLP-4 of width 128 on digits after 25 epochs: the share of noise, and the two accuracies.
@pytest.mark.parametrize(
    ("noise", "train", "test", "cause"),
    [
        (0.0003, 1.0, 0.981, "none"),
        (0.002, 1.0, 0.983, "none"),
        (0.01, 0.999, 0.972, "none"),
        (0.05, 0.999, 0.961, "none"),
        (0.1, 0.999, 0.944, "memorizes"),
        (0.2, 0.999, 0.903, "memorizes"),
        (0.5, 0.999, 0.681, "memorizes"),
        (0.01, 0.999, 0.8, "none"),  # so little noise cannot take so much
        (0.0003, 0.999, 0.3, "memorizes"),  # by the test accuracy alone
    ],
)
def test_a_network_knows_noise_by_heart_where_the_test_set_shows_it(
    noise: float, train: float, test: float, cause: str
) -> None:
    measured = figures(
        f"data.label_noise={noise}", train_skill=skill(train, 0.1), test_skill=skill(test, 0.1)
    )
    assert find_cause(measured).cause == cause


@pytest.mark.parametrize(("cause", "overrides", "shown", "short_of"), CASES)
def test_each_side_of_a_threshold(
    cause: str, overrides: tuple[str, ...], shown: dict[str, Any], short_of: dict[str, Any]
) -> None:
    found = find_cause(figures(*overrides, **shown))
    assert found.cause == cause
    assert all(fact.holds for fact in found.evidence)
    assert found.evidence
    if isinstance(short_of.get("ending"), int):
        short_of = {**short_of, "ending": TrainingEnd("finished", 1000, 10, 11, 10_000)}
    assert find_cause(figures(*overrides, **short_of)).cause != cause


@pytest.mark.parametrize(
    ("cause", "overrides", "short_of"),
    [
        ("data_settings", ("data.crop_padding=5",), ("data.crop_padding=4",)),
        ("data_settings", ("data=gaussian", "data.size=1"), ("data=gaussian", "data.size=2")),
        ("batch_too_small", (*BN, "training.batch_size=4"), (*BN, "training.batch_size=5")),
        ("capacity", ("model.width=9",), ("model.width=10",)),
        ("capacity", ("model.activation=identity",), ()),
        ("unknown", ("norm=bn", "norm.noise=0.5", *DEEP), ()),
        ("depth", DEEP, ("model.depth=16",)),
        ("depth", ("model=cnn", "model.depth=20"), ("model=resnet", "model.depth=20")),
        (
            "collapsed",
            ("model=cnn", "model.depth=8", "norm=in", "norm.position=after"),
            ("model=cnn", "model.depth=8", "norm=in"),
        ),
    ],
)
def test_what_settings_decide(
    cause: str, overrides: tuple[str, ...], short_of: tuple[str, ...]
) -> None:
    assert find_cause(figures(*overrides)).cause == cause
    assert find_cause(figures(*short_of)).cause == "unknown"


def clipped(*overrides: str, **changes: Any) -> str:
    known = {"clip_factor": 0.09, "update": 0.001, **changes}
    return find_cause(figures("training.clip_norm=0.001", *overrides, **known)).cause


def test_clipping_unless_adam_divides_it_out() -> None:
    assert clipped() == "clipping"
    assert clipped(clip_factor=0.11) == "too_short"
    assert clipped(update=0.01) == "unknown"
    assert clipped("optimizer=adam") == "too_short"
    # 0.001 over the root of 10,000 parameters is 1e-5, ten times ε of 1e-6.
    assert clipped("optimizer=adam", "optimizer.eps=1.01e-6") == "clipping"
    assert clipped("optimizer=adam", "optimizer.eps=0.99e-6") == "too_short"


def test_a_norm_leaves_an_explosion_to_depth() -> None:
    wild = state(ratio=500.0, diagnosis="exploding")
    exploding = {"init": wild, "end": wild, "update": 0.0001}
    assert find_cause(figures(*DEEP, **exploding)).cause == "exploding_at_init"
    assert find_cause(figures(*DEEP_BN, **exploding)).cause == "depth"
    settled = {"init": wild, "end": state(), "update": 0.0001}
    assert find_cause(figures(*DEEP_BN, **settled)).cause == "rate_too_small"
    assert find_cause(figures(*BN, **exploding)).cause == "rate_too_small"


@pytest.mark.parametrize(
    ("overrides", "changes", "cause"),
    [
        # Each has what the later cause asks for, too.
        ((), {"gain_init": 0.0, "init": state(ratio=1e-9, diagnosis="vanishing")}, "zero_init"),
        (BN, {"loss_end": 0.1, "loss_end_eval_mode": 9.0, "weight_growth": 5}, "stale_statistics"),
        ((), {"init": state(ratio=1e3, diagnosis="exploding"), "ending": DIVERGED}, "exploding_at"),
        ((), {"init": state(ratio=1e-3, cosine=1.0, centred_cosine=1.0)}, "vanishing_at_init"),
        ((), {"weight_growth": 5.0, "init": state(ratio=0.05)}, "rate_too_large"),
        (DEEP, {"init": state(ratio=0.05)}, "vanishing_at_init"),
        ((), {"weight_kept": 0.1, "update": 0.3}, "weight_decay"),
        (("optimizer.weight_decay=0",), {"weight_kept": 0.1, "update": 0.3}, "rate_too_large"),
        (("model.width=3",), {"dead_end": 1.0}, "capacity"),
        (("model.width=4",), {"dead_end": 1.0}, "rate_too_large"),
        ((*BN, "training.batch_size=2"), {"weight_growth": 20.0}, "batch_too_small"),
        (DEEP, {"falling": 0.3}, "too_short"),
        (("model.depth=26",), {"falling": 0.3}, "depth"),
        (DEEP, {"end": state(ratio=101.0)}, "depth"),
        # A norm's own explosion comes before what the first steps did to the weights.
        (DEEP_BN, {"init": state(ratio=500.0), "weight_growth": 9.0}, "depth"),
        (DEEP_BN, {"init": state(ratio=50.0), "weight_growth": 9.0}, "rate_too_large"),
        (DEEP, {"update": 0.001}, "too_short"),
    ],
)
def test_the_order_of_exclusion(
    overrides: tuple[str, ...], changes: dict[str, Any], cause: str
) -> None:
    assert find_cause(figures(*overrides, **changes)).cause.startswith(cause)


@pytest.mark.parametrize(
    ("unmeasured", "missing"),
    [
        ({"gain_init": None}, ["weight_norm"]),
        ({"update": None}, ["update_ratio"]),
        ({"init": state(diagnosis=None)}, ["delta_rms"]),
        ({"weight_growth": None}, ["weight_norm"]),
        ({"init": alike(0.995, math.nan)}, ["act_std"]),
        ({"dead_end": None, "dead_init": None}, ["dead_fraction"]),
    ],
)
def test_what_was_not_measured_leaves_later_causes_unknown(
    unmeasured: dict[str, Any], missing: list[str]
) -> None:
    # Depth comes last: all others have to be excluded.
    assert find_cause(figures(*DEEP)).cause == "depth"
    found = find_cause(figures(*DEEP, **unmeasured))
    assert (found.cause, found.evidence) == ("unknown", ())
    assert list(found.missing) == missing
    # A cause that comes before needs none of it.
    assert find_cause(figures("data.crop_padding=7", *DEEP, dead_end=None)).cause == "data_settings"


def test_a_run_of_no_steps_is_judged_by_its_start_alone() -> None:
    def at_init(**changes: Any) -> str:
        none = TrainingEnd("finished", 0, 10, 11, 10_000)
        return find_cause(figures(ending=none, update=None, falling=None, **changes)).cause

    assert at_init() == "none"
    broken = TrainingEnd("diverged", 0, 10, 11, 10_000)
    nothing = {"init": NOTHING_MEASURED, "end": NOTHING_MEASURED, "gain_init": None}
    assert find_cause(figures(ending=broken, **nothing)).cause == "exploding_at_init"
    assert at_init(init=state(ratio=1e-3)) == "vanishing_at_init"
    assert at_init(init=state(ratio=1e3)) == "exploding_at_init"
    assert at_init(gain_init=None) == "unknown"


def test_evidence_is_a_figure_a_value_a_side_and_a_threshold() -> None:
    (fact, path) = find_cause(figures(update=0.0001)).evidence
    assert fact.to_plain() == {
        "figure": "mean ‖ΔW‖/‖W‖ of a step",
        "value": 0.0001,
        "side": "below",
        "threshold": 0.001,
    }
    assert path.value == pytest.approx(0.0165)
    (loss,) = find_cause(figures(ending=DIVERGED)).evidence
    assert loss.to_plain()["value"] is None


def test_samples_are_alike_through_a_sigmoid_without_any_bias() -> None:
    sigmoid = ("model.activation=sigmoid", "model.bias_std=1")
    assert find_cause(figures(*sigmoid, init=alike(0.999, 0.5))).cause == "unknown"
    assert find_cause(figures("model.bias_std=1", init=alike(0.999, 0.5))).cause == "collapsed"


def test_a_figure_knows_its_configs_measure() -> None:
    def values(*overrides: str) -> float:
        return figures(*overrides).normalized_values

    assert values() == math.inf
    assert values("norm=bn", "training.batch_size=6") == 6
    # The last stage of a CNN has 2×2 positions of an 8×8 image.
    assert values("model=cnn", "model.depth=8", "norm=bn", "training.batch_size=6") == 24
    # Each sample of 8 rows has 2 real ones at least, of which masked BatchNorm's means are.
    padded = ("model=encoder", "norm=bn", "data.padding=0.75", "training.batch_size=6")
    assert values(*padded) == 12
    assert values(*padded, "norm.masked=false") == 48
    assert values(*padded, "model.patch=2") == 6 * 4
    known: Figures = figures(
        "schedule=multistep", "schedule.milestones=[0.5]", "schedule.gamma=0.1"
    )
    assert known.schedule_factor == pytest.approx((83 + 82 * 0.1) / 165)
    assert composed("model=mlp", "model.width=12").model.channels == (12,)
    assert figures("model=cnn", "model.depth=8", "model.width=4").narrowest == 16


def test_a_linear_network_is_on_its_way_while_its_loss_falls() -> None:
    linear = ("model.activation=identity",)
    assert find_cause(figures(*linear, falling=0.06)).cause == "too_short"
    assert find_cause(figures(*linear, falling=0.04)).cause == "capacity"
    assert find_cause(figures(*linear, falling=None)).cause == "unknown"


def test_a_run_that_came_to_the_value_it_was_to_stop_at_is_short_by_that() -> None:
    found = find_cause(
        figures(ending=TrainingEnd("stopped", 44, 10, 11, 10_000), weight_growth=9.0)
    )
    assert found.cause == "too_short"
    assert "stop_value" in found.evidence[0].figure


def test_a_network_of_one_layer_has_no_hidden_ones_to_exclude() -> None:
    alone = {"init": NOTHING_MEASURED, "end": NOTHING_MEASURED, "dead_init": math.nan}
    found = find_cause(figures("model.depth=1", **alone, dead_end=math.nan, update=1e-5))
    assert (found.cause, found.missing) == ("rate_too_small", ())


def test_what_blew_up_without_a_norm_was_blown_up_by_its_steps() -> None:
    """An encoder-4 without a norm under Adam's lr=0.05, whose loss fell from yet higher."""
    start, end = tokens(0.3), tokens(0.3, 10)
    blown = {"loss_init": 6.7, "loss_end": 2e10, "falling": 0.4, "init": replace(start, ratio=5.0)}
    encoder = ("model=encoder", "model.depth=4", "model.placement=post", "optimizer=adam")
    measured = figures(*encoder, "norm=none", **blown, end=replace(end, ratio=4e11))
    for either in (measured, replace(measured, end=end), replace(measured, loss_end=None)):
        assert find_cause(either).cause == "rate_too_large"
    assert find_cause(replace(measured, end=end, loss_end=None)).cause == "too_short"


def test_a_large_step_is_no_fault_before_a_norm() -> None:
    assert find_cause(figures(update=0.2)).cause == "rate_too_large"
    assert find_cause(figures("norm=ln", update=0.2)).cause == "unknown"
