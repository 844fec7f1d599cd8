"""MLP, plain CNN and ResNet, built from the layers under study."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from normlab.config import CNN, Config
from normlab.errors import ConfigError
from normlab.networks.initializers import initialize
from normlab.networks.layers import (
    Activation,
    NormActivation,
    PostActivationBlock,
    PreActivationBlock,
    UnsteadyNoise,
    conv3x3,
)

CONV_STAGES = 3


class DenseLayer(nn.Module):
    """A linear layer with its normalization and nonlinearity."""

    def __init__(self, config: Config, inputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, config.model.width, bias=config.model.bias)
        self.unit = NormActivation(config, config.model.width, spatial=False)

    def forward(self, h: Tensor) -> Tensor:
        u: Tensor = self.unit(self.linear(h))
        return u


class MLP(nn.Module):
    """depth linear layers: h₁ = u(W₁x), hᵢ = u(Wᵢhᵢ₋₁), logits = W h, with u norm and nonlinearity.

    With residual, hᵢ = hᵢ₋₁ + u(Wᵢhᵢ₋₁) from the second layer on. Images [B, C, H, W] are
    flattened.
    """

    def __init__(self, config: Config, inputs: int, classes: int):
        super().__init__()
        width = config.model.width
        self.residual = config.model.residual
        hidden_inputs = [inputs, *[width] * (config.model.depth - 2)][: config.model.depth - 1]
        self.body = nn.ModuleDict(
            {f"hidden{i}": DenseLayer(config, n) for i, n in enumerate(hidden_inputs, start=1)}
        )
        self.output = nn.Linear(width if hidden_inputs else inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for index, layer in enumerate(self.body.values()):
            h = h + layer(h) if self.residual and index else layer(h)
        logits: Tensor = self.output(h)
        return logits


class ConvNet(nn.Module):
    """He et al.'s (2015) CIFAR-10 network: a convolution, 3 stages of n blocks, a linear layer.

    6n+2 weight layers; stages have width, 2·width and 4·width channels, and the second and third
    halve height and width. Global average pooling before the linear layer. x: [B, C, H, W].
    """

    def __init__(self, config: Config, shape: tuple[int, int, int], classes: int):
        super().__init__()
        model = config.model
        assert isinstance(model, CNN)
        self.pre_activation = model.block == "pre"
        block = PreActivationBlock if self.pre_activation else PostActivationBlock
        channels = model.width
        self.stem = conv3x3(config, shape[0], channels)
        if not self.pre_activation:
            self.stem_unit = NormActivation(config, channels, spatial=True)
        self.body = nn.Sequential()
        for stage in range(CONV_STAGES):
            blocks = nn.Sequential()
            out = model.width * 2**stage
            for index in range((model.depth - 2) // 6):
                stride = 2 if stage and index == 0 else 1
                blocks.add_module(f"block{index + 1}", block(config, channels, out, stride))
                channels = out
            self.body.add_module(f"stage{stage + 1}", blocks)
        if self.pre_activation:
            self.final_unit = NormActivation(config, channels, spatial=True)
        self.output = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if not self.pre_activation:
            h = self.stem_unit(h)
        h = self.body(h)
        if self.pre_activation:
            h = self.final_unit(h)
        logits: Tensor = self.output(F.adaptive_avg_pool2d(h, 1).flatten(1))
        return logits


@dataclass(frozen=True)
class WeightLayer:
    """A layer that counts in a network's depth, in order from the input."""

    index: int  # from 1 at the input
    name: str
    kind: str  # conv | linear
    module: nn.Linear | nn.Conv2d
    activation: Activation | None  # the nonlinearity that follows; None behind the output layer


def weight_layers(model: nn.Module) -> list[WeightLayer]:
    """A network's layers from input to output, shortcut projections left out."""
    named = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "shortcut" not in name
    ]
    # Modules are defined in the order in which they run, one nonlinearity between two layers.
    activations = [module for module in model.modules() if isinstance(module, Activation)]
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

    Raises ConfigError where the images are too small for a convolutional network's norm.
    """
    _check_positions(config, shape)
    # On the CPU, from one generator, so that a seed means the same weights on every device.
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialization draws, then is discarded
        model = (
            ConvNet(config, shape, classes)
            if config.model.name == "cnn"
            else MLP(config, shape[0] * shape[1] * shape[2], classes)
        )
    for module in list(model.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            initialize(
                module,
                config.model.init,
                gain=config.model.init_gain,
                std=config.model.init_std,
                bias_std=config.model.bias_std,
                generator=generator,
            )
            if config.norm.name == "wn":
                weight_norm(module)  # g·v/‖v‖ per output unit, with g = ‖v‖: the same weights
    for module in model.modules():
        if isinstance(module, UnsteadyNoise):
            module.seed = int(torch.randint(2**62, (), generator=generator))
    return model


def _check_positions(config: Config, shape: tuple[int, int, int]) -> None:
    """Refuse images that leave a convolutional network's norm a single value to normalize."""
    norm, width = config.norm, config.model.width
    if config.model.name != "cnn":
        return
    size = f"images of {shape[1]}×{shape[2]}"
    groups = {"gn": getattr(norm, "groups", 1), "ln": 1}.get(norm.name)
    if shape[1:] == (1, 1) and width == groups:
        raise ConfigError(
            f"norm={norm.name}: {size} and model.width={width} leave one value to a group, "
            "which has no variance; use model=mlp, a wider network or larger images"
        )
    last_height, last_width = ((side + 3) // 4 for side in shape[1:])  # two strides, rounded up
    if last_height * last_width > 1:
        return
    if norm.name == "in":
        raise ConfigError(
            f"norm=in: {size} leave one position in the last stage, which has no variance; "
            "use model=mlp, norm=ln or larger images"
        )
    if norm.name == "bn" and config.training.batch_size == 1:
        raise ConfigError(
            f"training.batch_size=1: {size} leave BatchNorm one value in the last stage, "
            "which has no variance; use at least 2, or norm=ln"
        )
