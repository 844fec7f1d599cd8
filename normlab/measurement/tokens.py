"""What every block of a network does with the tokens of a probe batch, seen as it runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from normlab.config import Probe
from normlab.networks import EncoderBlock, EncoderNetwork, WeightLayer


@dataclass(frozen=True)
class Tokens:
    """The tokens behind a block, and the logits of its attention, of B samples."""

    stream: Tensor  # [B, T, C]
    logits: Tensor  # [B, heads, T, T], as softmax receives them where nothing is masked
    mask: Tensor  # [B, T]: true at a real token, false in padding
    # The stream where other content lies in padding; None where there is none, or nobody asks.
    replaced: Tensor | None = None


class RecordedTokens:
    """What probes of tokens have gathered of every block, over all forward passes."""

    def __init__(self, probes: Sequence[Probe]):
        self._probes = [(probe.role, parts) for probe in probes if (parts := probe.parts)]
        self._gathered: dict[int, list[tuple[Tensor, ...]]] = {}  # by block, from 1
        self.replacing = False
        self.replaced: dict[int, Tensor] = {}  # by block, until the pass that follows comes to it

    def look_at(self, block: int, seen: Tokens) -> None:
        """Gather what the probes need of a block's tokens."""
        found = [parts.gather(seen) for _, parts in self._probes]
        if block in self._gathered:
            both = zip(self._probes, self._gathered[block], found, strict=True)
            found = [parts.join(one, other) for (_, parts), one, other in both]
        self._gathered[block] = found

    def measured(self, layers: Sequence[WeightLayer], like: Tensor) -> Tensor:
        """The probes' values [layers, probes], of `like`'s type and device; each is in the rows of
        its role, and NaN in others."""
        values = like.new_full((len(layers), len(self._probes)), torch.nan)
        for row, layer in zip(values, layers, strict=True):
            for place, (role, parts) in enumerate(self._probes):
                if layer.block is not None and layer.role == role:
                    row[place] = parts.finish(self._gathered[layer.block][place])
        return values


@contextmanager
def recorded_tokens(model: nn.Module, probes: Sequence[Probe]) -> Iterator[RecordedTokens]:
    """Within, every forward pass of a network is looked at by probes of tokens."""
    recorded = RecordedTokens(probes)
    handles: list[Any] = []
    compares = any(probe.replaces_padding for probe in probes)
    if compares and isinstance(model, EncoderNetwork) and model.padded:
        handles.append(model.register_forward_pre_hook(partial(_replace, recorded)))
    blocks = [module for module in model.modules() if isinstance(module, EncoderBlock)]
    for number, block in enumerate(blocks if probes else (), start=1):
        sent: dict[str, Tensor] = {}
        attention = block.attention
        handles += [
            attention.query.register_forward_hook(partial(_keep, sent, "query")),
            attention.key.register_forward_hook(partial(_keep, sent, "key")),
            block.register_forward_hook(partial(_look, recorded, number, sent)),
        ]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _replace(recorded: RecordedTokens, model: nn.Module, args: tuple[Tensor]) -> None:
    """Before a forward pass, another one with N(0, 1), drawn anew, in padding."""
    if recorded.replacing:
        return
    (images,) = args
    content, real = images[:, :-1], images[:, -1:]
    noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(0)).to(content)
    other = torch.cat([torch.where(real > 0, content, noise), real], dim=1)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    recorded.replacing = True
    try:
        with torch.no_grad():
            torch.func.functional_call(model, buffers, (other,))
    finally:
        recorded.replacing = False


def _keep(sent: dict[str, Tensor], name: str, _: nn.Module, __: Any, output: Tensor) -> None:
    sent[name] = output.detach()


def _look(
    recorded: RecordedTokens,
    number: int,
    sent: dict[str, Tensor],
    block: EncoderBlock,
    args: tuple[Tensor, Tensor | None],
    output: Tensor,
) -> None:
    if recorded.replacing:
        recorded.replaced[number] = output
        return
    x, mask = args
    real = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
    with torch.no_grad():
        logits = block.attention.logits(sent.pop("query"), sent.pop("key"))
        replaced = recorded.replaced.pop(number, None)
        recorded.look_at(number, Tokens(output.detach(), logits, real, replaced))
