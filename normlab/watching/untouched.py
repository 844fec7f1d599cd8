"""A network as it was: what a look at it may change, put back."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

# Noise such as dropout's is the same in every snapshot.
_SEED = 0


@contextmanager
def untouched(model: nn.Module, modes: Sequence[bool]) -> Iterator[None]:
    """Within, a network is in some modules' modes, and draws the same noise each time; afterwards
    its buffers, modes and gradients and all random states are as they were before."""
    modules = list(model.modules())
    before = [module.training for module in modules]
    buffers = [
        (module, name, buffer, buffer.clone(), buffer._version)
        for module in modules
        for name, buffer in module.named_buffers(recurse=False)
    ]
    with _random_states(model):
        try:
            _set_modes(modules, modes)
            yield
        finally:
            _set_modes(modules, before)
            with torch.no_grad():
                for module, name, buffer, content, version in buffers:
                    setattr(module, name, buffer)  # another may have taken its place
                    if buffer._version != version:
                        buffer.copy_(content)


def in_backward() -> bool:
    """Whether this is called from within a backward pass."""
    return bool(torch._C._current_graph_task_id() != -1)


def modes_of(model: nn.Module) -> list[bool]:
    """Of every module whether it is in train mode."""
    return [module.training for module in model.modules()]


def _set_modes(modules: Sequence[nn.Module], modes: Sequence[bool]) -> None:
    # Not by `train`, which sets a module's children too, frozen ones among them.
    for module, mode in zip(modules, modes, strict=True):
        module.training = mode


@contextmanager
def _random_states(model: nn.Module) -> Iterator[None]:
    tensors: Iterator[Tensor] = iter([*model.parameters(), *model.buffers()])
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    python, arrays = random.getstate(), np.random.get_state()  # others' own
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        torch.manual_seed(_SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
