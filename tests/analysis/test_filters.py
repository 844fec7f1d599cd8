"""`where` chooses the runs that pandas would, and says why it cannot."""

from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

from normlab.analysis import paired, where
from normlab.analysis.filters import split_at_commas
from normlab.analysis.frames import to_frame
from normlab.errors import ConfigError
from tests.analysis.sample import COUNT, row


@pytest.mark.parametrize(
    ("expressions", "condition"),
    [
        (["norm=bn"], lambda f: f["norm"] == "bn"),
        (["norm.name==bn,ln"], lambda f: f["norm"].isin(["bn", "ln"])),
        (["norm!=bn"], lambda f: f["norm"] != "bn"),
        (["norm=none"], lambda f: f["norm"] == "none"),
        (["model.depth>=20", "model.depth<110"], lambda f: f["model.depth"].isin([20, 56])),
        (["model.depth = 8, 20"], lambda f: f["model.depth"] < 50),
        (["model.residual=true"], lambda f: f["model.residual"]),
        (["norm.affine=true"], lambda f: f["norm"] != "none"),
        (["norm.affine=null"], lambda f: f["norm"] == "none"),
        (["training.steps=null", "train_acc>0.5"], lambda f: f["train_acc"] > 0.5),
        (["verdict!=trains"], lambda f: f["verdict"] == "vanishing"),
        (["cause=none"], lambda f: f["verdict"] == "trains"),
        (["cause=depth,vanishing_at_init"], lambda f: f["verdict"] == "vanishing"),
        (["optimizer.lr=1e-2"], lambda f: f["optimizer.lr"] == 0.01),
    ],
)
def test_where(many: tuple[Path, DataFrame], expressions: list[str], condition: Any) -> None:
    found = where(many[1], expressions)
    assert 0 < len(found) < COUNT
    assert found["run_id"].tolist() == many[1][condition(many[1])]["run_id"].tolist()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("norm", "must be KEY=VALUE"),
        ("=bn", "must be KEY=VALUE"),
        ("nrom=bn", "did you mean norm"),
        ("norm>bn", "not a number; use = or !="),
        ("model.residual>0", "not a number; use = or !="),
        ("model.residual=1", "must be true or false"),
        ("model.depth=deep", "model.depth must be a number"),
        ("model.depth>x", "model.depth must be a number"),
        ("norm=bnn", "no run has it; norm has none, bn, ln; did you mean bn"),
        ("model.depth>1000", "no run has it; model.depth has 8, 20, 56, 110"),
        ("norm=[bn", "--where 'norm=\\[bn': lacks a closing \\]"),
        ("norm=bn]", "\\] closes nothing"),
    ],
)
def test_where_in_clear_words(many: tuple[Path, DataFrame], expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        where(many[1], [expression])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "status=failed",
        "verdict=exploding,null",
        "train_acc>2",
        "verdict_end=collapsed",
        "cause=depth",
    ],
)
def test_that_no_run_came_to_such_an_end_is_an_answer(
    many: tuple[Path, DataFrame], expression: str
) -> None:
    assert where(many[1], [expression]).empty


@pytest.mark.parametrize("expression", ["status=faild", "verdict=vanish", "status=bn", "cause=u"])
def test_what_is_no_end_is_none(many: tuple[Path, DataFrame], expression: str) -> None:
    with pytest.raises(ConfigError, match="no run has it"):
        where(many[1], [expression])


def test_runs_without_a_cause_are_chosen_by_null_and_none_is_a_cause() -> None:
    frame = to_frame([row(seed=seed, cause=cause) for seed, cause in enumerate(["none", None])])
    assert where(frame, ["cause=none"])["seed"].tolist() == [0]
    assert where(frame, ["cause=null"])["seed"].tolist() == [1]
    assert where(frame, ["cause!=none"])["seed"].tolist() == [1]
    assert where(frame.tail(1), ["cause=none"]).empty  # of older runs alone


def test_a_word_is_found_among_runs_that_have_none() -> None:
    frame = to_frame([row(seed=seed, verdict=v) for seed, v in enumerate(["vanishing", None])])
    assert where(frame, ["verdict=vanishing"])["seed"].tolist() == [0]
    assert where(frame, ["verdict=trains"]).empty


MILESTONES = ("[0.5,0.75]", "[0.25,0.5]", "[1.0]")


@pytest.fixture(scope="module")
def lists() -> DataFrame:
    return to_frame(
        [
            row("schedule=multistep", f"schedule.milestones={value}", train_acc=acc)
            for value, acc in zip(MILESTONES, (0.5, 0.7, 0.8), strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("schedule.milestones=[0.5,0.75]", [0]),
        ("schedule.milestones = [.5, 0.750]", [0]),
        ("schedule.milestones=[1]", [2]),
        ("schedule.milestones=[0.5,0.75],[0.25,0.5]", [0, 1]),
        ("schedule.milestones!=[0.5,0.75]", [1, 2]),
        ("schedule.milestones!=[0.5,0.75],[1]", [1]),
        ("probes.measure=[delta_rms, grad_norm]", []),
    ],
)
def test_lists_are_named_as_they_are_written(
    lists: DataFrame, expression: str, chosen: list[int]
) -> None:
    if not chosen:
        with pytest.raises(ConfigError, match="no run has it"):
            where(lists, [expression])
    else:
        found = where(lists, [expression])["schedule.milestones"].tolist()
        assert found == [MILESTONES[place] for place in chosen]


def test_a_list_of_names_is_found(lists: DataFrame) -> None:
    names = lists["probes.measure"].iloc[0]
    assert "," in names
    assert len(where(lists, [f"probes.measure={names}"])) == 3
    assert len(where(lists, [f"probes.measure={names.replace(',', ' , ')}"])) == 3


def test_a_baseline_may_be_a_list(lists: DataFrame) -> None:
    key = "schedule.milestones"
    found = paired(lists, f"{key}=[0.5, 0.75], norm=bn", ["train_acc"], [key], [])
    assert dict(zip(found[key], found["mean"].round(9), strict=True)) == {
        "[0.25,0.5]": 0.2,
        "[1.0]": 0.3,
    }


def test_quotes_hold_commas_and_an_apostrophe_is_none(lists: DataFrame) -> None:
    named = lists.assign(experiment=["a,b", "ann's", "c]"])
    for text, chosen in (('"a,b"', 0), ("ann's", 1), ("'c]'", 2)):
        assert where(named, [f"experiment={text}"]).index.tolist() == [chosen]
    assert split_at_commas("a, [b,{c,d}],'e,f' ", "x") == ["a", "[b,{c,d}]", "'e,f'"]


def test_seeds_that_a_float_cannot_tell_apart() -> None:
    seeds = [2**53, 2**53 + 1]
    frame = to_frame([row(seed=seed) for seed in seeds])
    assert where(frame, [f"seed={seeds[1]}"])["seed"].tolist() == seeds[1:]
