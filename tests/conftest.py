"""What several test files share."""

import contextlib
import functools
import os
import re
import signal
from collections.abc import Sequence

import pytest
import torch
from hypothesis import settings

from normlab.config import Config, compose
from tests.tools.processes import children, command_of, is_gone

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

# Nine lines that stand for sixteen million.
LAUGHS = "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
    f"{y}: &{y} [{','.join([f'*{x}'] * 8)}]\n" for x, y in zip("abcdefg", "bcdefgh", strict=True)
)


def replacing(base: Sequence[str], *overrides: str) -> tuple[str, ...]:
    """Overrides without those whose key others set, as a sweep takes each key once."""
    keys = set(re.findall(r"([\w.]+)=", " ".join(overrides)))
    return (*(text for text in base if text.partition("=")[0] not in keys), *overrides)


# Slow, noisy machines: a property is about values, never about time.
settings.register_profile("normlab", deadline=None)
settings.load_profile("normlab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first: at the end one process would wait for the other's."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard():
    """Jobs that a shell keeps in the background ignore Ctrl-C, and so would what they start."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tensors this small are faster so, and every sum has one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _no_process_is_left():
    """What the tests of a file start ends with them; where it does not, it is killed and told."""
    before = set(children(os.getpid()))
    yield
    # Python's own, which looks after what its processes share, and goes with the last of them.
    kept = "multiprocessing.resource_tracker"
    left = set(children(os.getpid())) - before
    left = {child for child in left if not is_gone(child) and kept not in command_of(child)}
    told = [command_of(child) for child in left]
    for child in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert told == []


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
