"""What varies, and what becomes rows and columns."""

from pathlib import Path

import pytest
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.results import layout, pooled, summarize, where
from normlab.results.frames import to_frame
from normlab.results.keys import varying
from tests.results.sample import row


def test_what_varies_is_laid_out(many: tuple[Path, DataFrame]) -> None:
    _, frame = many
    assert varying(frame) == ["norm", "model.residual", "model.depth", "optimizer.lr"]
    assert layout(frame) == (["norm", "model.residual", "optimizer.lr"], ["model.depth"])
    assert layout(frame, ["norm.name"], []) == (["norm"], [])
    assert pooled(frame, ["norm", "model.depth"]) == ["model.residual", "optimizer.lr"]
    assert pooled(frame, layout(frame)[0] + layout(frame)[1]) == []


def test_consequences_of_a_choice_do_not_vary() -> None:
    frame = to_frame([row("optimizer=sgd"), row("optimizer=adam"), row("optimizer=adam", seed=1)])
    assert frame["optimizer.lr"].nunique() == 2
    assert varying(frame) == ["optimizer"]
    frame = to_frame([row("optimizer.lr=0.1"), row("optimizer.lr=0.2")])
    assert varying(frame) == ["optimizer.lr"]


def test_what_goes_along_with_depth_needs_no_rows() -> None:
    frame = to_frame(
        [
            row(f"norm={norm}", f"model.depth={depth}", f"training.epochs={epochs}")
            for norm in ("none", "bn")
            for depth, epochs in ((8, 10), (20, 20))
        ]
    )
    assert layout(frame) == (["norm"], ["model.depth"])
    assert layout(where(frame, ["norm=bn"])) == (["model.depth"], [])
    assert layout(where(frame, ["norm=bn", "model.depth=8"])) == (["name"], [])


@pytest.mark.parametrize(
    ("key", "hint"),
    [("depth", "model.depth"), ("modle.depth", "model.depth"), ("x", "some are")],
)
def test_unknown_keys(many: tuple[Path, DataFrame], key: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: no such key.*{hint}"):
        layout(many[1], [key], None)
    with pytest.raises(ConfigError, match="among the rows already"):
        layout(many[1], ["norm"], ["norm"])
    with pytest.raises(ConfigError, match=r"train_ac: no such metric; .*did you mean train_acc"):
        summarize(many[1], ["norm"], [], ["train_ac"])
