"""Each arm of a sweep in a sentence."""

from typing import Any

import pytest

from normlab.results import arms_in_words
from normlab.results.frames import to_frame
from tests.results.sample import row


def net(norm: str, depth: int, verdicts: tuple[str, str], ratios: tuple[float, float], *runs: Any):
    """A net's runs: each its accuracy, verdict and verdict at the end."""
    return [
        row(
            f"norm={norm}",
            f"model.depth={depth}",
            seed=seed,
            train_acc=accuracy,
            verdict=verdict,
            verdict_init=verdicts[0],
            verdict_end=end,
            gradient_ratio_init=ratios[0],
            gradient_ratio_end=ratios[1],
        )
        for seed, (accuracy, verdict, end) in enumerate(runs)
    ]


SOUND = [(0.98, "trains", "healthy")] * 2
GONE = (0.1, "vanishing", "vanishing")
SLOW = (0.134, "undertrained", "healthy")
HEALTHY = ("healthy", "healthy")


def test_the_quickstart_in_four_sentences() -> None:
    runs = [
        *net("none", 8, HEALTHY, (0.2, 0.2), *SOUND),
        *net("none", 20, HEALTHY, (0.02, 0.03), (0.42, "undertrained", "healthy"), GONE),
        *net("none", 56, ("vanishing", ""), (1e-5, 1.6e-6), GONE, GONE),
        *net("bn", 8, HEALTHY, (0.7, 1.0), *SOUND),
        *net("bn", 20, HEALTHY, (4.8, 1.0), *SOUND),
        *net("bn", 56, ("exploding", ""), (799.6, 0.04), SLOW, SLOW),
        *net("ln", 8, HEALTHY, (0.7, 1.0), *SOUND),
        *net("ln", 56, HEALTHY, (0.7, 1.0), *SOUND),
    ]
    assert [tuple(arm) for arm in arms_in_words(to_frame(runs))] == [
        (
            "no-norm",
            "trains at depth 8; at 20 (in 1 of 2 runs) and 56 the gradient vanishes (layer 1 gets "
            "1.6e-6 of the last hidden layer's at 56) and train accuracy ends at 26.0% and 10.0%.",
        ),
        (
            "bn",
            "trains at depth 8 and 20; at 56 it is undertrained: train accuracy ends at 13.4%, "
            "though the gradient is alive at the end (at init it explodes: layer 1 gets 800 times "
            "the last hidden layer's).",
        ),
        ("ln", "trains at every depth (8 and 56)."),
    ]


@pytest.mark.parametrize(
    ("run", "ratio", "sentence"),
    [
        ((0.99, "trains", "healthy"), 1.0, "trains."),
        ((0.1, "healthy", "healthy"), 1.0, "has a healthy gradient."),
        ((0.1, "diverged", "exploding"), 9.0, "the training diverges."),
        (
            (0.1, "exploding", "exploding"),
            1234.0,
            "the gradient explodes (layer 1 gets 1200 times the last hidden layer's) and train "
            "accuracy ends at 10.0%.",
        ),
        (
            (0.1, "vanishing", "vanishing"),
            float("nan"),
            "the gradient vanishes (it is 0) and train accuracy ends at 10.0%.",
        ),
        (
            (0.1, "collapsed", "collapsed"),
            1.0,
            "the layers forget the input, all samples look alike to the last, and train accuracy "
            "ends at 10.0%.",
        ),
        ((0.5, "undertrained", None), 1.0, "it is undertrained: train accuracy ends at 50.0%."),
    ],
)
def test_of_one_depth_none_is_named(run: Any, ratio: float, sentence: str) -> None:
    frame = to_frame(net("bn", 8, HEALTHY, (1.0, ratio), run))
    assert [arm.sentence for arm in arms_in_words(frame)] == [sentence]


def test_what_has_no_result_has_no_sentence() -> None:
    runs = net("bn", 8, HEALTHY, (1.0, 1.0), *SOUND)
    frame = to_frame(runs).assign(status="failed")
    assert arms_in_words(frame) == []
