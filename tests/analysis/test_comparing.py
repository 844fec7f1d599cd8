"""Means and intervals over seeds against scipy and pandas."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas import DataFrame
from scipy import stats

from normlab.analysis import counts, summarize
from normlab.analysis.frames import to_frame
from tests.analysis.sample import figures, row


def one_cell(metric: str, values: Sequence[float | None], **more: Any) -> dict[str, Any]:
    runs = [row("norm=bn", seed=i, **{metric: v}, **more) for i, v in enumerate(values)]
    summary = summarize(to_frame(runs), ["norm"], [], [metric])
    assert len(summary) == 1
    return {str(k): v for k, v in summary.iloc[0].to_dict().items()}


@given(st.lists(figures, min_size=2, max_size=8))
def test_the_interval_is_students(values: list[float]) -> None:
    cell = one_cell("train_loss", values)
    mean, error = np.mean(values), stats.sem(values)
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert cell["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert cell["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-9)
    if len(set(values)) == 1:
        half = math.nan
    assert cell["low"] == pytest.approx(mean - half, rel=1e-9, abs=1e-9, nan_ok=True)
    assert cell["high"] == pytest.approx(mean + half, rel=1e-9, abs=1e-9, nan_ok=True)
    assert cell["n"] == len(values)


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
def test_ratios_are_averaged_in_log_space(logs: list[float]) -> None:
    cell = one_cell("gradient_ratio_end", [math.exp(x) for x in logs])
    half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs)
    assert math.log(cell["mean"]) == pytest.approx(np.mean(logs), abs=1e-9)
    assert math.log(cell["std"]) == pytest.approx(np.std(logs, ddof=1), abs=1e-9)
    if np.ptp(logs) < 1e-12:
        assert math.isnan(cell["high"]) or half < 1e-11
    elif half < 600:
        assert math.log(cell["high"] / cell["mean"]) == pytest.approx(half, abs=1e-8)
        assert math.log(cell["mean"] / cell["low"]) == pytest.approx(half, abs=1e-8)


def test_one_run_has_no_interval() -> None:
    cell = one_cell("train_acc", [0.5])
    assert (cell["mean"], cell["n"]) == (0.5, 1)
    assert math.isnan(cell["low"])
    assert math.isnan(cell["high"])


def test_a_very_wide_interval_reaches_infinity() -> None:
    cell = one_cell("gradient_ratio_end", [1e-200, 1.0])
    assert (cell["low"], cell["high"]) == (0, math.inf)
    assert cell["mean"] == pytest.approx(1e-100)
    assert math.isnan(one_cell("train_loss", [1e300, -1e300, 1e308])["low"]) is False


@pytest.mark.parametrize("metric", ["train_acc", "gradient_ratio_end"])
@pytest.mark.parametrize("value", [0.1, 0.3, 1.0])
def test_equal_runs_have_no_interval(metric: str, value: float) -> None:
    cell = one_cell(metric, [value] * 3)
    assert (cell["n"], cell["mean"]) == (3, pytest.approx(value))
    assert cell["std"] == (0 if metric == "train_acc" else 1)  # of a ratio a factor
    assert math.isnan(cell["low"])
    assert math.isnan(cell["high"])


def test_intervals_are_not_clipped() -> None:
    assert one_cell("train_acc", [0.9, 1.0])["high"] > 1


@pytest.mark.parametrize(
    ("values", "mean", "n", "zeros", "missing"),
    [
        ([0.0, 0.01, 1.0], 0.1, 2, 1, 0),
        ([0.0, 0.0], 0.0, 0, 2, 0),
        ([None, 4.0], 4.0, 1, 0, 1),
        ([None, None], math.nan, 0, 0, 2),
    ],
)
def test_what_has_no_logarithm_is_counted(
    values: list[float | None], mean: float, n: int, zeros: int, missing: int
) -> None:
    cell = one_cell("gradient_ratio_end", values)
    assert cell["mean"] == pytest.approx(mean, nan_ok=True)
    assert (cell["n"], cell["zeros"], cell["missing"]) == (n, zeros, missing)


@pytest.mark.parametrize(
    ("ratio", "verdict", "mean", "zeros", "missing"),
    [
        (0.0, "vanishing", 0.0, 1, 0),
        (None, "vanishing", math.nan, 1, 0),  # 0 in the last hidden layer, or in all: no ratio
        (None, "exploding", math.nan, 0, 1),
        (None, None, math.nan, 0, 1),
    ],
)
def test_a_gradient_of_exactly_0_was_measured(
    ratio: float | None, verdict: str | None, mean: float, zeros: int, missing: int
) -> None:
    cell = one_cell("gradient_ratio_end", [ratio], verdict_end=verdict)
    assert cell["mean"] == pytest.approx(mean, nan_ok=True)
    assert (cell["n"], cell["zeros"], cell["missing"]) == (0, zeros, missing)


def test_what_is_not_finite_is_missing_as_it_is_in_a_file() -> None:
    for metric in ("gradient_ratio_end", "train_loss"):
        cell = one_cell(metric, [math.inf, 4.0, None])
        assert (cell["mean"], cell["n"], cell["missing"]) == (4.0, 1, 2)
        assert "infinite" not in cell


def test_a_zero_loss_is_a_figure() -> None:
    cell = one_cell("train_loss", [0.0, 1.0])
    assert (cell["mean"], cell["n"], cell["zeros"]) == (0.5, 2, 0)


def test_only_results_enter_the_means_and_all_are_counted() -> None:
    states = ["finished", "diverged", "failed", "interrupted", "running", "unfinished"]
    runs = [
        row(seed=i, status=status, train_acc=float(i), verdict=None)
        for i, status in enumerate(states)
    ]
    frame = to_frame(runs)
    cell = summarize(frame, ["norm"], [], ["train_acc"]).iloc[0]
    assert (cell["mean"], cell["n"], cell["diverged"], cell["left_out"]) == (0.5, 2, 1, 4)
    assert counts(frame) == dict.fromkeys(states, 1)
    pending = summarize(frame[frame["status"] == "running"], ["norm"], [], ["train_acc"])
    assert (pending["n"].iloc[0], pending["left_out"].iloc[0]) == (0, 1)


def test_a_copy_of_a_run_counts_once() -> None:
    (folder, content), other = row("norm=bn", seed=0), row("norm=bn", seed=1, train_acc=0.0)
    copy = content.model_copy(update={"status": "interrupted", "train_acc": 0.3})
    frame = to_frame([("a/other/x", copy), (folder, content), other])
    assert counts(frame)["repeated"] == 1
    cell = summarize(frame, ["norm"], [], ["train_acc"]).iloc[0]
    assert (cell["mean"], cell["n"], cell["left_out"]) == (0.5, 2, 0)
    assert len(summarize(frame, ["experiment"], [], ["train_acc"])) == 2


def test_a_training_that_was_measured_twice_counts_once_with_what_was_measured() -> None:
    bare = [row("norm=bn", "probes=none", seed=seed, train_acc=0.4) for seed in (0, 1)]
    measured = [row("norm=bn", seed=1, train_acc=0.4, gradient_ratio_end=8.0)]
    frame = to_frame([*bare, *measured]).assign(
        gradient_ratio_end=lambda t: t["gradient_ratio_end"].where(t["probes.measure"] != "[]")
    )
    summary = summarize(frame, ["norm"], [], ["train_acc", "gradient_ratio_end"])
    assert summary["n"].tolist() == [2, 1]
    assert summary["mean"].tolist() == pytest.approx([0.4, 8.0])
    assert counts(frame) == {"finished": 3, "remeasured": 1}


def test_the_majority_gives_the_verdict_and_the_worse_one_wins_a_tie() -> None:
    cells = {
        8: (["trains", "trains", "vanishing"], "trains"),
        14: (["trains", "vanishing"], "vanishing"),
        20: (["exploding", "undertrained"], "exploding"),
        26: ([None, "collapsed"], "collapsed"),
        32: ([None], "–"),
    }
    runs = [
        row(f"model.depth={depth}", seed=seed, verdict=verdict)
        for depth, (verdicts, _) in cells.items()
        for seed, verdict in enumerate(verdicts)
    ]
    found = summarize(to_frame(runs), [], ["model.depth"], ["train_acc"])
    assert found["verdict"].fillna("–").tolist() == [expected for _, expected in cells.values()]


def test_the_cause_is_the_usual_one_of_the_runs_with_that_verdict() -> None:
    trained, failed = ("trains", "none"), ("undertrained", "depth")
    slow, stale = ("undertrained", "rate_too_small"), ("undertrained", "stale_statistics")
    for seen, expected in (
        ([trained, trained, failed], "none"),
        ([trained, failed], "depth"),
        ([failed, stale], "stale_statistics"),
        ([("undertrained", "unknown"), failed], "depth"),
        ([failed, failed, stale], "depth"),
        # None is the most frequent of all, but most of the runs do not train.
        ([trained, trained, failed, slow, stale], "stale_statistics"),
        ([("vanishing", "vanishing_at_init"), failed, failed, failed], "depth"),
        ([("undertrained", None), ("undertrained", None), slow], "rate_too_small"),
        ([("undertrained", None)], None),
        ([(None, None)], None),
    ):
        runs = [row(seed=i, verdict=v, cause=cause) for i, (v, cause) in enumerate(seen)]
        summary = summarize(to_frame(runs), ["norm"], [], ["train_acc"])
        assert summary["cause"][0] == expected, seen


def test_a_cause_may_be_a_row() -> None:
    runs = [row(seed=i, cause=c, train_acc=float(i)) for i, c in enumerate(["none", "depth"])]
    table = summarize(to_frame(runs), ["cause"], [], ["train_acc"])
    assert list(table).count("cause") == 1
    assert table["mean"].tolist() == [0.0, 1.0]


def test_a_verdict_may_be_a_row() -> None:
    runs = [row(seed=i, verdict=v, train_acc=float(i)) for i, v in enumerate(["trains", None])]
    table = summarize(to_frame(runs), ["verdict"], [], ["train_acc"])
    assert list(table).count("verdict") == 1
    assert table["mean"].tolist() == [0.0, 1.0]


def test_cells_agree_with_pandas(many: tuple[Path, DataFrame]) -> None:
    _, frame = many
    keys = ["norm", "model.residual", "model.depth"]
    summary = summarize(frame, keys[:2], keys[2:], ["train_acc", "seconds"])
    for metric in ("train_acc", "seconds"):
        expected = frame.groupby(keys)[metric].agg(["mean", "count"])
        ours = summary[summary["metric"] == metric].set_index(keys)
        assert ours["mean"].to_dict() == pytest.approx(expected["mean"].to_dict())
        assert ours["n"].to_dict() == expected["count"].to_dict()
    assert list(dict.fromkeys(summary["norm"])) == ["none", "bn", "ln"]
    assert summary["model.depth"].iloc[:8:2].tolist() == [8, 20, 56, 110]
