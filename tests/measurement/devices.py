"""On which devices a test of arithmetic runs."""

import pytest
import torch

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
every_device = pytest.mark.parametrize("device", ["cpu", CUDA])
