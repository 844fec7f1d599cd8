"""The diagnosis of trainings that fail for a known reason, and of healthy ones."""

from pathlib import Path

import pytest

from normlab.api import benchmark_diagnosis, plan_cases, read_cases
from normlab.bench import LabelledCase, judge_case
from normlab.runs import Finished, execute

FILE = Path(__file__).with_name("cases.yaml")
# A case of each cause, the cheapest, by its number in the file.
CHEAP = {
    3: "none",
    5: "vanishing_at_init",
    7: "rate_too_small",
    11: "rate_too_large",
    15: "clipping",
    18: "stale_statistics",
    20: "too_short",
    24: "exploding_at_init",
    25: "zero_init",
    27: "capacity",
    32: "weight_decay",
    36: "collapsed",
    38: "data_settings",
}

pytestmark = [pytest.mark.slow, pytest.mark.first]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all tests, so that a case is made once."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def cases(root: Path) -> list[LabelledCase]:
    return read_cases(FILE, root)


@pytest.mark.parametrize("number", CHEAP, ids=CHEAP.values())
def test_a_cause_is_named(cases: list[LabelledCase], number: int) -> None:
    case = cases[number - 1]
    assert case.cause == CHEAP[number]
    *_, last = execute(case.given)
    assert isinstance(last, Finished)
    assert judge_case(case, last.summary).named, last.summary.reason


def test_of_all_causes_nine_in_ten_are_named_and_three_in_four_first_tries_recover(
    root: Path, cases: list[LabelledCase]
) -> None:
    found = benchmark_diagnosis(FILE, root)
    counted = found.tally
    assert (counted.named.of, counted.sound_given_cause) == (37, (0, 6))
    assert counted.named.part >= 0.9 * counted.named.of
    assert counted.recovers.of == counted.named.of  # every fix brings something
    assert counted.recovers.part >= 0.75 * counted.recovers.of
    assert counted.harms.part <= 0.05 * counted.harms.of
    planned = plan_cases(cases)
    assert (len(planned.pending), planned.failed) == (0, 0)
