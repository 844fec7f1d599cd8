"""The updates against PyTorch's own optimizers, bit for bit, and against the papers' formulas."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from normlab.config import compose
from normlab.training.optimizers import parameter_groups, update

SHAPES = ((3, 5), (5,), (4, 3, 3, 3), (4,))
RATES = (0.1, 0.02, 0.3, 0.0)


def parameters():
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients(step):
    generator = torch.Generator().manual_seed(step + 1)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def pytorchs(config, members):
    decay = config.weight_decay
    groups = [{"params": members, "weight_decay": decay}]
    if config.decay == "weights":
        groups = [
            {"params": [p for p in members if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in members if p.ndim == 1], "weight_decay": 0.0},
        ]
    if config.name == "sgd":
        return torch.optim.SGD(
            groups, momentum=config.momentum, nesterov=config.nesterov, fused=True
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    return kind(groups, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


OPTIMIZERS = (
    ["optimizer=sgd"],
    ["optimizer=sgd", "optimizer.momentum=0"],
    ["optimizer=sgd", "optimizer.nesterov=true"],
    ["optimizer=adam"],
    ["optimizer=adamw"],
    ["optimizer=adamw", "optimizer.beta1=0.5", "optimizer.eps=1e-3"],
)


@pytest.mark.parametrize("decay", ["all", "weights"])
@pytest.mark.parametrize("weight_decay", ["0", "0.25"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=" ".join)
def test_updates_are_pytorchs_bit_for_bit(optimizer, weight_decay, decay):
    overrides = [
        *optimizer,
        f"optimizer.weight_decay={weight_decay}",
        f"optimizer.decay={decay}",
    ]
    config = compose(overrides).optimizer
    own, theirs = parameters(), parameters()
    groups, oracle = parameter_groups(config, own), pytorchs(config, theirs)
    for step, lr in enumerate(RATES):
        for p, q, gradient in zip(own, theirs, gradients(step), strict=True):
            p.grad, q.grad = gradient.clone(), gradient.clone()
        for group in oracle.param_groups:
            group["lr"] = lr
        update(config, groups, lr)
        oracle.step()
        assert all(torch.equal(p, q) for p, q in zip(own, theirs, strict=True))
    moved = [not torch.equal(p, q) for p, q in zip(own, parameters(), strict=True)]
    assert all(moved)


def by_formula(config, weight, gradients, rates):
    """The weights after each step, in float64, as the papers write it."""
    w, decay = weight.astype(np.float64), config.weight_decay
    v = m = s = 0.0
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        if config.name == "adamw":
            w = w - lr * decay * w
        else:
            g = g + decay * w
        if config.name == "sgd":
            v = config.momentum * v + g
            w = w - lr * (g + config.momentum * v if config.nesterov else v)
        else:
            b1, b2 = config.beta1, config.beta2
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
            unbiased = m / (1 - b1**t), s / (1 - b2**t)
            w = w - lr * unbiased[0] / (np.sqrt(unbiased[1]) + config.eps)
        yield w


@pytest.mark.parametrize("weight_decay", ["0", "0.25"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=" ".join)
def test_updates_are_the_formulas(optimizer, weight_decay):
    """SGD: Sutskever et al. (2013); Adam: Kingma & Ba (2015); AdamW: Loshchilov & Hutter (2019)."""
    config = compose([*optimizer, f"optimizer.weight_decay={weight_decay}"]).optimizer
    rates = [0.1 / math.sqrt(1 + step) for step in range(20)]
    own = parameters()
    groups = parameter_groups(config, own)
    each = [[gradients(step)[place].double().numpy() for step in range(20)] for place in range(4)]
    expected = [
        list(by_formula(config, p.detach().numpy(), found, rates))
        for p, found in zip(own, each, strict=True)
    ]
    for step, lr in enumerate(rates):
        for p, gradient in zip(own, gradients(step), strict=True):
            p.grad = gradient.clone()
        update(config, groups, lr)
        for p, formula in zip(own, expected, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), formula[step], rtol=2e-5, atol=2e-6)


def test_decay_can_spare_biases_and_norms():
    """With a gradient of 0 only decay moves a weight: w ← (1 − lr·λ)·w."""
    config = compose(["optimizer.weight_decay=0.5", "optimizer.decay=weights"]).optimizer
    members = parameters()
    before = [p.detach().clone() for p in members]
    for p in members:
        p.grad = torch.zeros_like(p)
    update(config, parameter_groups(config, members), 0.1)
    for p, was in zip(members, before, strict=True):
        expected = was * (1 - 0.1 * 0.5) if p.ndim > 1 else was
        torch.testing.assert_close(p.detach(), expected, rtol=1e-6, atol=0)


def test_groups_hold_every_parameter_once():
    for decay, kind in itertools.product(("all", "weights"), ("sgd", "adam")):
        overrides = [f"optimizer={kind}", f"optimizer.decay={decay}", "optimizer.weight_decay=0.1"]
        config = compose(overrides).optimizer
        members = parameters()
        held = [id(p) for group in parameter_groups(config, members) for p in group.parameters]
        assert sorted(held) == sorted(map(id, members))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=" ".join)
def test_a_parameter_can_have_a_share_of_the_rate(optimizer):
    """It moves as if alone, at so much of the learning rate; the others move as ever."""
    spare = ("optimizer.weight_decay=0.5", "optimizer.decay=weights")
    config = compose([*optimizer, *spare]).optimizer
    own, alone, usual = parameters(), parameters(), parameters()
    shares = {own[0]: 0.1, own[1]: 0.25}
    groups = parameter_groups(config, own, shares)
    slower = [parameter_groups(config, [p]) for p in alone]
    others = parameter_groups(config, usual)
    for step in range(3):
        for members in (own, alone, usual):
            for p, gradient in zip(members, gradients(step), strict=True):
                p.grad = gradient.clone()
        update(config, groups, 0.1)
        for group, share in zip(slower, (0.1, 0.25, 1.0, 1.0), strict=True):
            update(config, group, 0.1 * share)
        update(config, others, 0.1)
    for p, expected in zip(own, alone, strict=True):
        torch.testing.assert_close(p, expected, rtol=1e-6, atol=0)
    for p, expected in zip(own[2:], usual[2:], strict=True):
        torch.testing.assert_close(p, expected, rtol=1e-6, atol=0)
