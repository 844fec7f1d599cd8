"""What the letters in a comparison's cells mean."""

import pandas

from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO
from normlab.measurement.diagnosis import TRAINED_SKILL
from normlab.show.comparisons.layout import lay_out
from normlab.show.comparisons.legend import cells_by_cause, marks_explained
from normlab.vocabulary import CAUSES, DIAGNOSES
from tests.show.comparisons.summaries import tidy


def explained(*verdicts: str | None) -> list[str]:
    count = len(verdicts)
    summary = tidy(case=list(range(count)), mean=[0.5] * count, verdict=list(verdicts))
    return [text for text, _ in marks_explained(lay_out(summary, ["case"], []))]


def test_every_letter_has_a_meaning_by_the_thresholds_that_decide() -> None:
    for diagnosis in DIAGNOSES.values():
        assert diagnosis.meaning
    assert f"came {TRAINED_SKILL:.0%} of the way from chance" in DIAGNOSES["trains"].meaning
    plain, when, *letters = explained(*DIAGNOSES, None)[2:]
    assert plain == "no letter: healthy"
    assert f"less than {TRAINED_SKILL:.0%} of the way from chance" in when
    assert [letter[0] for letter in letters] == ["u", "c", "v", "e", "d"]
    assert f"under {VANISHING_RATIO:.0%} of the last hidden" in letters[2]
    assert f"over {EXPLODING_RATIO:g} times the last hidden" in letters[3]


def test_only_those_that_are_shown_are_explained() -> None:
    assert explained("trains", "trains") == ["no letter: trains"]
    assert explained("vanishing", "trains")[0::2] == [
        "no letter: trains",
        "v vanishing: layer 1 gets under 1% of the last hidden layer's gradient",
    ]
    assert explained(None) == []


def counted(verdicts: list[str | None], causes: list[str | None]) -> str:
    cells = list(range(len(verdicts)))
    summary = tidy(case=cells, mean=[0.5] * len(cells), verdict=verdicts, cause=causes)
    return cells_by_cause(pandas.concat([summary, summary.assign(metric="test_acc")]))


def test_the_causes_of_cells_with_a_letter_are_counted_once_a_cell() -> None:
    verdicts = ["trains", "undertrained", "vanishing", *["undertrained"] * 3, None]
    causes = ["none", "depth", "vanishing_at_init", *["rate_too_small"] * 2, None, None]
    assert counted(verdicts, causes) == (
        "cells by cause: u: 2 rate_too_small, 1 depth, 1 not recorded; v: 1 vanishing_at_init"
    )
    assert counted(["undertrained", "undertrained"], ["none", None]) == (
        "cells by cause: u: 1 –, 1 not recorded"
    )
    assert counted(["undertrained", "diverged"], [None, None]) == (
        "causes not recorded: made by an older version"
    )
    assert counted(["trains", None], ["none", None]) == ""


def test_of_very_many_causes_the_first_are_counted() -> None:
    many = list(CAUSES)[1:12]
    eight = counted(["undertrained"] * 8, many[:8])
    assert (eight.count("1 "), "more" in eight) == (8, False)
    eleven = counted(["undertrained"] * 6 + ["vanishing"] * 5, many)
    assert eleven.count("1 ") == 8
    assert f"; v: 1 {many[6]}, 1 {many[7]} and 3 more (normlab ls --where cause=…)" in eleven
    nine = counted([*["undertrained"] * 8, "vanishing"], many[:9])
    assert nine.endswith(f"1 {many[7]} and 1 more (normlab ls --where cause=…)")


def test_where_the_rows_are_causes_none_is_counted() -> None:
    assert cells_by_cause(tidy(case=[0], mean=[0.5], verdict=["vanishing"])) == ""
    assert cells_by_cause(tidy(case=[], mean=[], verdict=[], cause=[])) == ""
