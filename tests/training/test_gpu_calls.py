"""What a GPU is to be asked, as far as a CPU can answer."""

import pytest
import torch

from tests.tools import gpu


def test_a_training_repeats_and_goes_on_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(gpu.KINDS, "encoder of 256 tokens")  # a GPU's size
    told = dict(gpu.repetition(torch.device("cpu"), steps=2))
    assert len(told) == 2 * len(gpu.KINDS)
    assert set(told.values()) == {"same bits"}
