"""Claims and verdicts as a person reads them."""

import math
from datetime import datetime

import pytest

from normlab.analysis import Mixed
from normlab.claims import FAIL, PASS, Claim, Measure, Measured, Protocol, Remembered, Verdict
from normlab.show import TABLE_FORMATS, claim_page, claims_table, summary_line, verdict_report
from normlab.show.terminal.claim_figures import spread_text, value_text
from tests.show.terminal.printing import text_of


def measure(
    name: str = "r", form: str = "number", gate: list[float | None] | None = None
) -> Measure:
    return Measure.model_validate(
        {"name": name, "value": "train_acc()", "form": form, "gate": gate}
    )


MEASURE = measure("bn less [none]", "points", [0.05, None])
SMALL = Protocol(
    about="two nets, three seeds", experiment="C99", measures=(MEASURE,), seconds=200.0
)
CLAIM = Claim(
    id="C99",
    title="BatchNorm trains [deep] nets",
    statement="It [does].",
    source="Somebody 2015",
    found="97 %",
    compares="bn with none",
    trap="the learning rate",
    small=SMALL,
    paper=Protocol(
        about="the paper's own", experiment="C99-paper", measures=(MEASURE,), seconds=math.nan
    ),
    arm="normlab run norm=bn",
)
HELD = Measured(MEASURE, 0.125, 0.1, 0.15, 3)


def test_a_claim_is_explained() -> None:
    text = text_of(claim_page(CLAIM, Remembered(PASS, datetime(2026, 1, 2, 3, 4), holds=True)), 100)
    for words in (
        "two nets, three seeds (3 min on 2 cores)",
        "bn less [none]: ≥ 5 pp",
        "PASS, 2026-",
        "It [does].",
    ):
        assert words in text
    listed = text_of(claims_table([CLAIM], "paper", {}), 120)
    assert "a GPU's" in listed
    assert "[deep]" in listed


def test_a_verdict_has_its_figures_and_marks() -> None:
    broken = Measured(MEASURE, 0.01, math.nan, math.nan, 1)
    verdict = Verdict(CLAIM, "small", FAIL, (HELD, broken))
    text = text_of(verdict_report(verdict), 100)
    assert "C99  FAIL  BatchNorm trains [deep] nets" in text
    assert "✓  bn less [none]  12.50 pp  10.00 … 15.00  ≥ 5 pp  3" in text
    assert "✗  bn less [none]   1.00 pp" in text
    every = TABLE_FORMATS["rich"].verdicts
    assert every is not None
    assert text_of(every([verdict, verdict]), 100) == 2 * text


def test_a_verdict_by_runs_of_unlike_machines_says_so() -> None:
    unlike = (Mixed("threads", ("1", "2"), 1, 1), Mixed("commit", ("a", "b"), 1, 1))
    text = text_of(verdict_report(Verdict(CLAIM, "small", PASS, (HELD,), unlike=unlike)), 120)
    assert (
        "Its runs were made with unlike threads 1, 2; commit a, b: they may differ by that alone."
        in text
    )
    assert "unlike" not in text_of(verdict_report(Verdict(CLAIM, "small", PASS, (HELD,))), 120)


def test_verdicts_are_counted() -> None:
    verdicts = [Verdict(CLAIM, "small", name) for name in (FAIL, PASS, PASS)]
    assert summary_line(verdicts) == "3 claims: 2 PASS, 1 FAIL"
    assert summary_line(verdicts[:1]) == "1 claim: 1 FAIL"


@pytest.mark.parametrize(
    ("part", "value", "spread"),
    [
        (HELD, "12.50 pp", "10.00 … 15.00"),
        (Measured(measure(form="times"), 2.0, 2.0, 2.0, 3), "×2.00", "all alike"),
        (Measured(measure(form="count"), 2 / 3, 0, 1, 3), "2 of 3", ""),
        (Measured(measure(), math.inf, math.nan, math.nan, 1), "∞", "–"),
    ],
)
def test_figures_are_written_by_their_form(part: Measured, value: str, spread: str) -> None:
    assert (value_text(part), spread_text(part)) == (value, spread)
