"""What several test files share."""

import functools
import re
from collections.abc import Sequence

import pytest
import torch
from hypothesis import settings

from normlab.config import Config, compose

# With the Gaussian data no file is read; `TINY` is a run of a fraction of a second.
TINY_DATA = (
    "data=gaussian",
    "data.train_size=64",
    "data.test_size=16",
    "data.size=4",
    "training.batch_size=16",
    "training.epochs=2",
    "probes.batch_size=8",
    "runtime.device=cpu",
)
TINY = (*TINY_DATA, "model=mlp", "model.depth=4", "model.width=8")


def replacing(base: Sequence[str], *overrides: str) -> tuple[str, ...]:
    """Overrides without those whose key others set, as a sweep takes each key once."""
    keys = set(re.findall(r"([\w.]+)=", " ".join(overrides)))
    return (*(text for text in base if text.partition("=")[0] not in keys), *overrides)


# Slow, noisy machines: a property is about values, never about time.
settings.register_profile("normlab", deadline=None)
settings.load_profile("normlab")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tensors this small are faster so, and every sum has one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def composed(model, norm):
    return compose([f"model={model}", f"norm={norm}"])


@pytest.fixture(scope="session")
def configure():
    """Configs by the hundred: Hydra composes a pair of groups once, pydantic checks each change."""

    def build(model="mlp", norm="none", **changes):
        values = composed(model, norm).model_dump()
        parts = (values["norm"], values["model"], values["training"])
        for key, value in changes.items():
            next(part for part in parts if key in part)[key] = value
        return Config.model_validate(values)

    return build
