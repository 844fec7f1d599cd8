"""The deep multilayer perceptron's modules."""

from torch import Tensor, nn

from normlab.config import Config
from normlab.networks.blocks import NormActivation
from normlab.networks.branch_modules import ResidualBlock
from normlab.networks.models import MLP


class DenseLayer(ResidualBlock):
    """A linear layer with its normalization and nonlinearity: u(Wh), or h + a·u(Wh)."""

    def __init__(self, config: Config, inputs: int, *, residual: bool):
        super().__init__()
        model = config.model
        assert isinstance(model, MLP)
        self.residual = residual
        self.linear = nn.Linear(inputs, model.width, bias=model.bias)
        self.unit = NormActivation(config, model.width, spatial=False)
        self.out_of = model.branches.out_of(model) if residual else nn.Identity()

    @property
    def last_norm(self) -> nn.Module:
        return self.unit.norm

    @property
    def branch_layers(self) -> list[nn.Linear | nn.Conv2d]:
        return [self.linear]

    def forward(self, h: Tensor) -> Tensor:
        u: Tensor = self.unit(self.linear(h))
        return h + self.out_of(u) if self.residual else u


class PreActivationDenseLayer(ResidualBlock):
    """A linear layer behind its normalization and nonlinearity: W u(h), or h + a·W u(h/b).

    `place` counts the blocks between it and where the stream's variance was 1 last.
    """

    def __init__(self, config: Config, place: int):
        super().__init__()
        model = config.model
        assert isinstance(model, MLP)
        self.residual = model.residual
        self.into = model.branches.into(model, place)
        self.unit = NormActivation(config, model.width, spatial=False)
        self.linear = nn.Linear(model.width, model.width, bias=model.bias)
        self.out_of = model.branches.out_of(model)

    @property
    def last_norm(self) -> nn.Module:
        return self.unit.norm

    @property
    def branch_layers(self) -> list[nn.Linear | nn.Conv2d]:
        return [self.linear]

    def forward(self, h: Tensor) -> Tensor:
        z: Tensor = self.linear(self.unit(self.into(h)))
        return h + self.out_of(z) if self.residual else z


class MLPNetwork(nn.Module):
    """depth linear layers, u norm and nonlinearity; images [B, C, H, W] are flattened.

    post: h₁ = u(W₁x), hᵢ = u(Wᵢhᵢ₋₁), logits = W h; with residual hᵢ = hᵢ₋₁ + u(Wᵢhᵢ₋₁) from the
    second layer on. pre (He et al. 2016): h₁ = W₁x, hᵢ = Wᵢ u(hᵢ₋₁), logits = W u(h); with residual
    hᵢ = hᵢ₋₁ + Wᵢ u(hᵢ₋₁). Without residual both are the same network.
    """

    def __init__(self, config: Config, inputs: int, classes: int):
        super().__init__()
        model = config.model
        assert isinstance(model, MLP)
        hidden = model.depth - 1
        self.body = nn.ModuleDict()
        self.final_unit: nn.Module = nn.Identity()
        if model.block == "post":
            for i, n in enumerate([inputs, *[model.width] * (hidden - 1)][:hidden], start=1):
                layer = DenseLayer(config, n, residual=model.residual and i > 1)
                self.body[f"hidden{i}"] = layer
        elif hidden:
            self.body["hidden1"] = nn.Linear(inputs, model.width, bias=model.bias)
            for place in range(hidden - 1):
                self.body[f"hidden{place + 2}"] = PreActivationDenseLayer(config, place)
            self.final_unit = NormActivation(config, model.width, spatial=False)
        self.output = nn.Linear(model.width if hidden else inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = x.flatten(1)
        for layer in self.body.values():
            h = layer(h)
        logits: Tensor = self.output(self.final_unit(h))
        return logits
