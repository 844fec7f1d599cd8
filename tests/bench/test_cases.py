"""Labelled cases: read, judged and counted."""

from pathlib import Path
from typing import Any

import pytest

from normlab.bench import (
    DiagnosisBench,
    JudgedCase,
    LabelledCase,
    confusion,
    judge_case,
    read_cases,
    run_names,
    tally,
)
from normlab.config import compose, run_id
from normlab.errors import ConfigError
from normlab.runs import Summary
from normlab.vocabulary import CAUSES

CONFIG = compose(["model=mlp"])


def case(cause: str, *also: str, number: int = 1, metric: str = "train_acc") -> LabelledCase:
    return LabelledCase(number, ("model=mlp",), cause, also, metric, CONFIG, None)


def summary(**facts: Any) -> Summary:
    return Summary(run_id="0123456789", **{"status": "finished", **facts})


def judged(cause: str, said: str, *figures: float | None, also: str = "") -> JudgedCase:
    return JudgedCase(case(cause, *also.split()), said, None, ("seed=1",), *figures)


# ------------------------------------------------------------------------------- reading


def write(folder: Path, text: str) -> Path:
    file = folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_case_has_its_configs_on_one_thread_of_the_cpu(tmp_path: Path) -> None:
    text = """
- config: [model=mlp, norm=bn, norm.momentum=0, runtime.threads=2, seed=4]
  cause: stale_statistics
  also: [too_short]
  fix: [norm=ln]
  measured: {anything: .nan}
- {config: [], cause: none, also: [], fix: []}
- {config: [data=gaussian], cause: memorizes}
"""
    first, second, third = read_cases(write(tmp_path, text), "a, b")
    assert (first.cause, first.also, first.metric) == (
        *("stale_statistics", ("too_short",), "train_acc"),
    )
    assert (first.given.seed, first.given.norm.name) == (4, "bn")
    runtime, output = first.given.runtime, first.given.output
    assert (runtime.threads, runtime.device) == (1, "cpu")
    assert (output.root, output.experiment) == ("a, b", "diagnosis-own")
    assert first.fixed is not None
    assert first.fixed.norm == compose(["norm=ln"]).norm
    assert (first.fixed.seed, first.fixed.output) == (4, output)
    assert (second.healthy, second.fixed, third.metric) == (True, None, "test_acc")
    assert first.with_advice("norm=ln seed=5").seed == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{config: []}", "must be a list of cases"),
        ("[]", "must be a list of cases"),
        ("nothing", "must be a list of cases"),
        ("- [", "not valid YAML"),
        ("- text", "case 1: must be a mapping with config and cause"),
        ("- {cause: none}", "case 1: its config must be a list of texts"),
        ("- {config: [3], cause: none}", "case 1: its config must be a list of texts"),
        ("- {config: [], fix: x, cause: none}", "case 1: its fix must be a list of texts"),
        ("- {config: []}", "case 1: its cause is missing"),
        ("- {config: [], cause: dept}", "case 1: cause dept: no such cause; choices: none"),
        ("- {config: [], cause: [none]}", "case 1: cause ['none']: no such cause"),
        ("- {config: [], cause: none, also: [x]}", "case 1: cause x: no such cause"),
        ("- {config: [], cause: none, metric: loss}", "case 1: metric loss: no such metric"),
        ("- {config: [norm=x], cause: none}", "case 1: norm=x: no such choice"),
        (
            "- {config: [], cause: none}\n- {config: [model=mlp], cause: depth, fix: [seed=x]}",
            "case 2: seed=x: must be a whole number",
        ),
        ("- {config: ['norm=bn,ln'], cause: none}", "case 1: norm=bn,ln: one run takes one"),
    ],
)
def test_what_is_no_case_is_told_by_its_number(tmp_path: Path, text: str, told: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_cases(file, "results")
    assert str(error.value).startswith(f"{file}: {told}")
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for file in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_cases(file, "results")


def test_a_run_that_cases_share_is_named_by_the_first() -> None:
    cases = [case("depth"), case("none", number=2)]
    assert run_names(cases, {}) == {run_id(CONFIG): "case 1 depth"}
    other = compose(["model=mlp", "seed=1"])
    assert run_names(cases, {2: other})[run_id(other)] == "case 2 none with the advice"


# ------------------------------------------------------------------------------- judging


def test_a_cause_is_named_by_itself_or_by_one_that_may_be_said() -> None:
    assert judged("depth", "depth").named
    assert judged("depth", "collapsed", also="too_short collapsed").named
    assert not judged("depth", "none").named


@pytest.mark.parametrize(
    ("figures", "recovers", "harms"),
    [
        ((0.1, 0.9, 0.83), True, False),
        ((0.1, 0.9, 0.81), False, False),
        ((0.1, 0.9, 0.04), False, True),
        ((0.1, 0.9, 0.06), False, False),
        ((0.1, 0.9, None), False, False),
        ((0.5, 0.5, 0.9), None, False),  # a fix that brings nothing proves nothing
        ((0.5, None, 0.1), None, True),
        ((None, 0.9, 0.9), None, False),
    ],
)
def test_advice_recovers_or_harms(
    figures: tuple[float | None, ...], recovers: bool | None, harms: bool
) -> None:
    found = judged("depth", "depth", *figures)
    assert (found.recovers, found.harms) == (recovers, harms)


def test_a_case_is_judged_in_its_own_metric_by_what_its_runs_say() -> None:
    given = summary(cause="memorizes", train_acc=1.0, test_acc=0.1, **{"try": ("data=digits",)})
    fixed, tried = summary(test_acc=0.9), summary(test_acc=0.8)
    found = judge_case(case("memorizes", metric="test_acc"), given, fixed, tried)
    assert (found.said, found.advice) == ("memorizes", ("data=digits",))
    assert (found.given, found.fixed, found.tried) == (0.1, 0.9, 0.8)
    assert judge_case(case("depth"), summary(status="failed")).said == "failed"
    assert judge_case(case("depth"), None).said == "unfinished"


EVERY = [
    judged("none", "none"),
    judged("none", "depth", 0.9, None, 0.5),
    judged("depth", "depth", 0.1, 0.9, 0.9),
    judged("depth", "unknown", 0.1, 0.9, 0.1),
    judged("depth", "collapsed", 0.1, 0.9, None, also="collapsed"),
    judged("capacity", "failed"),
]


def test_the_counts() -> None:
    counted = tally(EVERY)
    assert counted.named == (2, 4)
    assert counted.sound_given_cause == (1, 2)
    assert counted.recovers == (1, 3)
    assert counted.harms == (1, 3)
    assert counted.to_plain()["named"] == {"count": 2, "of": 4, "share": 0.5}
    assert tally([]).named.share is None


def test_the_matrix_has_the_causes_that_occur_in_the_order_of_the_vocabulary() -> None:
    matrix = confusion(EVERY)
    assert matrix.causes == ["none", "collapsed", "capacity", "depth", "unknown", "failed"]
    assert [name for name in CAUSES if name in matrix.causes] == matrix.causes[:-1]
    assert matrix.counts["depth", "unknown"] == matrix.counts["none", "depth"] == 1
    assert matrix.named == {"none": (1, 2), "capacity": (0, 1), "depth": (2, 3)}
    assert matrix.to_plain()["depth"] == {"collapsed": 1, "depth": 1, "unknown": 1}


def test_a_peer_is_judged_by_its_first_word() -> None:
    words = {"peer": ("depth", "none")}
    each = JudgedCase(case("depth"), "unknown", None, (), 0.1, peers=words)
    bench = DiagnosisBench([each], 1.0, 2.0, 3, ["peer"])
    assert tally(bench.of_peer("peer")).named == (1, 1)
    plain = bench.to_plain()
    assert plain["peer"]["named"]["count"] == 1
    assert plain["named"]["count"] == 0
    assert plain["cases"][0]["peer"] == ["depth", "none"]
