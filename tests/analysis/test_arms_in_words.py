"""Each arm of a sweep in a sentence."""

import itertools
import math
from typing import Any

import pytest

from normlab.analysis import arms_in_words
from normlab.analysis.frames import to_frame
from normlab.vocabulary import CAUSES, DIAGNOSES
from tests.analysis.sample import row


def net(
    norm: str,
    depth: int,
    verdicts: tuple[str, str],
    ratios: tuple[float, float],
    *runs: Any,
    cause: str | None = "none",
) -> list[Any]:
    """A net's runs: each its accuracy, verdict and verdict at the end; those that train have no
    cause."""
    return [
        row(
            f"norm={norm}",
            f"model.depth={depth}",
            seed=seed,
            train_acc=accuracy,
            verdict=verdict,
            cause="none" if verdict == "trains" and cause != "memorizes" else cause,
            verdict_init=verdicts[0],
            verdict_end=end,
            gradient_ratio_init=ratios[0],
            gradient_ratio_end=ratios[1] if end == verdict else 1.0,
        )
        for seed, (accuracy, verdict, end) in enumerate(runs)
    ]


SOUND = [(0.98, "trains", "healthy")] * 2
GONE = (0.1, "vanishing", "vanishing")
SLOW = (0.134, "undertrained", "healthy")
HEALTHY = ("healthy", "healthy")
EXPLODING = ("exploding", "healthy")
VANISHING = ("vanishing", "vanishing")


def test_the_quickstart_in_three_sentences() -> None:
    runs = [
        *net("none", 8, HEALTHY, (0.2, 0.2), *SOUND),
        *net("none", 20, HEALTHY, (0.02, 1.3e-3), (0.42, *SLOW[1:]), GONE, cause="depth"),
        *net("none", 56, VANISHING, (1e-5, 1.6e-6), GONE, GONE, cause="vanishing_at_init"),
        *net("bn", 8, HEALTHY, (0.7, 1.0), *SOUND),
        *net("bn", 20, HEALTHY, (4.8, 1.0), *SOUND),
        *net("bn", 56, EXPLODING, (799.6, 0.04), SLOW, SLOW, cause="depth"),
        *net("ln", 8, HEALTHY, (0.7, 1.0), *SOUND),
        *net("ln", 56, HEALTHY, (0.7, 1.0), *SOUND),
    ]
    assert [tuple(arm) for arm in arms_in_words(to_frame(runs))] == [
        (
            "no-norm",
            "trains at depth 8; at 20 (in 1 of 2 runs) the gradient vanishes in training (layer 1 "
            "gets 0.0013 of the last hidden layer's) and train accuracy ends at 26.0%; at 56 the "
            "gradient vanishes (layer 1 gets 1.6e-6 of the last hidden layer's) and train accuracy "
            "ends at 10.0%.",
        ),
        (
            "bn",
            "trains at depth 8 and 20; at 56 so many plain layers train badly though the gradient "
            "is alive (at init it explodes: layer 1 gets 800 times the last hidden layer's) and "
            "train accuracy ends at 13.4%.",
        ),
        ("ln", "trains at every depth (8 and 56)."),
    ]


def test_depths_of_one_cause_are_told_together_and_figures_are_the_deepest_ones() -> None:
    runs = [
        *net("none", 8, HEALTHY, (1.0, 1.0), SLOW, cause="rate_too_small"),
        *net("none", 20, HEALTHY, (1.0, 1.0), (0.12, *SLOW[1:]), cause="rate_too_small"),
        *net("bn", 8, EXPLODING, (200.0, 1.0), SLOW, cause="depth"),
        *net("bn", 20, EXPLODING, (800.0, 1.0), (0.12, *SLOW[1:]), cause="depth"),
        *net("ln", 8, HEALTHY, (1.0, 1.0), *SOUND),
        *net("ln", 20, HEALTHY, (1.0, 1.0), SLOW, cause="stale_statistics"),
        *net("ln", 56, HEALTHY, (1.0, 1.0), SLOW, cause="rate_too_small"),
    ]
    assert [arm.sentence for arm in arms_in_words(to_frame(runs))] == [
        "at depth 8 and 20 the learning rate is too small and train accuracy ends at 13.4% and "
        "12.0%.",
        "at depth 8 and 20 so many plain layers train badly though the gradient is alive (at init "
        "it explodes: layer 1 gets 800 times the last hidden layer's at 20) and train accuracy "
        "ends at 13.4% and 12.0%.",
        "trains at depth 8; at 20 BatchNorm's running statistics do not keep up with the weights "
        "and train accuracy ends at 13.4%; at 56 the learning rate is too small and train accuracy "
        "ends at 13.4%.",
    ]


LOST = "train accuracy ends at 10.0%"
OLDER = "(cause not recorded: made by an older version)"


@pytest.mark.parametrize(
    ("run", "init", "ratios", "cause", "sentence"),
    [
        ((0.99, "trains", "healthy"), "healthy", (1, 1), "none", "trains."),
        ((0.99, "trains", "healthy"), "vanishing", (1e-5, 1), None, "trains."),
        (
            (0.99, "trains", "healthy"),
            *("healthy", (1, 1), "memorizes"),
            "it trains, but what it learned is true of the training samples alone.",
        ),
        ((0.1, "healthy", "healthy"), "healthy", (1, 1), "none", "has a healthy gradient."),
        (
            (None, "diverged", "exploding"),
            *("healthy", (1, 9), "rate_too_large"),
            "the learning rate is too large and the training diverges.",
        ),
        (
            (0.1, "diverged", "exploding"),
            *("exploding", (1234, math.nan), "exploding_at_init"),
            "the gradient explodes at init (layer 1 gets 1200 times the last hidden layer's) and "
            "the training diverges.",
        ),
        (
            (0.1, "diverged", None),
            *("healthy", (1, 1), "exploding_at_init"),
            "gradients or activations explode at init and the training diverges.",
        ),
        (
            (0.1, "diverged", "exploding"),
            *("healthy", (1, 9), None),
            f"the training diverges {OLDER}.",
        ),
        (
            (0.1, "exploding", "exploding"),
            *("exploding", (1, 1234), "exploding_at_init"),
            f"the gradient explodes (layer 1 gets 1200 times the last hidden layer's) and {LOST}.",
        ),
        (
            (0.1, "exploding", "exploding"),
            *("exploding", (1, 1234), "depth"),
            f"the gradient explodes (layer 1 gets 1200 times the last hidden layer's) and {LOST}.",
        ),
        (
            (0.1, "vanishing", "vanishing"),
            *("vanishing", (1, math.nan), "vanishing_at_init"),
            f"the gradient vanishes (it is 0) and {LOST}.",
        ),
        (
            (0.1, "vanishing", "vanishing"),
            *("exploding", (500, 0.001), "exploding_at_init"),
            "the gradient explodes at init (layer 1 gets 500 times the last hidden layer's), the "
            f"gradient vanishes (layer 1 gets 0.0010 of the last hidden layer's) and {LOST}.",
        ),
        (
            (0.1, "undertrained", "healthy"),
            *("vanishing", (0.001, 1), "vanishing_at_init"),
            "the gradient vanishes at init (layer 1 gets 0.0010 of the last hidden layer's) and "
            f"{LOST}.",
        ),
        (
            (0.1, "vanishing", "vanishing"),
            *("healthy", (1, 0.001), "rate_too_large"),
            "the learning rate is too large, the gradient vanishes in training (layer 1 gets "
            f"0.0010 of the last hidden layer's) and {LOST}.",
        ),
        (
            (None, "exploding", "exploding"),
            *("exploding", (float("nan"), float("nan")), "exploding_at_init"),
            "the gradient explodes (it is not finite) and nothing was evaluated.",
        ),
        (
            (0.1, "collapsed", "collapsed"),
            *("collapsed", (1, 1), "collapsed"),
            f"the layers forget the input (all samples look alike to the last) and {LOST}.",
        ),
        # Another cause, whose training made an init settle that exploded, is the only one told.
        (
            (0.1, "undertrained", "healthy"),
            *("exploding", (500, 1), "stale_statistics"),
            f"BatchNorm's running statistics do not keep up with the weights and {LOST}.",
        ),
        (
            (0.5, "undertrained", None),
            *("healthy", (1, 1), "unknown"),
            "train accuracy ends at 50.0% (the cause is unknown).",
        ),
        (
            (0.1, "undertrained", "healthy"),
            *("exploding", (500, 1), None),
            "the gradient explodes at init (layer 1 gets 500 times the last hidden layer's) and "
            f"{LOST} {OLDER}.",
        ),
        (
            (None, "undertrained", "healthy"),
            *("healthy", (1, 1), "rate_too_small"),
            "the learning rate is too small and nothing was evaluated.",
        ),
    ],
)
def test_of_one_depth_none_is_named(
    run: Any, init: str, ratios: Any, cause: str | None, sentence: str
) -> None:
    frame = to_frame(net("bn", 8, (init, ""), ratios, run, cause=cause))
    assert [arm.sentence for arm in arms_in_words(frame)] == [sentence]


@pytest.mark.slow
def test_no_sentence_is_ill_formed() -> None:
    """Of every verdict with every cause and state at init: one sentence, in which nothing is nan,
    and nothing at odds with anything else. Each verdict is that of a norm."""
    norms = dict(
        zip(DIAGNOSES, ("bn", "gn", "in", "ln", "rms", "wn", "dyt", "ln_channels"), strict=True)
    )
    for cause, init in itertools.product([*CAUSES, None], ["healthy", "vanishing", None]):
        ends = {v: v if v in ("vanishing", "exploding", "collapsed") else "healthy" for v in norms}
        runs = []
        for verdict, norm in norms.items():
            run = (None, verdict, ends[verdict])
            runs += net(norm, 8, (init, ""), (math.nan,) * 2, run, cause=cause)
        arms = {arm.name: arm.sentence for arm in arms_in_words(to_frame(runs))}
        for verdict, norm in norms.items():
            sentence = arms[norm]
            assert sentence.endswith(".")
            assert sentence.count(".") == 1
            assert "nan" not in sentence
            assert "None" not in sentence
            assert "nothing is wrong" not in sentence
            alive = "gradient is alive" in sentence
            assert not (alive and ends[verdict] != "healthy"), (sentence, verdict, cause)


def test_what_has_no_result_has_no_sentence() -> None:
    runs = net("bn", 8, HEALTHY, (1.0, 1.0), *SOUND)
    frame = to_frame(runs).assign(status="failed")
    assert arms_in_words(frame) == []
