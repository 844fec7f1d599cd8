"""Steps are timed beside the bare loop's; their speed is judged by people, not by a test."""

import torch

from normlab.bench import Case, measure
from normlab.bench.textbook import seconds_of
from normlab.bench.timing import LEAST_ROUNDS, LEGEND, SPREAD, _timing
from tests.bench.conftest import OWN


def test_every_variant_is_timed_beside_the_bare_loop(tiny):
    timings = {timing.variant: timing for timing in measure(tiny, 0.1)}
    assert list(timings) == [*OWN, SPREAD, "floor"]
    assert (timings["bare"].ratio, timings["bare"].low, timings["bare"].high) == (1, 1, 1)
    for timing in timings.values():
        assert 0 < timing.low <= timing.ratio <= timing.high
        assert timing.milliseconds > 0
    assert {name for name, timing in timings.items() if not timing.own} == {"bare", "item", "floor"}
    assert set(timings) < set(LEGEND)


def test_a_quick_one_has_fewer_variants_in_the_same_rounds(tiny):
    timings = {timing.variant: timing for timing in measure(tiny, 1e-9, quick=True)}
    assert list(timings) == ["bare", "item", "grad_norm", "all, every step", SPREAD, "floor"]
    assert {timing.rounds for timing in timings.values()} == {LEAST_ROUNDS}


def test_the_ratio_is_the_median_of_paired_rounds():
    timing = _timing(Case("net"), "x", [1.0, 4.0, 9.0], [1.0, 2.0, 3.0], own=True)
    assert (timing.low, timing.ratio, timing.high) == (1.5, 2.0, 2.5)
    assert (timing.milliseconds, timing.rounds) == (4000, 3)


def test_the_device_of_the_steps_is_waited_for_and_no_other(monkeypatch):
    """A kernel is started long before it has ended; the current device may be another one."""
    told = []
    monkeypatch.setattr(torch.accelerator, "synchronize", told.append)
    for device in (torch.device("cuda:1"), torch.device("cpu")):
        assert seconds_of(lambda: told.append("step"), 2, device) > 0
    assert told == [torch.device("cuda:1"), "step", "step", torch.device("cuda:1"), "step", "step"]
