"""The confusion matrix and what stands below it."""

import itertools

from normlab.bench import DiagnosisBench, JudgedCase, LabelledCase
from normlab.config import compose
from normlab.show import diagnosis_bench
from normlab.vocabulary import CAUSES
from tests.show.terminal.printing import text_of

CONFIG = compose(["model=mlp"])


def judged(cause: str, said: str, *figures: float | None, number: int = 1) -> JudgedCase:
    fix = CONFIG if figures else None
    case = LabelledCase(number, ("model=mlp", "a b"), cause, (), "train_acc", CONFIG, fix)
    return JudgedCase(case, said, None, ("seed=1",), *figures, peers={"torchmortem": ["depth"]})


def test_every_cause_fits_beside_a_peer_in_80_columns() -> None:
    every = [judged(cause, said) for cause, said in itertools.product(CAUSES, repeat=2)]
    every.append(judged("none", "failed"))
    text = text_of(
        diagnosis_bench(DiagnosisBench(every, 1, 2, 3, ["torchmortem"]), tries=False), 80
    )
    matrix = text.split("columns: ")[0].splitlines()
    assert len(matrix) == 2 + len(CAUSES) + 1
    assert max(map(len, matrix)) <= 80
    head, _, first, *_ = matrix
    assert head.split() == ["labelled", *"abcdefghijklmnopqrs", "named", "torchmortem"]
    assert first.split() == ["a", "none", *"1" * 19, "1/19", "0/19"]
    assert "failed: runs without a cause" in text


def test_what_is_missed_stands_in_a_line_each() -> None:
    every = [
        judged("none", "none"),
        judged("depth", "unknown", 0.1, 0.9, 0.2, number=12),
        judged("collapsed", "collapsed", 0.1, 0.9, 0.89),
    ]
    text = text_of(diagnosis_bench(DiagnosisBench(every, 1.5, 20, 8), tries=True), 100)
    assert "b collapsed  · 1 · ·    1/1" in text
    assert "cause named  in 1 of 2 (50.0%) that fail" in text
    assert "0 of 1 (0.0%) sound trainings given a cause" in text
    assert "recovers 90% of what the fix brings in 1 of 2 (50.0%)\n" in text.replace(" \n", "\n")
    assert "loses five points or more in 0 of 2 (0.0%)" in text
    assert "1.5 s of training as given, 20.0 s of all 8 runs" in text
    assert "case 12: said unknown, labelled depth: model=mlp 'a b'\n" in text
    assert "case 12: depth: seed=1: 0.100, 0.200, 0.900\n" in text
    assert text.count("\ncase ") == 2
    narrow = text_of(diagnosis_bench(DiagnosisBench(every, 1.5, 20, 8), tries=True), 40)
    assert "\ncase 12: said unknown, labelled depth: …\n" in narrow
    without = text_of(diagnosis_bench(DiagnosisBench(every, 1.5, 20, 8), tries=False), 100)
    assert "recovers" not in without
    assert "seed=1" not in without


def test_what_was_only_said_is_marked_in_its_row() -> None:
    every = [judged("depth", "unknown"), judged("depth", "depth")]
    bench = DiagnosisBench(every, 1, 2, 3, ["torchmortem"])
    text = text_of(diagnosis_bench(bench, tries=False), 80)
    rows = [line.split() for line in text.splitlines()]
    assert ["a", "depth", "1", "1", "1/2", "2/2"] in rows
    assert ["b", "unknown", "·", "·", "–", "–"] in rows
    assert "– was only said: no case is labelled so" in text
    without = text_of(diagnosis_bench(DiagnosisBench(every[1:], 1, 2, 3), tries=False), 80)
    assert "only said" not in without


def test_failing_cases_without_fix_are_counted() -> None:
    every = [judged("depth", "depth", 0.1, 0.9, 0.9), judged("depth", "depth")]
    every.append(judged("none", "none"))
    text = text_of(diagnosis_bench(DiagnosisBench(every, 1, 2, 3), tries=True), 100)
    assert "in 1 of 1 (100.0%); 1 case without fix" in text
