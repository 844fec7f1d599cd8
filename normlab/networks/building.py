"""A config's network, initialized; which of its layers count and are measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from normlab.config import Config
from normlab.networks.blocks import Nonlinearity, NormActivation
from normlab.networks.checking import check_network, is_from_outside
from normlab.networks.encoder import EncoderNetwork, Place
from normlab.networks.initializers import initialize
from normlab.networks.norm_modules import UnsteadyNoise


@dataclass(frozen=True)
class WeightLayer:
    """A layer that is measured, in order from the input."""

    index: int  # from 1 at the input
    name: str
    kind: str  # conv | linear
    module: nn.Linear | nn.Conv2d
    activation: Nonlinearity | None  # the nonlinearity behind it; None where there is none
    # The index of the layer whose input is this one's activation; None for the output layer.
    receiver: int | None
    block: int | None = None  # the block of an encoder that it is in, from 1; None outside of them
    role: str = ""  # its role there, such as query; empty outside of blocks
    norms: tuple[nn.Module, ...] = ()  # between it and its receiver, those of shortcuts left out


def weight_layers(model: nn.Module) -> list[WeightLayer]:
    """A network's layers from input to output, shortcut projections left out."""
    named = {
        module: name.removeprefix("body.").removesuffix(".linear")
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in name
    }
    places = model.places() if isinstance(model, EncoderNetwork) else _in_a_row(model, [*named])
    assert [place.module for place in places] == [*named]
    indices = {place.module: index for index, place in enumerate(places, start=1)}
    return [
        WeightLayer(
            index=indices[module],
            name=name,
            kind="linear" if isinstance(module, nn.Linear) else "conv",
            module=module,
            activation=place.activation,
            receiver=None if place.receiver is None else indices[place.receiver],
            block=place.block,
            role=place.role,
            norms=place.norms,
        )
        for (module, name), place in zip(named.items(), places, strict=True)
    ]


def _in_a_row(model: nn.Module, layers: Sequence[nn.Module]) -> list[Place]:
    """The places of layers each of which is the input of the next."""
    # Modules are defined in the order in which they run, one nonlinearity between two layers.
    activations = [module for module in model.modules() if isinstance(module, Nonlinearity)]
    assert len(activations) == len(layers) - 1
    norms: dict[nn.Module | None, tuple[nn.Module, ...]] = {
        unit.activation: (unit.norm,)
        for unit in model.modules()
        if isinstance(unit, NormActivation)
    }
    behind = zip(layers, [*layers[1:], None], [*activations, None], strict=True)
    return [
        Place(layer, None, "", receiver, activation, norms.get(activation, ()))
        for layer, receiver, activation in behind
    ]


def build_model(
    config: Config, shape: tuple[int, int, int], classes: int, generator: torch.Generator
) -> nn.Module:
    """The network that a config names, initialized, on the CPU; `shape` is an image's (C, H, W).

    Raises ConfigError where the images are too small for a convolutional network's norm, or parts
    from outside make no network that can be measured.
    """
    model, norm = config.model, config.norm
    if maps := model.feature_maps(*shape[1:]):
        norm.check_images(config, maps)
    # On the CPU, from one generator, so that a seed means the same weights on every device.
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialization draws, then is discarded
        network = model.build(config, shape, classes)
        if is_from_outside(config):
            check_network(network, config, shape, classes)
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        initialize(layer, model, generator)
    model.initialize_beside_layers(network, generator)
    for layer in layers:
        norm.reparametrize(layer)
    model.reparametrize(network)
    for module in network.modules():
        if isinstance(module, UnsteadyNoise):
            module.seed = int(torch.randint(2**62, (), generator=generator))
    return network
