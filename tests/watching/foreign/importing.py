"""Other people's packages, where they are installed."""

import importlib
import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import pytest
import torch

# What other packages warn of is theirs.
WARNINGS = ("ignore", "error::normlab.watching.WatchWarning")


def import_or_skip(name: str) -> ModuleType:
    """A package; the test skips where it is not installed."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed")
    _torchvision()
    return importlib.import_module(name)


@cache
def _torchvision() -> Any:
    """Make torchvision importable, of which the others import the Python part.

    Its wheel may be built for CUDA: beside a CPU build of PyTorch its compiled part does not load,
    and its import fails for two operators that are then missing. Declared here, they have no
    kernel, and no model calls them. What is given back has to be kept.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
