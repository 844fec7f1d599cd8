"""The table and the sentence of what a run's advice brought."""

from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

from normlab.config import compose, run_id
from normlab.runs import Run, Summary, Trial, plan_trials, results_of
from normlab.show import TrialsSoFar, command_of, trials_report, trials_to_plain
from tests.show.terminal.printing import printed, text_of

CONFIG = compose(["model=mlp"])
LONG = "model.init=he_normal model.residual=true norm=bn"
BEFORE = {"status": "finished", "train_acc": 0.102, "cause": "depth", "steps": 440}


def run(*advice: str) -> Run:
    told = Summary(run_id="0123456789", name="MLP-4 bn on digits", advice=advice, **BEFORE)
    return Run(Path("results/runs/0123456789"), CONFIG, {}, DataFrame(), DataFrame(), told)


def trials_of(
    monkeypatch: pytest.MonkeyPatch, steps: int | None = None, **said: dict[str, Any] | None
) -> tuple[Run, list[Trial]]:
    """A run whose advice is named here by seeds, s1 and so on, and `given` for short trials."""
    names = [name for name in said if name != "given"]
    tried = run(*(f"seed={name[1:]}" for name in names))
    trials = plan_trials(tried, steps)
    facts = [said[name] for name in (["given"] if steps else []) + names]
    found = {
        run_id(trial.config): None if fact is None else Summary(run_id="x", **{**BEFORE, **fact})
        for trial, fact in zip(trials, facts, strict=True)
    }
    monkeypatch.setattr("normlab.runs.trials.read_summary", lambda folder: found[folder.name])
    return tried, trials


def sentence(run: Run, trials: list[Trial]) -> str:
    return str(trials_to_plain(run, results_of(run, trials), None)["sentence"])


def test_no_gain_has_no_best_and_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trials_of(monkeypatch, s1={"train_acc": 0.1023}, s2={"train_acc": 0.1})
    results = results_of(*made)
    assert "best" not in text_of(trials_report(made[0], results, 100))
    assert command_of(made[0], results) is None
    assert trials_to_plain(made[0], results, None)["best"] is None
    assert sentence(*made) == (
        "No advice brings train accuracy a point above 0.102, that of the settings as given."
    )


def test_few_steps_are_told_and_no_cause_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"steps": 50, "cause": "weight_decay", "try": ("norm=bn",)}
    made = trials_of(monkeypatch, 50, given=few, s1=few)
    assert sentence(*made).endswith(
        " that of the settings as given, in 50 steps. That may be the few steps."
    )
    made = trials_of(monkeypatch, 50, given=few, s1={**few, "train_acc": 0.4})
    assert sentence(*made) == (
        "seed=1 brings most: train accuracy 0.400, from 0.102, in 50 steps. "
        "What is left may be the few steps."
    )
    # Advice of a length of its own was not cut short.
    made = trials_of(monkeypatch, 50, given=few, s1={**few, "train_acc": 0.4, "steps": 2200})
    assert sentence(*made) == (
        "seed=1 brings most: train accuracy 0.400 in 2,200 steps, from 0.102 in 50 steps. "
        "What is left is of cause weight_decay."
    )
    more = {**few, "steps": 500}
    assert "few" not in sentence(*trials_of(monkeypatch, 500, given=more, s1=more))


def test_what_is_left_of_whole_trials_has_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trials_of(monkeypatch, s1={"train_acc": 0.4}, s2={"train_acc": 0.2})
    assert sentence(*made) == (
        "seed=1 brings most: train accuracy 0.400, from 0.102. What is left is of cause depth."
    )
    made = trials_of(monkeypatch, s1={"train_acc": 0.13})
    assert sentence(*made) == (
        "No advice brings five points; most brings seed=1: train accuracy 0.130, from 0.102."
    )


def test_a_second_cause_is_told_with_both_pieces_of_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    decay = {"cause": "weight_decay", "try": ("optimizer.weight_decay=0",)}
    told = " With seed=2 the cause is weight_decay: try seed=2 optimizer.weight_decay=0."
    for accuracy in (0.1, 0.13):
        made = trials_of(monkeypatch, s1={}, s2={**decay, "train_acc": accuracy})
        assert sentence(*made).endswith(told)
    assert told not in sentence(*trials_of(monkeypatch, s1={"train_acc": 0.9}, s2=decay))


def test_the_answer_is_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trials_of(monkeypatch, s1={"train_acc": 0.95, "cause": "none"})
    results = results_of(*made)
    found = trials_to_plain(made[0], results, command_of(made[0], results))
    assert list(found) == ["run", "cause", "trials", "best", "sentence", "next"]
    assert (found["run"], found["cause"], found["best"]) == ("0123456789", "depth", "seed=1")
    assert found["next"] == "normlab run model=mlp seed=1"
    assert [trial["best"] for trial in found["trials"]] == [False, True]
    assert found["sentence"] == "seed=1 makes it train: train accuracy 0.950, from 0.102."
    assert trials_to_plain(run(), [], None, "why") == {
        **{"run": "0123456789", "cause": "depth", "trials": [], "best": None},
        **{"sentence": "why", "next": None},
    }


def table(run: Run, trials: list[Trial], width: int, *at_work: str) -> list[str]:
    drawn = TrialsSoFar(run, trials).drawn(at_work, width, 40)
    assert drawn is not None
    return [line.rstrip() for line in printed(drawn, width)]


def test_waiting_trials_and_those_at_work_have_the_signs_of_a_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = trials_of(monkeypatch, s1=None, s2=None, s3={"status": "failed", "train_acc": None})
    at_work = run_id(made[1][1].config)
    lines = table(*made, 80, at_work)
    assert lines[0].split() == ["tried", "train", "accuracy", "verdict", "cause", "steps"]
    assert [line.split() for line in lines[3:5]] == [["seed=1", "·"], ["seed=2", "…"]]
    assert lines[5].split()[:3] == ["seed=3", "–", "failed"]
    again = table(*made, 80, run_id(made[1][2].config))
    assert again[5].split() == ["seed=3", "…"]
    assert TrialsSoFar(*made).drawn((), 80, 3) is None


def test_names_that_do_not_fit_stand_above_their_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    advised = run(LONG)
    trials = plan_trials(advised)
    monkeypatch.setattr("normlab.runs.trials.read_summary", lambda _: Summary(run_id="x", **BEFORE))
    assert table(advised, trials, 80) == [
        "tried",
        "  train accuracy   verdict    cause   steps",
        "─" * len("  train accuracy   verdict    cause   steps"),
        "as given",
        "           0.102   finished   depth     440",
        LONG,
        "           0.102   finished   depth     440",
    ]
    assert table(advised, trials, 120)[3].startswith(f"{LONG}   ")
    # Nothing is lost or broken where not even the figures fit.
    narrow = table(advised, trials, 30)
    assert narrow[0] == narrow[narrow.index("") + 1] == "tried"
    assert [line for line in narrow if "440" in line] == ["  depth     440"] * 2
    assert max(map(len, narrow)) <= 30
    # A table of 43 columns with its indent: in 42 the last figure goes into a further table.
    assert "" not in table(advised, trials, 43)
    assert "" in table(advised, trials, 42)
