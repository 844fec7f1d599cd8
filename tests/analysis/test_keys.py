"""What varies, and what becomes rows and columns."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pandas import DataFrame

from normlab.analysis import label, layout, pooled, short_names, summarize, where
from normlab.analysis.frames import to_frame
from normlab.analysis.keys import rank, varying
from normlab.analysis.variants import variant_keys, variants_of
from normlab.errors import ConfigError
from tests.analysis.sample import row


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


def test_a_data_set_that_goes_along_with_depth_has_rows_of_its_own() -> None:
    frame = to_frame(
        [
            row("data=gaussian", "model=mlp", "model.depth=4"),
            row("data=digits", "model.depth=8"),
            row("data=digits", "model.depth=20"),
        ]
    )
    assert layout(frame) == (["data"], ["model.depth"])
    assert layout(frame, None, []) == (["model", "data", "model.depth"], [])
    names = {variant.name for variant in variants_of(frame, variant_keys(frame))}
    assert names == {"gaussian", "digits"}


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
    with pytest.raises(ConfigError, match=r"effective_rank: is measured layer by layer.*plot grad"):
        summarize(many[1], ["norm"], [], ["effective_rank"])


@given(st.floats(), st.floats())
@example(0.0, -0.0)
def test_distinct_numbers_have_distinct_labels(one: float, other: float) -> None:
    assert (label("optimizer.lr", one) == label("optimizer.lr", other)) == (
        one == other or (one != one and other != other)
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (2.0, "2"),
        (1234567.0, "1234567"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.9999999, "0.9999999"),
    ],
)
def test_numbers_are_written_in_few_digits(value: float, text: str) -> None:
    assert label("optimizer.lr", value) == text


def test_where_nothing_is_wrong_the_cause_is_a_dash_unlike_one_that_is_not_recorded() -> None:
    causes = ("none", "depth", None, float("nan"))
    shown = [label("cause", cause) for cause in causes]
    assert shown == ["–", "depth", "not recorded", "not recorded"]
    assert label("norm", "none") == label("", "none") == "none"  # what one filters by


def test_numbers_come_before_none_and_that_before_other_words_and_what_is_absent() -> None:
    found = sorted([None, "ln", 2, "none", float("nan"), "bn", 0.5], key=rank)
    assert found[:5] == [0.5, 2, "none", "bn", "ln"]


def test_keys_that_end_alike_are_told_apart() -> None:
    assert short_names(["norm", "model.depth"]) == ["norm", "depth"]
    assert short_names(["norm.eps", "optimizer.eps", "model.depth"]) == [
        "norm.eps",
        "optimizer.eps",
        "depth",
    ]
    assert short_names(["data.seed"]) == ["data.seed"]
    assert short_names(["seed"]) == ["seed"]


BESIDE = (
    *("data.root=/elsewhere", "probes=none", "probes.batch_size=16", "probes.snapshots=3"),
    *("training.evaluate_every_epochs=4", "runtime.threads=2", "launcher.workers=3"),
)


@pytest.mark.parametrize("beside", BESIDE)
def test_what_leaves_the_training_as_it_is_splits_no_cell(beside: str) -> None:
    runs = [row("norm=bn", seed=seed, train_acc=0.1 * seed) for seed in (0, 1)] + [
        row("norm=bn", beside, seed=seed, train_acc=0.1 * seed) for seed in (1, 2, 3)
    ]
    frame = to_frame(runs)
    assert varying(frame) == []
    rows, cols = layout(frame)
    cell = summarize(frame, rows, cols, ["train_acc"])
    # Seed 1 was trained once, however often it was measured.
    assert (cell["n"].tolist(), cell["mean"].tolist()) == ([4], [pytest.approx(0.15)])
    assert pooled(frame, [*rows, *cols], ["train_acc"]) == []


def test_a_probes_key_that_is_asked_for_splits() -> None:
    frame = to_frame([row(f"probes.batch_size={size}", seed=0) for size in (16, 64)])
    assert summarize(frame, ["probes.batch_size"], [], ["train_acc"])["n"].tolist() == [1, 1]
    assert pooled(frame, [], ["gradient_ratio_init"]) == ["probes.batch_size"]


def test_the_seed_of_the_data_is_a_seed() -> None:
    along = to_frame([row(f"data.seed={seed}", seed=seed) for seed in range(3)])
    alone = to_frame([row(f"data.seed={seed}", seed=0) for seed in range(3)])
    crossed = to_frame([row(f"data.seed={s}", seed=t) for s in range(3) for t in range(2)])
    for frame, n, mixed in ((along, 3, []), (alone, 3, []), (crossed, 6, ["data.seed"])):
        assert varying(frame) == []
        assert layout(frame) == (["name"], [])
        assert summarize(frame, ["norm"], [], ["train_acc"])["n"].tolist() == [n]
        assert pooled(frame, ["norm"]) == mixed
