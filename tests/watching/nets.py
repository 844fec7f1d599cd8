"""Nets of PyTorch's own layers, and who receives what in them."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from tests.watching.oracle import Case, seeded

F = nn.functional
SAMPLES = 6


def drawn(*shape: int) -> Tensor:
    """Standard normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def labels(classes: int = 4) -> Tensor:
    """A class for each sample."""
    return torch.arange(SAMPLES) % classes


def classified(*shape: int) -> Any:
    """A probe of classified samples."""
    return lambda: (drawn(SAMPLES, *shape), labels(), F.cross_entropy)


def mlp() -> nn.Module:
    """Linear layers with norms and activations that work in place."""
    return nn.Sequential(
        *(nn.Linear(5, 16), nn.ReLU(inplace=True)),
        *(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True)),
        *(nn.Linear(16, 16), nn.LayerNorm(16), nn.LeakyReLU(0.1, inplace=True), nn.Dropout(0.0)),
        nn.Linear(16, 4),
    )


class Residual(nn.Module):
    """A residual branch that is added in place, and may be checkpointed."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x), inplace=True))
        y += x
        return y


class Checkpointed(nn.Module):
    """Residual blocks, each checkpointed or none."""

    def __init__(self, reentrant: bool | None):
        super().__init__()
        self.reentrant = reentrant
        self.embed = nn.Linear(5, 8)
        self.blocks = nn.ModuleList(Residual(8) for _ in range(3))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            if self.reentrant is None:
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


CHECKPOINTED = {
    "embed": "blocks.0.first",
    "blocks.0.first": "blocks.0.second",
    "blocks.0.second": "blocks.1.first",
    "blocks.1.first": "blocks.1.second",
    "blocks.2.second": "head",
    "head": None,
}


class Encoder(nn.Module):
    """Tokens, PyTorch's own transformer encoder, and a head."""

    def __init__(self, *, batch_first: bool):
        super().__init__()
        self.batch_first = batch_first
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.encoder(self.embed(ids))
        return self.head(x.mean(dim=1 if self.batch_first else 0))


ENCODER = {
    "embed": "encoder.layers.0.self_attn",
    "encoder.layers.0.self_attn.out_proj": "encoder.layers.0.linear1",
    "encoder.layers.0.linear1": "encoder.layers.0.linear2",
    "encoder.layers.0.linear2": "encoder.layers.1.self_attn",
    "encoder.layers.1.linear2": "head",
    "head": None,
}


ATTENTION = {"encoder.layers.0.self_attn.out_proj": "encoder.layers.0.self_attn"}


class Recurrent(nn.Module):
    """Tokens, an LSTM, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 8, num_layers=2, batch_first=True)
        self.middle = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x, _ = self.lstm(self.embed(ids))
        return self.head(torch.tanh(self.middle(x[:, -1])))


class Shared(nn.Module):
    """One layer three times, one never; a dictionary in and a dictionary out; tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 8)
        self.mix = nn.Linear(8, 8)
        self.never = nn.Linear(8, 8)
        self.last = nn.Linear(8, 8)
        self.unembed = nn.Linear(8, 4, bias=False)
        self.unembed.weight = self.embed.weight

    def forward(self, ids: Tensor, scale: Tensor) -> dict[str, Any]:
        x = self.embed(ids).sum(dim=1) * scale
        for _ in range(3):
            x = torch.relu(self.mix(x))
        return {"hidden": x, "outputs": (self.unembed(self.last(x).relu()),)}


class Parametrized(nn.Module):
    """Weights that parametrizations make."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = parametrizations.weight_norm(nn.Conv2d(2, 4, 3, padding=1))
        self.middle = parametrizations.spectral_norm(nn.Linear(4 * 16, 8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).flatten(1)
        return self.head(torch.relu(self.middle(x)))


def _ids() -> Tensor:
    return torch.randint(0, 11, (SAMPLES, 5), generator=torch.Generator().manual_seed(5))


def _shared_probe() -> Any:
    x = {"ids": _ids() % 4, "scale": drawn(SAMPLES, 1)}
    return x, labels(), lambda output, y: F.cross_entropy(output["outputs"][0], y)


def _spectral(model: nn.Module) -> Tensor:
    """W by the estimates that the pass has left in the buffers."""
    made: Tensor = model.get_submodule("middle").weight  # type: ignore[assignment]
    return made


CASES = [
    Case("mlp", seeded(mlp), classified(5), {"0": "2", "2": "5", "5": "9", "9": None}, SAMPLES),
    *(
        Case(
            f"checkpointed, reentrant={reentrant}",
            seeded(lambda reentrant=reentrant: Checkpointed(reentrant)),
            classified(5),
            CHECKPOINTED,
            SAMPLES,
            plain=seeded(lambda: Checkpointed(None)),
        )
        for reentrant in (None, False, True)
    ),
    Case(
        "encoder, batch first",
        seeded(lambda: Encoder(batch_first=True)),
        lambda: (_ids(), labels(), F.cross_entropy),
        ENCODER,
        SAMPLES,
        places=ATTENTION,
    ),
    Case(
        "encoder, tokens first",
        seeded(lambda: Encoder(batch_first=False)),
        lambda: (_ids().T.contiguous(), labels(), F.cross_entropy),
        ENCODER,
        SAMPLES,
        tokens_first=True,
        places=ATTENTION,
    ),
    Case(
        "lstm",
        seeded(Recurrent),
        lambda: (_ids(), labels(), F.cross_entropy),
        {"embed": "lstm", "middle": "head", "head": None},
        SAMPLES,
    ),
    Case(
        "shared and tied",
        seeded(Shared),
        _shared_probe,
        {"embed": "mix", "last": "unembed"},
        SAMPLES,
    ),
    Case(
        "parametrized",
        seeded(Parametrized),
        classified(2, 4, 4),
        {"conv": "middle", "head": None},
        SAMPLES,
    ),
]
