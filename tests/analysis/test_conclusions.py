"""The two sentences on a sweep."""

from typing import Any

import pytest

from normlab.analysis import findings
from normlab.analysis.degradation import degraded
from normlab.analysis.frames import to_frame
from tests.analysis.sample import row


def net(
    norm: str,
    depth: int,
    acc: float,
    init: str,
    end: str | None,
    ratio: float,
    *beside: str,
    cause: str | None = "",
) -> list[Any]:
    """A net's runs, whose cause is, where none is given, none or depth."""
    verdict = "trains" if acc > 0.9 else "undertrained" if end in ("healthy", None) else end
    return [
        row(
            f"norm={norm}",
            f"model.depth={depth}",
            *beside,
            seed=seed,
            train_acc=acc,
            verdict=verdict,
            cause=("none" if acc > 0.9 else "depth") if cause == "" else cause,
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
        *net("none", 56, 0.1, "vanishing", "vanishing", 1e-6, cause="vanishing_at_init"),
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
    assert "but depth is not blamed: no-norm at 56 (gradients vanish at init)." in depths


def test_findings_say_where_seeds_disagree() -> None:
    vanished, _ = net("none", 56, 0.1, "vanishing", "vanishing", 1e-3)
    seen = {"verdict": "undertrained", "verdict_init": "healthy", "verdict_end": "healthy"}
    figures = {"train_acc": 0.1, "gradient_ratio_init": 1.0, "gradient_ratio_end": 1.0}
    other = row("norm=none", "model.depth=56", seed=1, **seen, **figures)
    gradients, *_ = findings(to_frame([vanished, other]))
    # The mean with the sound one's ratio, 0.032, would be that of no gradient that vanished.
    assert "vanished in every net at depth 56 in 1 of 2 runs (0.001)" in gradients


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


def test_depth_is_not_blamed_where_the_gradient_is_ill_whatever_the_cause() -> None:
    """What C15's gates exclude is not degradation: such a cell's cause is what is left over."""

    def said(*deep: Any) -> str:
        runs = [*net("bn", 8, 1.0, *HEALTHY), *net("bn", 20, 0.1, *deep)]
        return findings(to_frame(runs))[1]

    blamed = "Worse with depth, but depth is not blamed: every net at 20 "
    assert (
        said("healthy", "collapsed", 1.0) == f"{blamed}(the layers forget the input in training)."
    )
    assert said("healthy", "vanishing", 1e-3) == f"{blamed}(the gradient vanishes in training)."
    assert said("exploding", "exploding", 500.0) == f"{blamed}(the gradient explodes)."
    assert said("healthy", None, 1.0) == f"{blamed}(the gradient was not measured)."
    assert said("exploding", "healthy", 1.0).startswith("Depth itself made the train error worse")


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


def test_a_gradient_that_vanished_at_init_is_not_depth_though_it_came_back() -> None:
    runs = [
        *net("bn", 8, 1.0, "healthy", "healthy", 1.0),
        *net("bn", 56, 0.5, "vanishing", "healthy", 1.0),
    ]
    assert findings(to_frame(runs))[1] == (
        "Worse with depth, but depth is not blamed: every net at 56 (gradients vanish at init)."
    )


HEALTHY = ("healthy", "healthy", 1.0)


def test_what_goes_along_with_depth_is_not_blamed_on_depth() -> None:
    runs = [
        *net("bn", 8, 0.995, *HEALTHY, "training.epochs=6"),
        *net("bn", 20, 0.191, *HEALTHY, "training.epochs=2"),
    ]
    (_, sentence) = findings(to_frame(runs))
    assert sentence == (
        "Worse with depth, but depth is not blamed: every net at 20 "
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
        *net("bn", 20, 0.91, *HEALTHY, "training.epochs=2"),
        *net("bn", 56, 0.5, *HEALTHY, "training.epochs=2"),
    ]
    (_, sentence) = findings(to_frame(runs))
    assert "every net from 9.0% at depth 20 to 50.0% at 56." in sentence
    assert "not blamed: every net at 20 (training.epochs 6, 2 goes along with depth)" in sentence
    better = [*runs[:4], *net("bn", 56, 0.91, *HEALTHY, "training.epochs=2")]
    (_, sentence) = findings(to_frame(better))
    assert "Depth itself made no train error worse by more than 5 points." in sentence
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
        sentence == "Worse with depth, but depth is not blamed: every net at 20 "
        "(norm bn, ln goes along with depth)."
    )


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("stale_statistics", "BatchNorm's running statistics do not keep up with the weights"),
        ("rate_too_small", "the learning rate is too small"),
        ("too_short", "the training is too short"),
        ("unknown", "the cause is unknown"),
        (None, "cause not recorded: made by an older version"),
    ],
)
def test_what_is_worse_for_another_cause_is_named_with_it(cause: str | None, said: str) -> None:
    runs = [*net("bn", 8, 1.0, *HEALTHY), *net("bn", 20, 0.5, *HEALTHY, cause=cause)]
    (_, sentence) = findings(to_frame(runs))
    assert sentence == f"Worse with depth, but depth is not blamed: every net at 20 ({said})."


def test_nets_of_one_cause_are_named_together() -> None:
    runs = [
        *(run for norm in ("bn", "ln") for run in net(norm, 8, 1.0, *HEALTHY)),
        *net("bn", 14, 0.5, *HEALTHY, cause="rate_too_large"),
        *net("bn", 20, 0.4, *HEALTHY, cause="stale_statistics"),
        *net("bn", 56, 0.3, *HEALTHY, cause="rate_too_large"),
        *net("ln", 56, 0.3, *HEALTHY, cause="rate_too_large"),
    ]
    (_, sentence) = findings(to_frame(runs))
    assert sentence == (
        "Worse with depth, but depth is not blamed: bn at 14, 56, ln at 56 (the learning rate is "
        "too large); bn at 20 (BatchNorm's running statistics do not keep up with the weights)."
    )


def test_a_cause_says_more_than_what_goes_along_with_depth() -> None:
    def said(cause: str | None) -> str:
        runs = [
            *net("bn", 8, 1.0, *HEALTHY, "optimizer.lr=0.1"),
            *net("bn", 20, 0.2, *HEALTHY, "optimizer.lr=1e-5", cause=cause),
        ]
        return findings(to_frame(runs))[1]

    assert "every net at 20 (the learning rate is too small)" in said("rate_too_small")
    for nothing in ("depth", "unknown", None):
        assert "every net at 20 (optimizer.lr 0.1, 1e-05 goes along" in said(nothing)


def test_depth_is_blamed_against_nets_that_train_alone() -> None:
    runs = [
        *net("bn", 14, 0.7, *HEALTHY, cause="rate_too_small"),
        *net("bn", 20, 0.2, *HEALTHY),
    ]
    (_, sentence) = findings(to_frame(runs))
    assert sentence == (
        "Worse with depth, but depth is not blamed: every net at 20 "
        "(depth 14 does not train either)."
    )
    alike = [*runs[:2], *net("bn", 20, 0.69, *HEALTHY)]
    assert len(findings(to_frame(alike))) == 1  # nor is depth said to have done no harm
    trained = net("bn", 8, 0.96, *HEALTHY)
    assert (
        "every net from 4.0% at depth 8 to 80.0% at 20." in findings(to_frame([*runs, *trained]))[1]
    )


def test_of_several_runs_the_usual_cause_counts_of_equally_frequent_ones_not_none() -> None:
    """Two seeds, of which one trains, and a cause of its own before what is left over."""
    trained, _ = net("bn", 20, 0.95, *HEALTHY)
    _, failed = net("bn", 20, 0.2, *HEALTHY, cause="stale_statistics")
    further, _ = net("bn", 20, 0.21, *HEALTHY)
    shallow = net("bn", 8, 1.0, *HEALTHY)

    def said(*runs: Any) -> str:
        seeded = [
            (folder, s.model_copy(update={"run_id": str(i), "config": {**s.config, "seed": i}}))
            for i, (folder, s) in enumerate(runs)
        ]
        return findings(to_frame([*shallow, *seeded]))[1]

    assert "every net at 20 (BatchNorm's running" in said(trained, failed)
    assert "every net at 20 (BatchNorm's running" in said(further, failed)
    assert "from 0.0% at depth 8" in said(further, further, failed)
    # Of those that fail, as many as train, though none is the most frequent cause of all.
    assert "every net at 20 (BatchNorm's running" in said(*[trained] * 3, *[failed] * 2, further)


def test_what_diverged_is_named_with_its_cause() -> None:
    def diverged(norm: str, depth: int, cause: str | None) -> Any:
        seen = {"verdict": "diverged", "cause": cause, "train_acc": None}
        return row(f"norm={norm}", f"model.depth={depth}", verdict_end="healthy", **seen)

    runs = [
        *(diverged("none", depth, "exploding_at_init") for depth in (8, 20)),
        diverged("bn", 8, "rate_too_large"),
        diverged("bn", 20, None),
    ]
    (sentence,) = findings(to_frame(runs))
    assert sentence == (
        "No gradient vanished or exploded, at init or at the end. Diverged: no-norm at depth 8, 20 "
        "(gradients or activations explode at init); bn at depth 8 (the learning rate is too "
        "large); bn at depth 20 (cause not recorded: made by an older version)."
    )
