"""An encoder with BERT's numbers is BERT: transformers' own, post-norm, with random weights."""

from typing import Any

import pytest
import torch
from torch import nn

from normlab.networks import EncoderNetwork, build_model
from tests.watching.foreign.importing import WARNINGS, import_or_skip

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(*WARNINGS)]

DEPTH, WIDTH, HEADS, TOKENS = 3, 32, 4, 10


def bert() -> Any:
    """Its layers alone, biases and gains drawn too."""
    transformers = import_or_skip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
    )
    torch.manual_seed(5)
    model = transformers.BertModel(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def copied(theirs: Any, ours: EncoderNetwork) -> None:
    """The same numbers, layer for layer; tokens are what embeddings would be."""
    with torch.no_grad():
        ours.embedding.weight.copy_(torch.eye(WIDTH))
        ours.embedding.bias.zero_()
    for block, layer in zip(ours.body.values(), theirs.encoder.layer, strict=True):
        own: Any = block
        pairs = [
            (own.attention.query, layer.attention.self.query),
            (own.attention.key, layer.attention.self.key),
            (own.attention.value, layer.attention.self.value),
            (own.attention.output, layer.attention.output.dense),
            (own.attention_norm.norm, layer.attention.output.LayerNorm),
            (own.feed_forward1, layer.intermediate.dense),
            (own.feed_forward2, layer.output.dense),
            (own.feed_forward_norm.norm, layer.output.LayerNorm),
        ]
        for one, other in pairs:
            one.load_state_dict(other.state_dict())


@pytest.mark.parametrize("masked", [False, True])
def test_the_same_numbers_give_the_same_output(configure: Any, masked: bool) -> None:
    theirs = bert()
    config = configure(
        *("encoder", "ln"),
        **{"depth": DEPTH, "width": WIDTH, "heads": HEADS, "placement": "post"},
        **{"activation": "gelu", "bias": True, "positions": "none"},
    )
    eps = theirs.config.layer_norm_eps
    config = config.model_copy(update={"norm": config.norm.model_copy(update={"eps": eps})})
    ours = build_model(config, (1, TOKENS, WIDTH), 3, torch.Generator().manual_seed(0))
    copied(theirs, ours)
    generator = torch.Generator().manual_seed(7)
    tokens = torch.randn(4, TOKENS, WIDTH, generator=generator)
    real = torch.arange(TOKENS) < torch.tensor([TOKENS, 7, 1, 4])[:, None]
    mask = real if masked else torch.ones_like(real)
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    with torch.no_grad():
        expected = theirs.encoder(tokens, attention_mask=added[:, None, None, :])
        found = ours.encode(tokens, real if masked else None)
    expected = expected.last_hidden_state
    assert expected.abs().mean() > 0.1
    assert (found - expected)[mask].abs().max() < 1e-5
