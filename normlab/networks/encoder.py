"""A Transformer encoder over the tokens of an image."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from normlab.config import Config
from normlab.networks.attention import Attention
from normlab.networks.blocks import Nonlinearity
from normlab.networks.models import Encoder

Sublayer = Callable[[Tensor], Tensor]


class Place(NamedTuple):
    """Where in an encoder a weight layer stands."""

    module: nn.Module
    block: int | None  # from 1; None outside of blocks
    role: str  # such as query; empty outside of blocks
    receiver: nn.Module | None  # the layer that its activation is the input of
    activation: Nonlinearity | None = None  # the nonlinearity right behind it
    norms: tuple[nn.Module, ...] = ()  # between it and its receiver


class TokenNorm(nn.Module):
    """A normalization of tokens [B, T, C], which its module sees as rows [B·T, C]."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.model.width
        masked = config.norm.build_masked(width)
        self.takes_mask = masked is not None
        self.norm = masked or config.norm.build(width, spatial=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [B, T, C]; mask: [B, T], true at real tokens, or None where all are."""
        rows = x.flatten(0, 1)
        real = None if mask is None else mask.flatten()
        y: Tensor = self.norm(rows, real) if self.takes_mask else self.norm(rows)
        return y.view_as(x)


class Unchanged(nn.Module):
    """What stands in a norm's place where `model.placement` has none."""

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:  # noqa: ARG002
        return x


class EncoderBlock(nn.Module):
    """Attention, then W₂ φ(W₁ x); around each sublayer f a skip and norms as `model.placement` has.

    - post: N(x + f(x)) (Vaswani et al. 2017)
    - pre: x + f(N(x)) (Xiong et al. 2020)
    - peri: x + N(f(N(x))) (Kim et al. 2025, who normalize the embedding, too)
    - deepnorm: N(αx + f(x)) (Wang et al. 2022)
    - none: x + f(x)

    Without residual x and αx are left out of the sums.
    """

    def __init__(self, config: Config):
        super().__init__()
        model = config.model
        assert isinstance(model, Encoder)
        hidden = model.feed_forward * model.width
        self.placement = model.placement
        self.skip_scale = model.skip_scale
        self.attention_norm = norm_or_not(config, model.placement != "none")
        self.attention = Attention(model)
        self.feed_forward_norm = norm_or_not(config, model.placement != "none")
        self.feed_forward1 = nn.Linear(model.width, hidden, bias=model.bias)
        self.activation = Nonlinearity(model.activation)
        self.feed_forward2 = nn.Linear(hidden, model.width, bias=model.bias)
        self.attention_output_norm = norm_or_not(config, model.placement == "peri")
        self.feed_forward_output_norm = norm_or_not(config, model.placement == "peri")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [B, T, C]; mask: [B, T], true at real tokens, or None where all are."""

        def attend(h: Tensor) -> Tensor:
            found: Tensor = self.attention(h, mask)
            return found

        norms = self.attention_norm, self.attention_output_norm
        x = self._around(attend, norms, x, mask)
        norms = self.feed_forward_norm, self.feed_forward_output_norm
        return self._around(self._feed_forward, norms, x, mask)

    def _feed_forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.feed_forward2(self.activation(self.feed_forward1(x)))
        return h

    def _around(
        self, f: Sublayer, norms: tuple[nn.Module, nn.Module], x: Tensor, mask: Tensor | None
    ) -> Tensor:
        norm, output_norm = norms
        before = self.placement in ("pre", "peri")
        y: Tensor = output_norm(f(norm(x, mask) if before else x), mask)
        if self.skip_scale:
            y = y + (x if self.skip_scale == 1 else self.skip_scale * x)
        return y if before else norm(y, mask)


class EncoderNetwork(nn.Module):
    """An encoder that classifies images: their tokens embedded, `model.depth` blocks, the mean.

    Tokens are rows, all channels of one together, or patches, row by row. Behind the last block of
    a pre or peri placement stands one more norm. x: [B, C, H, W]; of padded data its last channel
    says which pixels are real, and a token is real where all of its pixels are.
    """

    def __init__(self, config: Config, shape: tuple[int, int, int], classes: int):
        super().__init__()
        model = config.model
        assert isinstance(model, Encoder)
        channels, height, width = shape
        self.padded = config.data.is_padded
        self.patch = rows, columns = model.patch_shape(config.data, height, width)
        channels -= self.padded
        self.embedding = nn.Linear(channels * rows * columns, model.width, bias=model.bias)
        count = (height // rows) * (width // columns)
        learned = model.positions == "learned"
        self.positions = Positions(count, model.width) if learned else nn.Identity()
        self.body = nn.ModuleDict({f"block{n}": EncoderBlock(config) for n in model.block_numbers})
        self.final_norm = norm_or_not(config, model.placement in ("pre", "peri"))
        self.output = nn.Linear(model.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens, mask = self.tokens(x)
        h = self.encode(tokens, mask)
        logits: Tensor = self.output(mean_over_tokens(h, mask))
        return logits

    def tokens(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images [B, C, H, W] as tokens [B, T, n], n = C times a patch's pixels, channels first,
        and which are real, [B, T], or None where all are."""
        if not self.padded:
            return self._cut(images), None
        return self._cut(images[:, :-1]), self._cut(images[:, -1:]).amin(dim=2) > 0

    def _cut(self, images: Tensor) -> Tensor:
        rows, columns = self.patch
        patches = images.unfold(2, rows, rows).unfold(3, columns, columns)
        return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)

    def encode(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Tokens [B, T, n] through embedding, positions and blocks: [B, T, C]."""
        h = self.positions(self.embedding(tokens))
        for block in self.body.values():
            h = block(h, mask)
        found: Tensor = self.final_norm(h, mask)
        return found

    def places(self) -> list[Place]:
        """Its weight layers in the order in which they run."""
        blocks = [block for block in self.body.values() if isinstance(block, EncoderBlock)]
        inputs = [*(block.attention.query for block in blocks), self.output]
        # Of a placement whose norms stand before sublayers, those that are behind the one before.
        before = blocks[0].placement in ("pre", "peri")
        entering = [*(block.attention_norm for block in blocks), self.final_norm]
        found = [Place(self.embedding, None, "", inputs[0], norms=(entering[0],) * before)]
        for number, (block, following) in enumerate(zip(blocks, inputs[1:], strict=True), start=1):
            one, first, second = block.attention, block.feed_forward1, block.feed_forward2
            middle = block.feed_forward_norm if before else block.attention_norm
            behind = entering[number] if before else block.feed_forward_norm
            found += [
                Place(one.query, number, "query", one.output, norms=(one.query_norm,)),
                Place(one.key, number, "key", one.output, norms=(one.key_norm,)),
                Place(one.value, number, "value", one.output),
                Place(
                    *(one.output, number, "attention output", first),
                    norms=(block.attention_output_norm, middle),
                ),
                Place(first, number, "feed-forward 1", second, block.activation),
                Place(
                    *(second, number, "feed-forward 2", following),
                    norms=(block.feed_forward_output_norm, behind),
                ),
            ]
        return [*found, Place(self.output, None, "", None)]

    def initialize_beside_layers(self, gain: float, generator: torch.Generator) -> None:
        """Draw positions, and scale the weights of values, attention outputs and feed-forward
        layers by `gain`, once all layers are initialized."""
        with torch.no_grad():
            if isinstance(self.positions, Positions):
                self.positions.weight.normal_(0, POSITIONS_STD, generator=generator)
            for place in self.places():
                if gain != 1 and place.role in SCALED_ROLES:
                    assert isinstance(place.module, nn.Linear)
                    place.module.weight.mul_(gain)


# Of BERT's and the vision Transformer's learned positions (Devlin et al. 2019).
POSITIONS_STD = 0.02
# The weights that DeepNorm scales.
SCALED_ROLES = ("value", "attention output", "feed-forward 1", "feed-forward 2")


class Positions(nn.Module):
    """A learned vector for each of T positions, added to its token; `weight` is [T, C]."""

    def __init__(self, count: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def norm_or_not(config: Config, there: bool) -> nn.Module:
    """The norm of a config for tokens, or what stands in its place."""
    return TokenNorm(config) if there else Unchanged()


def mean_over_tokens(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over real tokens of x [B, T, C], 0 where there are none: [B, C]."""
    if mask is None:
        return x.mean(dim=1)
    real = mask[:, :, None]
    return x.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)
