"""What torchmortem is given, and what becomes of its findings: with a stand-in of what is used."""

import enum
import importlib.machinery
import math
import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import pytest
import torch
from torch import nn

from normlab.bench import causes_said, is_installed
from normlab.config import compose
from tests.conftest import TINY, replacing
from tests.training.small_trainings import events_of, weights_of


class Severity(enum.IntEnum):
    INFO = 0
    WARNING = 1
    CRITICAL = 2


class Finding(NamedTuple):
    title: str
    severity: Severity


class Report(NamedTuple):
    findings: list[Finding]


class Autopsy:
    """Keeps what it is given, and finds what a test has set."""

    findings: ClassVar[list[Finding] | None] = []  # None for no report
    made: ClassVar[list["Autopsy"]] = []

    def __init__(self, model: nn.Module, *, optimizer: torch.optim.Optimizer):
        self.model, self.optimizer = model, optimizer
        self.losses: list[float] = []
        self.inside = False
        self.made.append(self)

    def __enter__(self) -> Self:
        self.inside = True
        return self

    def __exit__(self, *_: object) -> None:
        self.inside = False

    def step(self, *, loss: float) -> None:
        assert self.inside
        self.losses.append(loss)

    def get_report(self) -> Report | None:
        assert not self.inside
        return None if self.findings is None else Report(self.findings)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module: Any = types.ModuleType("torchmortem")
    module.__spec__ = importlib.machinery.ModuleSpec("torchmortem", None)
    module.Autopsy, module.Severity = Autopsy, Severity
    monkeypatch.setitem(sys.modules, "torchmortem", module)
    monkeypatch.setattr(Autopsy, "made", [])
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def said_of(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> list[str]:
    monkeypatch.setattr(Autopsy, "findings", list(findings))
    return causes_said(compose([*TINY, "runtime.threads=1"]))


@pytest.mark.parametrize(
    "settings",
    [
        ("norm=bn", "optimizer.nesterov=true", "schedule=onecycle", "training.clip_norm=0.5"),
        ("norm=ln", "optimizer=adam", "optimizer.weight_decay=0.1"),
        ("norm=bn", "optimizer=adamw", "optimizer.decay=weights", "training.epochs=3"),
        ("norm=none", "optimizer.decay=weights", "optimizer.weight_decay=0.1", "training.steps=7"),
    ],
)
def test_the_training_that_it_sees_is_the_runs_own(settings: tuple[str, ...]) -> None:
    config = compose([*replacing(TINY, *settings), "runtime.threads=1"])
    assert causes_said(config) == ["none"]
    _, ended = events_of(config)
    (autopsy,) = Autopsy.made
    assert len(autopsy.losses) == ended.step
    assert all(map(math.isfinite, autopsy.losses))
    expected, found = weights_of(ended), autopsy.model.state_dict()
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-4, atol=1e-5)


def test_a_training_that_diverges_ends_at_its_first_loss_that_is_no_number() -> None:
    causes_said(compose([*TINY, "norm=none", "optimizer.lr=1e20", "runtime.threads=1"]))
    *before, last = Autopsy.made[0].losses
    assert not math.isfinite(last)
    assert all(map(math.isfinite, before))
    assert len(before) < 7


def test_findings_of_weight_are_causes_each_once_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert said_of(
        monkeypatch,
        Finding("Dead units in layer 3", Severity.INFO),
        Finding("Exploding gradients", Severity.CRITICAL),
        Finding("Vanishing gradients in 4 layers", Severity.WARNING),
        Finding("Gradient stalling", Severity.WARNING),
        Finding("Something new", Severity.WARNING),
    ) == ["exploding_at_init", "vanishing_at_init", "unknown"]
    assert said_of(monkeypatch, Finding("Rank collapse", Severity.INFO)) == ["none"]


def test_no_report_is_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Autopsy, "findings", None)
    assert causes_said(compose([*TINY, "runtime.threads=1"])) == ["none"]


def test_it_is_installed_where_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed()
    monkeypatch.setattr("normlab.bench.autopsies.PEER", "no_such_package")
    assert not is_installed()
