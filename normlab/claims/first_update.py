"""The claim of how large a first step may be, shown on networks at initialization."""

import math

import numpy as np
import torch
from torch import Tensor

from normlab.claims.claim import DEMONSTRATIONS
from normlab.config import compose
from normlab.networks import build_model, cross_entropy, weight_layers
from normlab.training import random_stream

Figures = dict[str, float]

SAMPLES, CLASSES = 8, 10
STEP = 1e-7  # so small that activations move in proportion, and large beside float64's rounding


@DEMONSTRATIONS.register("first_update")
def first_update(seed: int) -> Figures:
    """C32: the power of the depth that the rate of the maximal first update goes with.

    That rate is 1/√S, where ηS^½ is the root mean square by which a gradient step of η changes the
    last hidden layer (Jelassi et al. 2023). The slope of its log by log L: of ReLU MLPs, and of
    plain CNNs on 8×8 and 64×64 pixels, without norm, by Gaussian images and random labels.
    """
    families = {
        "mlp": ((5, 10, 20, 40), 8, ("model=mlp", "model.width=256")),
        "conv_8": ((8, 14, 20, 26), 8, ("model=cnn", "model.width=8")),
        "conv_64": ((8, 14, 20, 26), 64, ("model=cnn", "model.width=8")),
    }
    figures = {}
    for name, (depths, pixels, settings) in families.items():
        rates = [_maximal_rate(seed, pixels, *settings, f"model.depth={d}") for d in depths]
        figures[name] = float(np.polyfit(np.log(depths), np.log(rates), 1)[0])
    return figures


def _maximal_rate(seed: int, pixels: int, *settings: str) -> float:
    config = compose(["norm=none", "model.bias=false", *settings])
    stream = random_stream(seed, "demonstration of a first update")
    network = build_model(config, (1, pixels, pixels), CLASSES, stream).double()
    images = torch.randn(SAMPLES, 1, pixels, pixels, generator=stream).double()
    labels = torch.randint(CLASSES, (SAMPLES,), generator=stream)
    outputs: list[Tensor] = []
    last_hidden = weight_layers(network)[-2].module
    last_hidden.register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    weights = list(network.parameters())
    loss = cross_entropy(network(images), labels, "softmax")
    gradients = torch.autograd.grad(loss, weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.sub_(STEP * gradient)
        network(images)
    before, behind = outputs
    change = ((behind - before) / STEP).square().mean().item()
    return 1 / math.sqrt(change)
