"""A network as it was: what a look at it may change, put back."""

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

# Noise such as dropout's is the same in every snapshot.
_SEED = 0
_OF_ALL_MODULES = vars(nn.Module()).keys() | {"training"}


@contextmanager
def untouched(model: nn.Module, modes: Sequence[bool]) -> Iterator[None]:
    """Within, a network is in some modules' modes, runs uncompiled and without autocast, and draws
    the same noise each time; afterwards its buffers, gradients, modes and attributes and all random
    states are as they were before. What an attribute holds within, such as a list, is not put back
    but for tensors and generators."""
    modules = list(model.modules())
    before = [module.training for module in modules]
    buffers = [
        (module, name, buffer)
        for module in modules
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    # Copies take what a pass changes: what was changed could not be told afterwards, as BatchNorm
    # changes its running statistics unknown to autograd.
    copies = {id(buffer): buffer.detach().clone() for _, _, buffer in buffers}
    # Before the pass, in which `fully_shard` puts other parameters in the place of these.
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    device = next(model.parameters()).device.type
    with (
        _random_states(model),
        _attributes(modules),
        _uncompiled(),
        torch.autocast(device, enabled=False),
    ):
        try:
            for module, name, buffer in buffers:
                setattr(module, name, copies[id(buffer)])
            for parameter, _ in gradients:
                parameter.grad = None
            _set_modes(modules, modes)
            yield
        finally:
            _divide(modules)
            for parameter, gradient in gradients:
                parameter.grad = gradient
            _set_modes(modules, before)
            for module, name, buffer in buffers:
                setattr(module, name, buffer)


@contextmanager
def _attributes(modules: Sequence[nn.Module]) -> Iterator[None]:
    """What modules keep in attributes of their own: a count, a hidden state, a generator."""
    before = [
        {key: value for key, value in vars(module).items() if key not in _OF_ALL_MODULES}
        for module in modules
    ]
    held = [value for kept in before for value in kept.values()]
    tensors = [(t, t.detach().clone()) for t in held if isinstance(t, Tensor)]
    generators = [(g, g.get_state()) for g in held if isinstance(g, torch.Generator)]
    try:
        yield
    finally:
        for module, kept in zip(modules, before, strict=True):
            now = vars(module)
            for key in now.keys() - kept.keys() - _OF_ALL_MODULES:
                del now[key]
            now.update(kept)
        with torch.no_grad():
            for tensor, content in tensors:
                if not torch.equal(tensor, content):
                    tensor.detach().copy_(content)
        for generator, state in generators:
            generator.set_state(state)


def _divide(modules: Sequence[nn.Module]) -> None:
    """Have `fully_shard` put its own parameters back, which it leaves out after a forward pass."""
    for module in modules:
        if hasattr(module, "reshard") and hasattr(module, "unshard"):
            module.reshard()  # type: ignore[operator]


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
def _uncompiled() -> Iterator[None]:
    """Within, compiled modules run as they are written, so that hooks in them are called."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes a second
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _random_states(model: nn.Module) -> Iterator[None]:
    tensors: Iterator[Tensor] = iter([*model.parameters(), *model.buffers()])
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    python, arrays = random.getstate(), np.random.get_state()  # others' own
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        # Not by torch.manual_seed, which seeds all devices, those too whose state is not kept.
        torch.default_generator.manual_seed(_SEED)
        for device in devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(_SEED)
        if mps is not None:
            torch.mps.manual_seed(_SEED)
        random.seed(_SEED)
        np.random.seed(_SEED)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
            if mps is not None:
                torch.mps.set_rng_state(mps)
