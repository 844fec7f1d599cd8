"""The deep multilayer perceptron's modules."""

from torch import Tensor, nn

from normlab.config import Config
from normlab.networks.blocks import NormActivation


class DenseLayer(nn.Module):
    """A linear layer with its normalization and nonlinearity."""

    def __init__(self, config: Config, inputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, config.model.width, bias=config.model.bias)
        self.unit = NormActivation(config, config.model.width, spatial=False)

    def forward(self, h: Tensor) -> Tensor:
        u: Tensor = self.unit(self.linear(h))
        return u


class MLPNetwork(nn.Module):
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
