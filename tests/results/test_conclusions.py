"""The two sentences on a sweep."""

import math
from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

from normlab.results import findings
from normlab.results.degradation import degraded
from normlab.results.frames import to_frame
from normlab.training import METRIC_COLUMNS
from tests.results.sample import row


def net(
    norm: str, depth: int, acc: float, init: str, end: str, ratio: float, *beside: str
) -> list[Any]:
    verdict = "trains" if acc > 0.9 else "undertrained" if end == "healthy" else end
    return [
        row(
            f"norm={norm}",
            f"model.depth={depth}",
            *beside,
            seed=seed,
            train_acc=acc,
            verdict=verdict,
            verdict_init=init,
            verdict_end=end,
            gradient_ratio_init=500.0 if init == "exploding" else ratio,
            gradient_ratio_end=ratio,
        )
        for seed in (0, 1)
    ]


def test_findings_say_where_and_how_much() -> None:
    runs = [
        *net("none", 8, 0.98, "healthy", "healthy", 2.0),
        *net("none", 56, 0.1, "vanishing", "vanishing", 1e-6),
        *net("bn", 8, 1.0, "healthy", "healthy", 1.0),
        *net("bn", 56, 0.5, "exploding", "healthy", 0.05),
        *net("ln", 8, 1.0, "healthy", "healthy", 1.0),
        *net("ln", 56, 0.98, "healthy", "healthy", 1.0),
    ]
    gradients, depths = findings(to_frame(runs))
    assert "vanished in no-norm at depth 56 (1e-06)" in gradients
    assert "exploded at init in bn at depth 56 (500) and settled" in gradients
    assert "bn from 0.0% at depth 8 to 50.0% at 56; not in ln" in depths
    assert "speed" in depths
    assert "confounded: no-norm at 56 (vanishing)" in depths


def test_findings_say_where_seeds_disagree() -> None:
    vanished, _ = net("none", 56, 0.1, "vanishing", "vanishing", 1e-3)
    seen = {"verdict": "undertrained", "verdict_init": "healthy", "verdict_end": "healthy"}
    figures = {"train_acc": 0.1, "gradient_ratio_init": 1.0, "gradient_ratio_end": 1.0}
    other = row("norm=none", "model.depth=56", seed=1, **seen, **figures)
    gradients, *_ = findings(to_frame([vanished, other]))
    assert "vanished in every net at depth 56 in 1 of 2 runs" in gradients


def test_a_gradient_of_exactly_0_was_measured() -> None:
    runs = net("none", 8, 0.1, "healthy", "vanishing", 0.0)
    gone = row("norm=bn", "model.depth=8", verdict_end="vanishing", gradient_ratio_end=None)
    gradients, *_ = findings(to_frame([*runs, gone]))
    assert "vanished in no-norm at depth 8 (0), bn at depth 8 (δ is 0)." in gradients


def test_findings_where_nothing_is_wrong() -> None:
    runs = [*net("bn", 8, 1.0, "healthy", "healthy", 1.0)]
    assert findings(to_frame(runs)) == ["No gradient vanished or exploded, at init or at the end."]
    assert (
        "no train error"
        in findings(to_frame([*runs, *net("bn", 20, 1.0, "healthy", "healthy", 1.0)]))[1]
    )
    collapsed = [*runs, *net("bn", 20, 0.1, "healthy", "collapsed", 1.0)]
    assert "confounded: every net at 20 (collapsed)" in findings(to_frame(collapsed))[1]


def test_findings_without_measurements() -> None:
    assert findings(to_frame([row(seed=0)])) == ["No gradient was measured."]


def test_degraded_is_beyond_the_claims_gap() -> None:
    assert not degraded(0.0, 0.05)
    assert degraded(0.0, 0.051)


def test_a_deep_net_is_compared_with_the_best_shallower_one() -> None:
    """Four points more at each step are eight in all: more than the five of claim C14."""
    runs = [
        *net("bn", 8, 1.0, "healthy", "healthy", 1.0),
        *net("bn", 20, 0.96, "healthy", "healthy", 1.0),
        *net("bn", 56, 0.92, "healthy", "healthy", 1.0),
    ]
    assert "from 0.0% at depth 8 to 8.0% at 56" in findings(to_frame(runs))[1]


def test_a_gradient_that_vanished_at_init_confounds_though_it_came_back() -> None:
    runs = [
        *net("bn", 8, 1.0, "healthy", "healthy", 1.0),
        *net("bn", 56, 0.5, "vanishing", "healthy", 1.0),
    ]
    sentence = findings(to_frame(runs))[1]
    assert "degraded no train error" in sentence
    assert "confounded: every net at 56" in sentence


HEALTHY = ("healthy", "healthy", 1.0)


def test_what_goes_along_with_depth_is_not_blamed_on_depth() -> None:
    runs = [
        *net("bn", 8, 0.995, *HEALTHY, "training.epochs=6"),
        *net("bn", 20, 0.191, *HEALTHY, "training.epochs=2"),
    ]
    (_, sentence) = findings(to_frame(runs))
    assert sentence == (
        "Worse with depth, but confounded: every net at 20 "
        "(training.epochs 6, 2 goes along with depth)."
    )
    wider = [
        *runs[:2],
        *net("bn", 20, 0.191, *HEALTHY, "training.epochs=2", "model.width=4", "optimizer.lr=0.01"),
    ]
    (_, sentence) = findings(to_frame(wider))
    assert "(model.width 8, 4 and optimizer.lr 0.1, 0.01 and training.epochs 6, 2 go" in sentence


def test_nets_that_differ_in_depth_alone_are_compared_nevertheless() -> None:
    runs = [
        *net("bn", 8, 1.0, *HEALTHY, "training.epochs=6"),
        *net("bn", 20, 0.9, *HEALTHY, "training.epochs=2"),
        *net("bn", 56, 0.5, *HEALTHY, "training.epochs=2"),
    ]
    (_, sentence) = findings(to_frame(runs))
    assert "every net from 10.0% at depth 20 to 50.0% at 56." in sentence
    assert "confounded: every net at 20 (training.epochs 6, 2 goes along with depth)" in sentence
    better = [*runs[:4], *net("bn", 56, 0.9, *HEALTHY, "training.epochs=2")]
    (_, sentence) = findings(to_frame(better))
    assert "Depth degraded no train error" in sentence
    assert "every net at 20, 56 (training.epochs 6, 2 goes along with depth)" in sentence


def test_where_no_two_nets_differ_in_depth_alone_nothing_is_said_of_it() -> None:
    runs = [
        *net("bn", 8, 1.0, *HEALTHY, "training.epochs=6"),
        *net("bn", 20, 1.0, *HEALTHY, "training.epochs=2"),
    ]
    assert len(findings(to_frame(runs))) == 1
    apart = [*net("bn", 8, 1.0, *HEALTHY), *net("ln", 20, 0.5, *HEALTHY)]
    (_, sentence) = findings(to_frame(apart))
    assert (
        sentence
        == "Worse with depth, but confounded: every net at 20 (norm bn, ln goes along with depth)."
    )


def test_a_gradient_that_is_low_at_init_already_is_a_cause() -> None:
    deep = net("bn", 20, 0.5, *HEALTHY)
    for _, summary in deep:
        assert summary.gradient_ratio_init == 1.0
    low = [(folder, s.model_copy(update={"gradient_ratio_init": 0.033})) for folder, s in deep]
    (_, sentence) = findings(to_frame([*net("bn", 8, 1.0, *HEALTHY), *low]))
    assert "every net at 20 (first/last gradient 0.033 at init already)" in sentence


@pytest.mark.parametrize(
    ("epochs", "losses", "ended"),
    [
        # The last evaluation of the first three quarters is that at 2 of 4 epochs.
        ([0, 1, 2, 4], [2.3, 2.0, 1.000, 0.96], True),
        ([0, 1, 2, 4], [2.3, 2.0, 1.000, 0.94], False),
        ([0, 1, 2, 3, 4], [2.3, 2.0, 1.5, 1.0, 0.96], True),
        ([0, 1], [2.3, 2.29], False),
        ([0], [2.3], False),
    ],
)
def test_a_training_far_from_its_end_shows_no_degradation(
    tmp_path: Path, epochs: list[int], losses: list[float], ended: bool
) -> None:
    steps = [10 * epoch for epoch in epochs]
    known = {"step": steps, "epoch": [float(e) for e in epochs], "train_loss": losses}
    table = DataFrame({column: known.get(column, math.nan) for column in METRIC_COLUMNS})
    runs: list[Any] = net("bn", 8, 1.0, *HEALTHY)
    for _, summary in net("bn", 20, 0.5, *HEALTHY):
        folder = tmp_path / "runs" / str(summary.config["seed"])
        folder.mkdir(parents=True)
        table.to_parquet(folder / "metrics.parquet")
        runs.append((str(folder), summary))
    (_, sentence) = findings(to_frame(runs))
    assert ("from 0.0% at depth 8 to 50.0% at 20" in sentence) is ended
    assert ("every net at 20 (train loss still falling)" in sentence) is not ended
