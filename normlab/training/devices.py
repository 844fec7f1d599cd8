"""Where tensors lie and how exactly products are made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from normlab.errors import ConfigError


def select_device(name: str) -> torch.device:
    """The device of `runtime.device`; auto is cuda, then mps, then cpu. Raises ConfigError."""
    have = available_devices()
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if d in have))
    if name not in have:
        raise ConfigError(
            f"runtime.device={name}: no such device here; choices: auto, {', '.join(have)}"
        )
    return torch.device(name)


def available_devices() -> list[str]:
    """The names that `runtime.device` takes on this machine."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ["cpu"]
    if gpus:
        names += ["cuda", *(f"cuda:{index}" for index in range(gpus))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigError where a device does not have a precision."""
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError(
            f"training.precision=tf32: needs an NVIDIA GPU, this runs on {device.type}; "
            "choices here: fp32, bf16"
        )


def make_current(device: torch.device) -> None:
    """Make a GPU that is named by its number the one of this process, which else opens a context on
    the first one, too."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


@contextmanager
def gpu_algorithms(device: torch.device, *, deterministic: bool) -> Iterator[None]:
    """On an NVIDIA GPU cuDNN never chooses by timing, which may choose differently every time; if
    `deterministic`, it takes only algorithms that give the same bits every time, and attention is
    made of plain products, since other kernels add up gradients in any order. Undone on leaving.
    """
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    cuda: Any = torch.backends.cuda  # whose functions have no types
    before = cudnn.deterministic, cudnn.benchmark
    attention = (
        (cuda.enable_flash_sdp, cuda.flash_sdp_enabled()),
        (cuda.enable_mem_efficient_sdp, cuda.mem_efficient_sdp_enabled()),
        (cuda.enable_cudnn_sdp, cuda.cudnn_sdp_enabled()),
    )
    cudnn.deterministic, cudnn.benchmark = deterministic, False
    for enable, enabled in attention:
        enable(enabled and not deterministic)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        for enable, enabled in attention:
            enable(enabled)


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Products and convolutions in TF32 where `precision` is tf32, else exact; undone on leaving.

    A backward pass must lie within, since it makes products of its own.
    """
    tf32 = precision == "tf32"
    try:
        products, convolutions = _older_switches()
        newer = _newer_switches() if _sets_newer_switches() else {}
    except RuntimeError:  # what the program has set newer ones to contradicts the older ones
        products, convolutions = "highest", True  # PyTorch's own defaults
        newer = _newer_switches()
    _set_older_switches("high" if tf32 else "highest", tf32)
    for switch in newer:
        switch.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        _set_older_switches(products, convolutions)
        for switch, value in newer.items():
            switch.fp32_precision = value


def _older_switches() -> tuple[str, bool]:
    """Those of products and of convolutions; RuntimeError where the newer ones contradict them."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def _set_older_switches(products: str, convolutions: bool) -> None:
    # Setting them sets the newer ones of the same products, too, but for what these inherit.
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


def _sets_newer_switches() -> bool:
    """Whether the program that normlab is part of has set newer switches that others inherit, or
    that the older ones do not reach."""
    backends: Any = torch.backends  # whose types lack some of them
    inherited, unreached = backends.cudnn.fp32_precision, backends.mkldnn.conv.fp32_precision
    return bool(inherited != "none" or unreached != "none")


def _newer_switches() -> dict[Any, str]:
    """PyTorch's newer switches, one for each backend and operation, and what they are set to."""
    backends: Any = torch.backends  # whose types lack some of them
    matmuls = (backends.cuda.matmul, backends.mkldnn.matmul)
    convolutions = (backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.conv)
    return {switch: switch.fp32_precision for switch in (*matmuls, *convolutions)}


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """PyTorch's autocast to bfloat16 where `precision` is bf16; for forward passes only."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
