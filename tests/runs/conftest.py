"""Fixtures of several of these files."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from normlab.config import Config
from normlab.runs import execution
from normlab.training import Event, train


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training yields an event at every step, and so can be stopped at each."""

    def every_step(config: Config, **options: Any) -> Iterator[Event]:
        return train(config, **{**options, "progress_seconds": -1})

    monkeypatch.setattr(execution, "train", every_step)


@pytest.fixture
def interrupting() -> Iterator[None]:
    """Every request to end raises KeyboardInterrupt, as under the command line; the handlers must
    be in place again afterwards."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) is interrupt
        signal.signal(number, handler)
