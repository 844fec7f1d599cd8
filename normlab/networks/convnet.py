"""He et al.'s (2015) convolutional network, plain or residual."""

import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import Config
from normlab.networks.blocks import (
    NormActivation,
    PostActivationBlock,
    PreActivationBlock,
    conv3x3,
)
from normlab.networks.models import CNN


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
            self.stem_unit = NormActivation(config, channels, spatial=True, onto_stream=True)
        self.body = nn.Sequential()
        for stage in range(len(model.channels)):
            blocks = nn.Sequential()
            out, count = model.channels[stage], (model.depth - 2) // 6
            for index in range(count):
                begins = stage > 0 and index == 0
                # A block that changes shapes brings the stream's variance back to 1.
                place = count if begins else index
                made = block(config, channels, out, 2 if begins else 1, place)
                blocks.add_module(f"block{index + 1}", made)
                channels = out
            self.body.add_module(f"stage{stage + 1}", blocks)
        if self.pre_activation:
            self.final_unit = NormActivation(config, channels, spatial=True)
        self.shift = None if self.pre_activation else model.build_shift()
        self.output = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if not self.pre_activation:
            h = self.stem_unit(h)
        h = self.body(h)
        if self.pre_activation:
            h = self.final_unit(h)
        h = F.adaptive_avg_pool2d(h, 1).flatten(1)
        if self.shift is not None:
            h = self.shift(h)
        logits: Tensor = self.output(h)
        return logits
