"""What a GPU is to be asked, as far as a CPU can answer."""

import pytest
import torch

from tests.tools import gpu


def test_a_training_repeats_and_goes_on_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "KINDS", {"mlp": gpu.KINDS["mlp"]})  # the quickest
    told = dict(gpu.repetition(torch.device("cpu"), steps=2))
    assert told == {"mlp, 4 steps, again": "same bits", "mlp, 4 steps, resumed": "same bits"}
