"""The order of rows against orders by hand."""

import math

import pytest
from pandas import DataFrame

from normlab.analysis import Request, arrange
from normlab.analysis.frames import to_frame
from normlab.errors import ConfigError
from tests.analysis.sample import row


@pytest.fixture(scope="module")
def frame() -> DataFrame:
    """Three norms at two depths; none has two seeds, and the loss of ln at depth 20 is missing."""
    figures = {
        ("none", 8): (0.9, 0.5, "trains"),
        ("none", 20): (0.1, 0.9, "vanishing"),
        ("bn", 8): (0.8, 0.7, "trains"),
        ("bn", 20): (0.7, 0.1, "undertrained"),
        ("ln", 8): (0.2, 0.6, "undertrained"),
        ("ln", 20): (0.9, None, "trains"),
    }
    runs = [
        row(
            f"norm={norm}",
            f"model.depth={depth}",
            seed=seed,
            train_acc=acc,
            train_loss=loss,
            verdict=verdict,
            cause="none" if verdict == "trains" else "depth" if norm == "bn" else "rate_too_small",
        )
        for (norm, depth), (acc, loss, verdict) in figures.items()
        for seed in range(2 if norm == "none" else 1)
    ]
    return to_frame(runs)


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("norm", ["none", "bn", "ln"]),
        ("-norm.name", ["ln", "bn", "none"]),
        ("train_acc", ["none", "ln", "bn"]),  # 0.5, 0.55, 0.75
        ("-train_acc", ["bn", "ln", "none"]),
        ("train_loss", ["bn", "ln", "none"]),  # 0.4, 0.6, 0.7
        ("model.depth=20", ["none", "bn", "ln"]),
        ("-model.depth=8", ["none", "bn", "ln"]),
        ("train_loss@model.depth=20", ["bn", "none", "ln"]),  # what has no value comes last
        ("-train_loss@model.depth=20", ["none", "bn", "ln"]),
        ("n", ["bn", "ln", "none"]),
        ("-n", ["none", "bn", "ln"]),
        ("-verdict", ["none", "bn", "ln"]),
        ("cause", ["none", "ln", "bn"]),
        ("-cause", ["bn", "none", "ln"]),
    ],
)
def test_by_any_column(frame: DataFrame, sort: str, expected: list[str]) -> None:
    request = Request(["norm"], ["model.depth"], ["train_acc", "train_loss"], sort)
    found = arrange(frame, request).table
    assert list(dict.fromkeys(found["norm"])) == expected
    assert len(found) == 12


def test_one_row_stays_as_it_is(frame: DataFrame) -> None:
    found = arrange(frame, Request([], ["norm"], ["train_acc"], "-train_acc")).table
    assert found["norm"].tolist() == ["none", "bn", "ln"]


@pytest.mark.parametrize(
    ("sort", "message"),
    [
        (
            "norn",
            "--sort norn: no such column; choices: norm, train_acc, model.depth=8, .*; did you",
        ),
        ("model.depth=7", "--sort 'model.depth=7': no run has it; model.depth has 8, 20"),
        ("test_acc@model.depth=8", "no such column"),
        ("model.depth", "no such column"),
    ],
)
def test_what_is_no_column(frame: DataFrame, sort: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arrange(frame, Request(["norm"], ["model.depth"], ["train_acc"], sort))


def test_differences_by_any_column() -> None:
    figures = {"none": [0.5, 0.5, 0.5], "bn": [0.6, 0.8, 0.7], "ln": [0.4, 0.41, 0.4], "gn": [0.9]}
    runs = [
        row(f"norm={norm}", seed=seed, train_acc=acc, test_acc=1 - acc)
        for norm, accuracies in figures.items()
        for seed, acc in enumerate(accuracies)
    ]
    for sort, expected in (
        ("difference", ["ln", "bn", "gn"]),
        ("-difference", ["gn", "bn", "ln"]),
        ("-test_acc", ["ln", "bn", "gn"]),
        ("p", ["ln", "bn", "gn"]),  # gn has none
        ("-p", ["bn", "ln", "gn"]),
        ("n", ["gn", "bn", "ln"]),
    ):
        metrics = ["train_acc", "test_acc"] if sort == "-test_acc" else ["train_acc"]
        request = Request(["norm"], [], metrics, sort, "norm=none")
        found = arrange(to_frame(runs), request).table
        assert list(dict.fromkeys(found["norm"])) == expected
    assert math.isnan(found["p"].iloc[0])
    with pytest.raises(ConfigError, match="--sort q: no such column; choices: train_acc, diff"):
        arrange(to_frame(runs), Request(["norm"], [], sort="q", baseline="norm=none"))
