"""Paired differences against scipy's paired t-test, and what makes no pair."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import DataFrame
from scipy import stats

from normlab.analysis import paired
from normlab.analysis.frames import to_frame
from normlab.errors import ConfigError
from tests.analysis.sample import figures, row


@settings(max_examples=30)  # each makes runs by which to pair
@given(st.lists(st.tuples(figures, figures), min_size=2, max_size=7))
def test_paired_is_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    runs = [
        row(f"norm={norm}", seed=i, train_loss=pair[which])
        for i, pair in enumerate(pairs)
        for which, norm in enumerate(("none", "bn"))
    ]
    found = paired(to_frame(runs), "norm=none", ["train_loss"], ["norm"], [])
    assert found["norm"].tolist() == ["bn"]
    ours = found.iloc[0]
    difference = np.array([b - a for a, b in pairs])
    assert ours["mean"] == pytest.approx(difference.mean(), abs=1e-9)
    assert ours["n"] == len(pairs)
    if difference.std() > 1e-6:
        test = stats.ttest_rel([b for _, b in pairs], [a for a, _ in pairs])
        assert ours["p"] == pytest.approx(test.pvalue, rel=1e-6)
        interval = test.confidence_interval(0.95)
        assert (ours["low"], ours["high"]) == pytest.approx(tuple(interval), abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "none", "bn", "mean"),
    [
        ("train_acc", [0.7, 0.8, 0.9], [0.7, 0.8, 0.9], 0.0),
        ("train_acc", [1.0, 1.0], [1.0, 1.0], 0.0),
        # The same but for rounding: 0.3 - 0.1, 0.4 - 0.2, 0.9 - 0.7 are three numbers.
        ("train_acc", [0.1, 0.2, 0.7], [0.3, 0.4, 0.9], 0.2),
        ("gradient_ratio_end", [0.1, 0.7, 3e-9], [0.3, 2.1, 9e-9], 3.0),
        ("gradient_ratio_end", [0.1, 3e-9], [0.1, 3e-9], 1.0),
    ],
)
def test_one_difference_of_all_pairs_has_no_interval_and_no_p(
    metric: str, none: list[float], bn: list[float], mean: float
) -> None:
    runs = [
        row(f"norm={norm}", seed=seed, **{metric: value})
        for norm, values in (("none", none), ("bn", bn))
        for seed, value in enumerate(values)
    ]
    found = paired(to_frame(runs), "norm=none", [metric], ["norm"], []).iloc[0]
    assert (found["mean"], found["n"]) == (pytest.approx(mean), len(none))
    assert found[["low", "high", "p"]].isna().all()


def test_a_gradient_of_0_on_either_side_makes_no_pair() -> None:
    runs = [
        row(f"norm={norm}", seed=seed, gradient_ratio_end=ratio, verdict_end=verdict)
        for norm, seen in (
            ("none", [(1.0, "healthy"), (None, "vanishing"), (2.0, "healthy")]),
            ("bn", [(0.0, "vanishing"), (1.0, "healthy"), (None, "exploding")]),
        )
        for seed, (ratio, verdict) in enumerate(seen)
    ]
    found = paired(to_frame(runs), "norm=none", ["gradient_ratio_end"], ["norm"], []).iloc[0]
    assert (found["n"], found["zeros"], found["missing"], found["unpaired"]) == (0, 2, 1, 0)


def test_pairs_agree_in_seed_and_all_else() -> None:
    runs = [
        row("norm=none", f"optimizer.lr={lr}", seed=seed, train_acc=lr)
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ] + [row("norm=bn", "optimizer.lr=0.2", seed=seed, train_acc=0.7) for seed in (1, 2)]
    found = paired(to_frame(runs), "norm=none", ["train_acc"], ["norm"], []).iloc[0]
    assert (found["n"], found["mean"]) == (1, pytest.approx(0.5))
    assert math.isnan(found["low"])
    assert math.isnan(found["p"])


def test_pairs_agree_in_the_seed_of_the_data_too_and_not_in_probes() -> None:
    runs = [
        row(f"norm={norm}", f"data.seed={drawn}", probes, seed=0, train_acc=acc)
        for norm, drawn, probes, acc in (
            *(("none", 0, "probes=all", 0.1), ("none", 1, "probes=all", 0.5)),
            *(("bn", 0, "probes=none", 0.2), ("bn", 1, "probes=none", 0.8)),
        )
    ]
    found = paired(to_frame(runs), "norm=none", ["train_acc"], ["norm"], []).iloc[0]
    assert (found["n"], found["mean"]) == (2, pytest.approx(0.2))
    # Pairs are 0.1 and 0.3 apart; means of 0.3 and 0.5 over both would be one pair.
    assert found["high"] - found["mean"] == pytest.approx(stats.t.ppf(0.975, 1) * 0.1)


def test_a_baseline_of_two_keys_and_ratios() -> None:
    runs = [
        row(model, f"norm={norm}", seed=seed, gradient_ratio_end=ratio * (1 + seed))
        for model, norm, ratio in (
            ("model=cnn", "none", 1e-4),
            ("model=cnn", "bn", 1e-2),
            ("model=resnet", "bn", 1.0),
        )
        for seed in (0, 1)
    ]
    keys = ["norm", "model.residual"]
    found = paired(
        to_frame(runs), "norm=none, model.residual=false", ["gradient_ratio_end"], keys, []
    )
    assert found["mean"].tolist() == pytest.approx([1e2, 1e4])
    assert found["n"].tolist() == [2, 2]
    # With one key the residual net has no twin: it stays, without pairs.
    found = paired(to_frame(runs), "norm=none", ["gradient_ratio_end"], keys, [])
    assert found["n"].tolist() == [2, 0]


def test_the_normalizations_own_keys_do_not_hinder_pairs() -> None:
    runs = [row("norm=none", seed=0)] + [
        row("norm=bn", f"norm.eps={eps}", seed=0, train_acc=0.5) for eps in (1e-5, 1e-3)
    ]
    found = paired(to_frame(runs), "norm=none", ["train_acc"], ["norm", "norm.eps"], [])
    assert found["n"].tolist() == [1, 1]


def test_a_baseline_of_a_group_still_pairs_by_the_keys_that_both_sides_have() -> None:
    runs = [
        row(f"optimizer={name}", f"optimizer.lr={lr}", seed=0, train_acc=acc)
        for name, lr, acc in (
            *(("sgd", 0.1, 0.9), ("sgd", 0.01, 0.5)),
            *(("adam", 0.1, 0.2), ("adam", 0.01, 0.6), ("adam", 0.001, 0.8)),
        )
    ]
    keys = ["optimizer", "optimizer.lr"]
    found = paired(to_frame(runs), "optimizer=sgd", ["train_acc"], keys, [])
    assert found["optimizer.lr"].tolist() == [0.001, 0.01, 0.1]
    assert found["n"].tolist() == [0, 1, 1]
    assert found["mean"].tolist()[1:] == pytest.approx([0.1, -0.7])
    assert found["unpaired"].tolist() == [1, 0, 0]


def test_a_key_that_one_side_has_nowhere_need_not_agree() -> None:
    runs = [
        row("optimizer=sgd", f"optimizer.momentum={momentum}", seed=0, train_acc=acc)
        for momentum, acc in ((0.0, 0.4), (0.9, 0.6))
    ] + [row("optimizer=adam", seed=0, train_acc=0.9)]
    found = paired(to_frame(runs), "optimizer=sgd", ["train_acc"], ["optimizer"], [])
    assert (found["n"][0], found["mean"][0]) == (1, pytest.approx(0.4))


def test_a_baseline_model_is_compared_depth_by_depth() -> None:
    runs = [
        row(f"model={model}", f"model.depth={depth}", seed=0, train_acc=acc)
        for model, depth, acc in (
            *(("mlp", 8, 0.9), ("mlp", 20, 0.3)),
            *(("cnn", 8, 0.8), ("cnn", 20, 0.7)),
        )
    ]
    found = paired(to_frame(runs), "model=mlp", ["train_acc"], ["model"], ["model.depth"])
    assert found["model.depth"].tolist() == [8, 20]
    assert found["mean"].tolist() == pytest.approx([-0.1, 0.4])


def test_pairs_that_are_lost_are_counted_with_the_reason() -> None:
    runs = [
        row(f"norm={norm}", seed=seed, gradient_ratio_end=ratio)
        for norm, ratios in (
            ("none", [1.0, 0.0, 1.0, 1.0, 0.0]),
            ("bn", [2.0, 2.0, None, 0.0, 2.0, 2.0]),
        )
        for seed, ratio in enumerate(ratios)
    ]
    found = paired(to_frame(runs), "norm=none", ["gradient_ratio_end"], ["norm"], []).iloc[0]
    assert (found["n"], found["mean"]) == (1, pytest.approx(2.0))
    assert (found["unpaired"], found["zeros"], found["missing"]) == (1, 3, 1)
    assert found["baseline"] == "norm=none"


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("model=cnn", "every run is of the baseline; .*model.residual=false"), ("seed=0", "baseline")],
)
def test_a_baseline_of_every_run(baseline: str, message: str) -> None:
    frame = to_frame([row(f"model={model}", seed=0) for model in ("cnn", "resnet")])
    with pytest.raises(ConfigError, match=message):
        paired(frame, baseline, ["train_acc"], ["model"], [])
    with pytest.raises(ConfigError, match="no run has ended"):
        paired(frame[:0], baseline, ["train_acc"], ["model"], [])


@pytest.mark.parametrize(
    ("baseline", "message"),
    [("norm", "KEY=VALUE"), ("norm>3", "KEY=VALUE"), ("norm=gn", "--baseline .*no run has it")],
)
def test_a_baseline_in_clear_words(
    many: tuple[Path, DataFrame], baseline: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        paired(many[1], baseline, ["train_acc"], ["norm"], [])
