"""The diagnosis of encoders that fail for a known reason, and of a healthy one."""

from pathlib import Path

import pytest

from normlab.api import benchmark_diagnosis

FILE = Path(__file__).with_name("encoder_cases.yaml")

pytestmark = [pytest.mark.slow, pytest.mark.first]


def test_every_cause_is_named_and_every_first_try_recovers(tmp_path: Path) -> None:
    counted = benchmark_diagnosis(FILE, tmp_path).tally
    assert (counted.named.of, counted.sound_given_cause) == (10, (0, 1))
    assert counted.named.part == counted.recovers.part == 10
    assert counted.harms.part == 0
