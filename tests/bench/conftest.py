"""Nets of which a step takes a millisecond."""

import pytest
import torch

from normlab.bench import nets, timing, variants
from tests.conftest import TINY

OWN = ("bare", "item", "no probes", "grad_norm", "recorded", "all, every step")


@pytest.fixture
def tiny(monkeypatch):
    """Two small nets in place of the others, short trainings, and no other packages."""
    monkeypatch.setattr(nets, "NETS", {"tiny": tuple(TINY), "other": tuple(TINY)})
    monkeypatch.setattr(nets, "STEPS", 300)
    for name in set(variants.VARIANTS) - set(OWN):
        monkeypatch.delitem(variants.VARIANTS, name)
    monkeypatch.setattr(timing, "BLOCK_SECONDS", 0.002)
    threads = torch.get_num_threads()
    yield nets.Case("tiny", 1, "cpu")
    torch.set_num_threads(threads)
