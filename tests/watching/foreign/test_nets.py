"""Networks of torchvision, timm and transformers against the definitions."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.watching.checks import agrees
from tests.watching.foreign.importing import WARNINGS, import_or_skip
from tests.watching.nets import SAMPLES, classified, labels
from tests.watching.oracle import Case, seeded

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(*WARNINGS)]


def ids(tokens: int = 6) -> Any:
    """Token ids, the same each time."""
    return torch.randint(0, 50, (SAMPLES, tokens), generator=torch.Generator().manual_seed(5))


def resnet18() -> Case:
    models = import_or_skip("torchvision").models
    return Case(
        "resnet18",
        seeded(lambda: models.resnet18(num_classes=4)),
        classified(3, 24, 24),
        {
            "conv1": "layer1.0.conv1",
            "layer1.0.conv1": "layer1.0.conv2",
            "layer1.0.conv2": "layer1.1.conv1",
            "layer2.0.conv2": "layer2.1.conv1",
            "layer2.0.downsample.0": "layer2.1.conv1",
            "layer4.1.conv2": "fc",
            "fc": None,
        },
        SAMPLES,
    )


def vision_transformer() -> Case:
    models = import_or_skip("torchvision").models
    layer = "encoder.layers.encoder_layer_{}.{}".format

    def build() -> nn.Module:
        model: nn.Module = models.VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=4)
        for parameter in model.parameters():  # its head begins at 0, where no gradient comes back
            nn.init.normal_(parameter, std=0.2)
        return model

    return Case(
        "torchvision's ViT",
        seeded(build),
        classified(3, 16, 16),
        {
            "conv_proj": layer(0, "self_attention"),
            layer(0, "self_attention.out_proj"): layer(0, "mlp.0"),
            layer(0, "mlp.0"): layer(0, "mlp.3"),
            layer(0, "mlp.3"): layer(1, "self_attention"),
            layer(1, "mlp.3"): "heads.head",
            "heads.head": None,
        },
        SAMPLES,
        places={layer(0, "self_attention.out_proj"): layer(0, "self_attention")},
    )


def convnext() -> Case:
    timm = import_or_skip("timm")

    def build() -> nn.Module:
        model: nn.Module = timm.create_model(
            "convnext_atto", num_classes=4, depths=(1, 2, 1, 1), dims=(8, 16, 24, 32)
        )
        return model

    block = "stages.1.blocks.{}.{}".format
    return Case(
        "timm's ConvNeXt",
        seeded(build),
        classified(3, 64, 64),
        {
            "stem.0": "stages.0.blocks.0.conv_dw",
            block(0, "conv_dw"): block(0, "mlp.fc1"),
            block(0, "mlp.fc1"): block(0, "mlp.fc2"),
            block(0, "mlp.fc2"): block(1, "conv_dw"),
            "head.fc": None,
        },
        SAMPLES,
    )


def gpt2() -> Case:
    transformers = import_or_skip("transformers")
    sizes = {"vocab_size": 50, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    block = "transformer.h.{}.{}".format
    return Case(
        "GPT-2",
        seeded(lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **none))),
        lambda: ({"input_ids": ids(), "labels": ids()}, None, lambda output, _: output.loss),
        {
            "transformer.wte": block(0, "attn.c_attn"),
            block(0, "attn.c_attn"): block(0, "attn.c_proj"),
            block(0, "attn.c_proj"): block(0, "mlp.c_fc"),
            block(0, "mlp.c_fc"): block(0, "mlp.c_proj"),
            block(0, "mlp.c_proj"): block(1, "attn.c_attn"),
            block(1, "mlp.c_proj"): "lm_head",  # of which wte has the weight
        },
        SAMPLES,
    )


_SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": 4,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def _classified_text() -> Any:
    x = {"input_ids": ids(), "labels": labels()}
    return x, None, lambda output, _: output.loss


def bert() -> Case:
    transformers = import_or_skip("transformers")
    build = transformers.BertForSequenceClassification
    layer = "bert.encoder.layer.{}.{}".format
    return Case(
        "BERT",
        seeded(lambda: build(transformers.BertConfig(**_SMALL))),
        _classified_text,
        {
            "bert.embeddings.word_embeddings": layer(0, "attention.self.query"),
            layer(0, "attention.self.query"): layer(0, "attention.output.dense"),
            layer(0, "attention.self.value"): layer(0, "attention.output.dense"),
            layer(0, "attention.output.dense"): layer(0, "intermediate.dense"),
            layer(0, "intermediate.dense"): layer(0, "output.dense"),
            layer(0, "output.dense"): layer(1, "attention.self.query"),
            layer(1, "output.dense"): "bert.pooler.dense",
            "bert.pooler.dense": "classifier",
            "classifier": None,
        },
        SAMPLES,
    )


def albert() -> Case:
    """One layer that runs twice: each is the mean over its runs."""
    transformers = import_or_skip("transformers")
    build = transformers.AlbertForSequenceClassification
    layer = "albert.encoder.albert_layer_groups.0.albert_layers.0.{}".format
    return Case(
        "ALBERT",
        seeded(lambda: build(transformers.AlbertConfig(**_SMALL, embedding_size=8))),
        _classified_text,
        {
            layer("attention.query"): layer("attention.dense"),
            layer("attention.dense"): layer("ffn"),
            layer("ffn"): layer("ffn_output"),
            "classifier": None,
        },
        SAMPLES,
    )


@pytest.mark.parametrize("make", [resnet18, vision_transformer, convnext, gpt2, bert, albert])
@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
def test_measurements_are_those_of_the_definitions(make: Any, double: bool) -> None:
    agrees(make(), double=double, rel=1e-10 if double else 1e-5)
