"""What the letters in a comparison's cells mean."""

from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO
from normlab.measurement.diagnosis import TRAINED_SKILL
from normlab.show.comparisons.layout import lay_out
from normlab.show.comparisons.legend import marks_explained
from normlab.vocabulary import DIAGNOSES
from tests.show.comparisons.summaries import tidy


def explained(*verdicts: str | None) -> list[str]:
    count = len(verdicts)
    summary = tidy(case=list(range(count)), mean=[0.5] * count, verdict=list(verdicts))
    return [text for text, _ in marks_explained(lay_out(summary, ["case"], []))]


def test_every_letter_has_a_meaning_by_the_thresholds_that_decide() -> None:
    for diagnosis in DIAGNOSES.values():
        assert diagnosis.meaning
    assert f"came {TRAINED_SKILL:.0%} of the way from chance" in DIAGNOSES["trains"].meaning
    plain, when, *letters = explained(*DIAGNOSES, None)[1:]
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
