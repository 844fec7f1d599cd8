"""Whether a network from outside is one that can be measured, and in one line why it is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from normlab.config import ACTIVATIONS, MODELS, NORMS, Config
from normlab.errors import ConfigError
from normlab.networks.blocks import Nonlinearity
from normlab.networks.encoder import EncoderNetwork
from normlab.text import error_line

# In one forward pass: the name of a layer or nonlinearity, itself, and what it gave.
Calls = list[tuple[str, nn.Module, Tensor]]


def is_from_outside(config: Config) -> bool:
    """Whether a part of which a config's network is made is not normlab's own."""
    model = config.model
    return (
        model.name in MODELS.outside
        or config.norm.name in NORMS.outside
        or model.activation in ACTIVATIONS.outside
    )


def check_network(network: Any, config: Config, shape: tuple[int, int, int], classes: int) -> None:
    """Raise ConfigError where a network is not what measurements and depth are defined for.

    It gives logits [B, classes] for images [B, C, H, W]. Its linear layers and convolutions,
    without those whose name says `shortcut`, are called once each, in the order in which they are
    defined; between each of them and the next stands one `Nonlinearity`, alone or in a
    `NormActivation`, but in an encoder, and every one has a part in the logits. Draws from
    PyTorch's own generator.
    """
    named = f"model={config.model.name} norm={config.norm.name}"
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{named}: build gives {type(network).__name__}, not a torch.nn.Module")
    layers: dict[str, nn.Module] = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in name
    }
    with _recorded(network, layers) as calls:
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        images = torch.randn(2, *shape)
        try:
            logits = torch.func.functional_call(network, buffers, (images,))
        except Exception as error:  # of any code
            raise ConfigError(
                f"{named}: fails on images of shape {list(shape)} ({error_line(error)})"
            ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        given = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"{named}: gives {given} for 2 images, not logits [2, {classes}]")
    in_a_row = not isinstance(network, EncoderNetwork)
    fault = (
        _fault_of_layers(layers, calls)
        or (in_a_row and _fault_of_nonlinearities(network, calls))
        or _fault_of_gradients(logits, calls)
    )
    if fault:
        raise ConfigError(f"{named}: {fault}")


@contextmanager
def _recorded(network: nn.Module, layers: dict[str, nn.Module]) -> Iterator[Calls]:
    calls: Calls = []
    watched = [*layers.items(), *_nonlinearities(network)]

    def record(name: str) -> Any:
        return lambda module, _, output: calls.append((name, module, output))

    handles = [module.register_forward_hook(record(name)) for name, module in watched]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _nonlinearities(network: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(n, m) for n, m in network.named_modules() if isinstance(m, Nonlinearity)]


def _fault_of_layers(layers: dict[str, nn.Module], calls: Calls) -> str:
    """Each layer is called once, in the order of definition."""
    called = [name for name, module, _ in calls if not isinstance(module, Nonlinearity)]
    if not layers:
        return "has neither a Linear nor a Conv2d layer"
    for name in layers:
        if called.count(name) != 1:
            return (
                f"calls its layer {name} {called.count(name)} times in a pass; a layer is called "
                "once, and one that is not of the depth has shortcut in its name"
            )
    for defined, run in zip(layers, called, strict=True):
        if defined != run:
            return f"runs its layer {run} before {defined}; define layers in the order of running"
    return ""


def _fault_of_nonlinearities(network: nn.Module, calls: Calls) -> str:
    """One nonlinearity stands between a layer and the next, in the order of definition."""
    advice = "put one NormActivation or Nonlinearity of normlab.parts there"
    before, between = "", 0
    for name, module, _ in calls:
        if isinstance(module, Nonlinearity):
            between += 1
            continue
        if before and between != 1:
            return f"has {between} nonlinearities between its layers {before} and {name}; {advice}"
        if not before and between:
            return f"has a nonlinearity before its first layer, {name}; leave it out"
        before, between = name, 0
    if between:
        return f"has a nonlinearity behind its last layer, {before}; leave it out"
    defined = [name for name, _ in _nonlinearities(network)]
    run = [name for name, module, _ in calls if isinstance(module, Nonlinearity)]
    if defined != run:
        return "defines its nonlinearities in another order than that of running, or leaves one out"
    return ""


def _fault_of_gradients(logits: Tensor, calls: Calls) -> str:
    layers = [(name, out) for name, module, out in calls if not isinstance(module, Nonlinearity)]
    found = torch.autograd.grad(logits.sum(), [out for _, out in layers], allow_unused=True)
    for (name, _), gradient in zip(layers, found, strict=True):
        if gradient is None:
            return f"has a layer, {name}, on which the logits do not depend"
    return ""
