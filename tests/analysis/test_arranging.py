"""What runs are compared by where nothing is asked for."""

import pytest

from normlab.analysis import Request, arrange
from normlab.analysis.frames import to_frame
from tests.analysis.sample import row


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.5, 1.0), ["train_acc"]),
        ((None, 1.0), ["train_acc"]),
        ((None, None), ["gradient_ratio_init", "gradient_ratio_end"]),
    ],
)
def test_runs_without_a_score_are_compared_by_their_gradients(
    scores: tuple[float | None, float | None], expected: list[str]
) -> None:
    runs = [row("norm=bn", seed=i, train_acc=score) for i, score in enumerate(scores)]
    found = arrange(to_frame(runs), Request())
    assert list(dict.fromkeys(found.table["metric"])) == expected
    asked = arrange(to_frame(runs), Request(metrics=["train_loss"]))
    assert set(asked.table["metric"]) == {"train_loss"}


def test_runs_without_anything_are_compared_by_a_score() -> None:
    nothing = {"train_acc": None, "gradient_ratio_end": None}
    found = arrange(to_frame([row("norm=bn", **nothing)]), Request())
    assert set(found.table["metric"]) == {"train_acc"}
