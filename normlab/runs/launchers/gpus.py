"""How many GPUs this machine has, for a process that computes nothing itself."""

import ctypes
import sys
from importlib import metadata


def gpu_count() -> int:
    """How many GPUs PyTorch can use; it is imported only where there may be any, since that takes
    as long as a worker takes to start."""
    if sys.modules.get("torch") is None and _has_none_for_sure():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_none_for_sure() -> bool:
    """Whether the installed PyTorch is built without GPUs, or the driver that its build needs is
    not here; in doubt false."""
    try:
        build = metadata.version("torch").partition("+")[2]
    except metadata.PackageNotFoundError:
        return False
    if build == "cpu":
        return True
    if sys.platform != "linux" or build.startswith("rocm"):
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False
