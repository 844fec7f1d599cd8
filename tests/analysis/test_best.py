"""Each arm at its best against a choice by hand."""

import math
import re
from typing import Any

import pytest
from pandas import DataFrame

from normlab.analysis import Request, arrange
from normlab.analysis.frames import to_frame
from normlab.errors import ConfigError
from tests.analysis.sample import row

FIGURES = {
    ("none", 0.01): ((0.5, 0.6), (0.50, 0.52)),
    ("none", 0.1): ((0.9, 0.1), (0.6, 0.2)),  # the better of two runs is no better mean
    ("bn", 0.01): ((0.7, 0.7), (0.5, 0.5)),
    ("bn", 0.1): ((0.8, 0.9), (0.7, 0.9)),
}


def runs() -> DataFrame:
    """Norms at rates, of each the train and the test accuracy of two seeds."""
    return to_frame(
        [
            row(f"norm={norm}", f"optimizer.lr={lr}", seed=seed, train_acc=train, test_acc=test)
            for (norm, lr), figures in FIGURES.items()
            for seed, (train, test) in enumerate(zip(*figures, strict=True))
        ]
    )


def test_each_cell_has_the_runs_of_its_best_value() -> None:
    found = arrange(runs(), Request(best=["optimizer.lr"]))
    assert (found.rows, found.cols, found.best) == (["norm"], [], ["optimizer.lr"])
    assert found.table["norm"].tolist() == ["none", "bn"]
    assert found.table["optimizer.lr"].tolist() == [0.01, 0.1]
    assert found.table["mean"].tolist() == pytest.approx([0.55, 0.85])
    assert found.table["n"].tolist() == [2, 2]
    assert list(found.table)[:3] == ["norm", "optimizer.lr", "metric"]


def test_by_another_metric_the_choice_is_another() -> None:
    frame = runs().assign(seconds=lambda t: t["optimizer.lr"])
    assert arrange(frame, Request(best=["optimizer.lr"], by="seconds")).table[
        "optimizer.lr"
    ].tolist() == [0.01, 0.01]
    with pytest.raises(ConfigError, match=r"--by parameters: no parameters is better; choices: tr"):
        arrange(frame, Request(best=["optimizer.lr"], by="parameters"))
    with pytest.raises(ConfigError, match=r"tset_acc: no such metric; .*did you mean test_acc"):
        arrange(frame, Request(best=["optimizer.lr"], by="tset_acc"))


def test_a_value_at_which_a_run_diverged_does_not_win_by_what_is_left() -> None:
    losses = {0.1: [0.5, 0.6], 1.0: [0.1, None]}
    frame = to_frame(
        [
            row(
                f"optimizer.lr={lr}",
                seed=seed,
                test_loss=loss,
                status="finished" if loss else "diverged",
            )
            for lr, values in losses.items()
            for seed, loss in enumerate(values)
        ]
    )
    found = arrange(frame, Request(best=["optimizer.lr"], by="test_loss")).table
    assert found["optimizer.lr"].tolist() == [0.1]


def test_of_all_runs_the_best_value_though_one_run_alone_has_it() -> None:
    figures = ((0.1, 0, 0.9), (0.2, 0, 0.5), (0.2, 1, 0.6))
    frame = to_frame(
        [row(f"optimizer.lr={lr}", seed=seed, test_acc=acc) for lr, seed, acc in figures]
    )
    found = arrange(frame, Request(rows=[], metrics=["test_acc"], best=["optimizer.lr"])).table
    assert found[["optimizer.lr", "mean", "n"]].to_numpy().tolist() == [[0.1, 0.9, 1.0]]


def test_several_keys_and_a_group() -> None:
    frame = to_frame(
        [
            row(f"optimizer={name}", f"optimizer.lr={lr}", f"norm={norm}", test_acc=acc)
            for name, lr, norm, acc in (
                *(("sgd", 0.1, "bn", 0.4), ("sgd", 0.2, "bn", 0.6), ("adam", 0.1, "bn", 0.5)),
                *(("sgd", 0.1, "ln", 0.7), ("adam", 0.1, "ln", 0.9), ("adam", 0.2, "ln", 0.8)),
            )
        ]
    )
    found = arrange(frame, Request(metrics=["test_acc"], best=["optimizer", "optimizer.lr"])).table
    assert found[["norm", "optimizer", "optimizer.lr"]].to_numpy().tolist() == [
        ["bn", "sgd", 0.2],
        ["ln", "adam", 0.1],
    ]
    alone = arrange(
        frame, Request(metrics=["test_acc"], best=["optimizer", "norm", "optimizer.lr"])
    )
    assert alone.table["mean"].tolist() == [0.9]


def test_differences_of_arms_that_are_each_at_its_best() -> None:
    request = Request(best=["optimizer.lr"], baseline="norm=none")
    found = arrange(runs(), request).table.iloc[0]
    # Seeds pair, whatever the rates: 0.8 - 0.5 and 0.9 - 0.6.
    assert (found["n"], found["mean"], found["optimizer.lr"]) == (2, pytest.approx(0.3), 0.1)
    assert math.isnan(found["p"])
    # The key by which arms are told apart need not be among the rows.
    frame = runs().assign(**{"model.depth": 8})
    other = arrange(frame, Request(["model.depth"], best=["optimizer.lr"], baseline="norm=none"))
    assert other.table["mean"].tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rows": ["optimizer.lr"], "best": ["optimizer.lr"]}, "leaves no optimizer.lr for --rows"),
        ({"cols": ["optimizer.lr"], "best": ["optimizer"]}, "leaves no optimizer.lr for --cols"),
        ({"baseline": "norm=none", "best": ["norm"]}, "leaves no norm for --baseline"),
        ({"best": ["optimizer.rate"]}, "optimizer.rate: no such key"),
        ({"best": ["seed"]}, "--best seed: is no setting to choose; choices: norm, optimizer.lr"),
        ({"best": ["train_acc"]}, "--best train_acc: is no setting to choose"),
    ],
)
def test_what_cannot_be_chosen(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        arrange(runs(), Request(**asked))


def test_by_needs_a_key() -> None:
    with pytest.raises(ConfigError, match="--by test_loss: says what --best KEY chooses by"):
        arrange(runs(), Request(by="test_loss"))


def test_errors_are_what_accuracies_leave() -> None:
    found = arrange(runs(), Request(metrics=["train_error"], best=["optimizer.lr"])).table
    assert found["mean"].tolist() == pytest.approx([0.45, 0.15])
    by = arrange(runs(), Request(best=["optimizer.lr"], by="test_error")).table
    assert by["optimizer.lr"].tolist() == [0.01, 0.1]
