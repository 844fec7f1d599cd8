"""Trainings of a fraction of a second, and what is asked of their events."""

from typing import Any

import torch
from torch import Tensor

from normlab.config import Config
from normlab.training import Ended, Evaluation, Measurement, train
from tests.conftest import TINY_DATA

CPU = torch.device("cpu")
TINY_CNN = (*TINY_DATA, "data.size=8", "model=cnn", "model.depth=8", "model.width=4")
TINY_ENCODER = (
    *(*TINY_DATA, "data.padding=0.5", "data.padding_content=noise"),
    *("model=encoder", "model.depth=2", "model.width=8", "model.heads=2"),
)


def events_of(config: Config) -> tuple[list[Any], Ended]:
    *events, ended = train(config)
    assert isinstance(ended, Ended)
    return events, ended


def evaluations(events: list[Any]) -> list[dict[str, Any]]:
    return [event.as_row() for event in events if isinstance(event, Evaluation)]


def measured(events: list[Any], probe: str) -> dict[int, list[float]]:
    """A probe's values of every layer, by step."""
    return {
        event.step: list(event.probes[probe])
        for event in events
        if isinstance(event, Measurement) and probe in event.probes
    }


def weights_of(ended: Ended) -> dict[str, Tensor]:
    return dict(ended.model.state_dict())


def equal_weights(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
