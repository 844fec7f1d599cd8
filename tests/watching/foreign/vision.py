"""torchvision, whose Python models are all that is needed of it."""

import importlib
from types import ModuleType
from typing import Any

import pytest
import torch

# torchvision's wheel is built for CUDA: beside a CPU build of PyTorch its compiled part does not
# load, and its import fails for two operators that it then believes to be missing. Declared here,
# they have no kernel, and no model calls them. timm imports torchvision too.
_DECLARED: list[Any] = []


def import_or_skip(name: str) -> ModuleType:
    """A package that needs torchvision, or is it; skips where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)  # for as long as the process is there
    return importlib.import_module(name)
