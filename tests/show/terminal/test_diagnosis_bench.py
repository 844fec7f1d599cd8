"""The confusion matrix and what stands below it."""

import itertools

from normlab.bench import DiagnosisBench, JudgedCase, LabelledCase
from normlab.config import compose
from normlab.show import diagnosis_bench
from normlab.vocabulary import CAUSES
from tests.show.terminal.printing import text_of

CONFIG = compose(["model=mlp"])


def judged(cause: str, said: str, *figures: float | None, number: int = 1) -> JudgedCase:
    case = LabelledCase(number, ("model=mlp", "a b"), cause, (), "train_acc", CONFIG, None)
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
    assert head.split() == ["labelled", *"abcdefghijklmnopqr", "named", "torchmortem"]
    assert first.split() == ["a", "none", *"1" * 18, "1/18", "0/18"]
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
    assert "called ill   0 of 1 (0.0%) that are healthy" in text
    assert "recovers 90% of what the fix brings in 1 of 2 (50.0%)" in text
    assert "loses five points or more in 0 of 2 (0.0%)" in text
    assert "1.5 s of training as given, 20.0 s of all 8 runs" in text
    assert "case 12  unknown, labelled depth: model=mlp 'a b'\n" in text
    assert "case 12  depth: seed=1: 0.100, 0.200, 0.900\n" in text
    assert text.count("case ") == 2
    narrow = text_of(diagnosis_bench(DiagnosisBench(every, 1.5, 20, 8), tries=True), 40)
    assert "\ncase 12  unknown, labelled depth: model…\n" in narrow
    without = text_of(diagnosis_bench(DiagnosisBench(every, 1.5, 20, 8), tries=False), 100)
    assert "recovers" not in without
    assert "seed=1" not in without
