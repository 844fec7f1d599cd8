"""Where tensors lie and how exactly products are made."""

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Products and convolutions in TF32 where `precision` is tf32, else exact; undone on leaving.

    A backward pass must lie within, since it makes products of its own.
    """
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # PyTorch's own default is on
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """PyTorch's autocast to bfloat16 where `precision` is bf16; for forward passes only."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
