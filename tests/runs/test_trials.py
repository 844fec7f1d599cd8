"""What is tried of a run's advice, how long, and which of it brought most."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

from normlab.config import Config, compose
from normlab.errors import ConfigError
from normlab.runs import (
    AS_GOOD,
    LONGEST_SECONDS,
    Run,
    Summary,
    Tried,
    best_of,
    plan_trials,
    results_of,
    rows_of,
    run_folder,
    second_cause,
    steps_of_trials,
    why_no_trials,
    words_with,
)

CONFIG = compose(["model=mlp", "norm=bn", "norm.momentum=0.5", "optimizer.lr=1e-4", "seed=3"])


def summary(**facts: Any) -> Summary:
    usual = {"status": "finished", "cause": "rate_too_small", "steps": 165, "seconds": 2.0}
    return Summary(run_id="0123456789", **{**usual, **facts})


def run(*advice: str, config: Config = CONFIG, **facts: Any) -> Run:
    told = summary(advice=advice, **facts)
    folder = Path("elsewhere") / "runs" / "0123456789"
    return Run(folder, config, {}, DataFrame(), DataFrame(), told)


def test_a_trial_is_the_run_with_the_advice_and_no_other_change() -> None:
    trials = plan_trials(run("optimizer.lr=0.1", "norm=ln model.residual=true", "seed=1", "seed=2"))
    assert [trial.advice for trial in trials] == [
        "optimizer.lr=0.1",
        "norm=ln model.residual=true",
        "seed=1",
    ]
    first, second, _ = (trial.config for trial in trials)
    assert first.optimizer.lr == 0.1
    assert (first.seed, first.norm) == (3, CONFIG.norm)
    assert (second.norm.name, second.model.residual, second.optimizer.lr) == ("ln", True, 1e-4)
    assert {run_folder(trial.config).parent for trial in trials} == {Path("elsewhere/doctor")}


def test_advice_does_not_say_where_its_trial_lies() -> None:
    (trial,) = plan_trials(run("seed=1 output.root=/tmp output.experiment=x output.weights=true"))
    assert trial.config.output == plan_trials(run("seed=1"))[0].config.output


def test_short_trials_begin_with_the_given_settings_at_their_length() -> None:
    advice = ("optimizer.lr=0.1", "training.epochs=60", "training.steps=700")
    given, rate, epochs, steps = plan_trials(run(*advice), 40)
    assert (given.advice, given.config.training.steps) == ("", 40)
    assert rate.config.training.steps == 40
    assert (epochs.config.training.epochs, epochs.config.training.steps) == (60, None)
    assert steps.config.training.steps == 700


def test_advice_that_cannot_be_is_left_out() -> None:
    assert [t.advice for t in plan_trials(run("norm=gone", "seed=1"))] == ["seed=1"]
    with pytest.raises(ConfigError, match="norm=gone"):
        plan_trials(run("norm=gone"), 5)


def test_a_folder_that_is_named_alone_has_its_trials_beside_its_experiment() -> None:
    alone = run("seed=1")
    alone = Run(Path("0123456789"), *list(vars(alone).values())[1:])
    (trial,) = plan_trials(alone)
    assert run_folder(trial.config).parent == Path.cwd().parent / "doctor"


def test_long_runs_are_tried_for_a_minute() -> None:
    assert steps_of_trials(summary(seconds=LONGEST_SECONDS)) is None
    assert steps_of_trials(summary(seconds=600.0, steps=1000)) == 100
    assert steps_of_trials(summary(seconds=1e6, steps=3)) == 1
    assert steps_of_trials(summary(seconds=None, steps=None)) is None


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"status": "interrupted", "cause": None},
            "interrupted, so that it has no diagnosis; nothing is tried; the same command that "
            "began it goes on with it",
        ),
        ({"status": "timeout"}, "the same command with a larger training.max_seconds goes on"),
        ({"cause": None}, "no cause was recorded, as the run was made by an older version"),
        ({"cause": "none"}, "nothing is wrong with it"),
        ({"cause": "depth", "advice": ()}, "of its cause, depth, no advice is known"),
    ],
)
def test_why_nothing_is_tried(facts: dict[str, Any], told: str) -> None:
    assert told in str(why_no_trials(summary(**{"advice": ("seed=1",), **facts})))
    assert why_no_trials(summary(advice=("seed=1",))) is None


def tried(advice: str, metric: str = "train_acc", /, **facts: Any) -> Tried:
    return Tried(advice, CONFIG, summary(**facts) if facts else None, metric)


def test_the_best_trains_and_is_ahead_of_the_given() -> None:
    given = tried("", train_acc=0.2)
    ahead = tried("a", train_acc=0.95, cause="depth")
    cured = tried("b", train_acc=0.93, cause="none")
    behind, unmade = tried("c", train_acc=0.2, cause="none"), tried("d")
    assert best_of([given, ahead, behind, unmade]) is ahead
    barely = tried("e", train_acc=0.205, cause="none")
    assert best_of([given, barely, ahead]) is barely
    assert best_of([given, ahead, cured]) is cured
    assert best_of([given, behind, unmade]) is None
    rows = rows_of([given, ahead, cured, unmade])
    assert [row["best"] for row in rows] == [False, False, True, False]
    assert (rows[0]["advice"], rows[3]["status"], rows[3]["cause"]) == (None, "unfinished", None)


def test_what_memorizes_is_compared_by_its_test_accuracy() -> None:
    memorizes = run("seed=1", cause="memorizes", train_acc=1.0, test_acc=0.1)
    given, trial = results_of(memorizes, plan_trials(memorizes))
    assert (given.metric, given.score, trial.score) == ("test_acc", 0.1, None)


def test_of_equally_good_trials_the_shortest_is_the_best_then_the_earlier() -> None:
    given = tried("", train_acc=0.2)
    long = tried("training.epochs=200", train_acc=0.897, steps=2200)
    short = tried("optimizer.lr=0.02", train_acc=0.896, steps=440)
    later = tried("norm=bn", train_acc=0.899, steps=440)
    less = tried("seed=1", train_acc=0.88, steps=10)
    assert best_of([given, long, short, less]) is short
    assert best_of([given, less, long, short, later]) is short
    assert best_of([given, later, short]) is later
    assert best_of([given, long, tried("a", train_acc=0.9, steps=None)]) is long


def test_accuracies_that_are_as_good_are_no_gain() -> None:
    given = tried("", train_acc=0.2)
    assert best_of([given, tried("a", train_acc=0.2 + 0.9 * AS_GOOD)]) is None
    assert best_of([given, tried("a", train_acc=0.2 + 1.1 * AS_GOOD)]) is not None
    assert best_of([given, tried("a", train_acc=0.201, cause="none")]) is not None


def test_the_command_ends_with_the_advice_which_replaces_what_it_sets() -> None:
    words = words_with(run(), "norm=ln optimizer.lr=0.1")
    assert words == ["model=mlp", "seed=3", "norm=ln", "optimizer.lr=0.1"]
    assert compose(words).norm.name == "ln"


TYPED = ["norm=bn", "model=mlp", "norm.momentum=0.5", "optimizer.lr=0.0001", "seed=3"]


def made_by(*command: str) -> Run:
    return replace(run(), environment={"command": list(command)})


@pytest.mark.parametrize(
    "command",
    [
        ("normlab", "run", *TYPED),
        ("__main__.py", "--debug", "run", "--doctor", "--format", "json", *TYPED),
        ("normlab", "run", "--force", "--format=json", *TYPED, "runtime.threads=1"),
    ],
)
def test_the_command_has_the_words_that_were_typed(command: tuple[str, ...]) -> None:
    typed = [word for word in command if "=" in word and not word.startswith("-")]
    others = [word for word in typed if not word.startswith("norm")]
    assert words_with(made_by(*command), "norm=ln") == [*others, "norm=ln"]
    assert words_with(made_by(*command), "seed=4")[0] == "norm=bn"


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("a.py",),
        ("normlab", "sweep", *TYPED),
        ("normlab", "run", *TYPED, "seed=4"),  # of another run
        ("normlab", "run", *TYPED, "norm=gone"),
        ("normlab", "run", "--config-dir", "own", *TYPED),
    ],
)
def test_where_the_words_tell_no_run_its_settings_do(command: tuple[str, ...]) -> None:
    assert words_with(made_by(*command), "seed=4") == [
        *("model=mlp", "norm.momentum=0.5", "optimizer.lr=0.0001", "seed=4")
    ]


def test_words_that_the_advice_does_not_go_with_are_left() -> None:
    """A key that only the group's choice of before had."""
    typed = ["model=mlp", "norm=gn", "norm.groups=2"]
    of_groups = replace(
        run(config=compose(typed)), environment={"command": ["normlab", "run", *typed]}
    )
    assert words_with(of_groups, "norm=ln") == ["model=mlp", "norm=ln"]


def test_a_second_cause_is_that_of_a_trial_with_advice_of_its_own() -> None:
    said = {"train_acc": 0.1, "cause": "weight_decay"}
    given = tried("", train_acc=0.1)
    bn = tried("norm=bn", **said, advice=("optimizer.weight_decay=0",))
    second = second_cause(run(), [given, tried("seed=1", train_acc=0.1), bn])
    assert second is not None
    assert (second.advice, second.cause) == ("norm=bn", "weight_decay")
    assert second.words == ["norm=bn", "optimizer.weight_decay=0"]
    for nothing_new in (
        tried("norm=bn", **said),  # no advice
        tried("norm=bn", **said, advice=("norm=ln",)),  # instead of the trial's
        tried("norm=bn", **{**said, "cause": "unknown"}, advice=("seed=1",)),
        tried("norm=bn", **{**said, "cause": "rate_too_small"}, advice=("seed=1",)),
        tried("norm=bn"),
    ):
        assert second_cause(run(), [given, nothing_new]) is None
    both = tried("norm=bn optimizer.weight_decay=0")
    assert second_cause(run(), [given, bn, both]) is None
