"""A config's network, initialized; which of its layers count and are measured."""

from dataclasses import dataclass

import torch
from torch import nn

from normlab.config import Config
from normlab.networks.blocks import Nonlinearity
from normlab.networks.checking import check_network, is_from_outside
from normlab.networks.initializers import initialize
from normlab.networks.norm_modules import UnsteadyNoise


@dataclass(frozen=True)
class WeightLayer:
    """A layer that counts in a network's depth, in order from the input."""

    index: int  # from 1 at the input
    name: str
    kind: str  # conv | linear
    module: nn.Linear | nn.Conv2d
    activation: Nonlinearity | None  # the nonlinearity that follows; None behind the output layer


def weight_layers(model: nn.Module) -> list[WeightLayer]:
    """A network's layers from input to output, shortcut projections left out."""
    named = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in name
    ]
    # Modules are defined in the order in which they run, one nonlinearity between two layers.
    activations = [module for module in model.modules() if isinstance(module, Nonlinearity)]
    assert len(activations) == len(named) - 1
    return [
        WeightLayer(
            index=index,
            name=name.removeprefix("body.").removesuffix(".linear"),
            kind="linear" if isinstance(module, nn.Linear) else "conv",
            module=module,
            activation=activation,
        )
        for index, ((name, module), activation) in enumerate(
            zip(named, [*activations, None], strict=True), start=1
        )
    ]


def build_model(
    config: Config, shape: tuple[int, int, int], classes: int, generator: torch.Generator
) -> nn.Module:
    """The network that a config names, initialized, on the CPU; `shape` is an image's (C, H, W).

    Raises ConfigError where the images are too small for a convolutional network's norm, or parts
    from outside make no network that can be measured.
    """
    model, norm = config.model, config.norm
    if model.spatial:
        norm.check_images(config, model.feature_maps(*shape[1:]))
    # On the CPU, from one generator, so that a seed means the same weights on every device.
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialization draws, then is discarded
        network = model.build(config, shape, classes)
        if is_from_outside(config):
            check_network(network, config, shape, classes)
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            initialize(module, model, generator)
            norm.reparametrize(module)
    for module in network.modules():
        if isinstance(module, UnsteadyNoise):
            module.seed = int(torch.randint(2**62, (), generator=generator))
    return network
