from hypothesis import given
from hypothesis import strategies as st

from normlab.config import Config, compose
from normlab.training import Measurement
from normlab.training.cadence import gradient_schedule, snapshot_schedule
from tests.conftest import TINY
from tests.training.small_trainings import events_of

DEFAULT = compose()


@given(steps=st.integers(0, 10_000), per_epoch=st.integers(1, 500), count=st.integers(0, 40))
def test_snapshots_hold_init_first_epoch_and_end(steps: int, per_epoch: int, count: int) -> None:
    values = DEFAULT.model_dump()
    values["probes"]["snapshots"] = count
    schedule = snapshot_schedule(Config.model_validate(values), steps, per_epoch)
    assert {0, steps} <= schedule <= set(range(steps + 1))
    assert per_epoch in schedule or per_epoch > steps
    assert len(schedule) <= count + 3


@given(steps=st.integers(0, 10_000), count=st.integers(0, 400))
def test_gradient_norms_are_logged_at_a_bounded_number_of_steps(steps: int, count: int) -> None:
    values = DEFAULT.model_dump()
    values["probes"]["grad_norm_steps"] = count
    schedule = gradient_schedule(Config.model_validate(values), steps, frozenset({0}))
    assert len(schedule) <= count + 1
    if count >= steps:
        assert schedule == frozenset({0, *range(steps)})


def test_nothing_is_measured_where_nothing_is_asked() -> None:
    events, _ = events_of(compose([*TINY, "probes=none"]))
    assert not any(isinstance(event, Measurement) for event in events)
