"""The updates against PyTorch's own optimizers, bit for bit."""

import itertools

import pytest
import torch
from torch import nn

from normlab.config import compose
from normlab.optimizers import parameter_groups, update

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


@pytest.mark.parametrize("decay", ["all", "weights"])
@pytest.mark.parametrize("weight_decay", ["0", "0.25"])
@pytest.mark.parametrize(
    "optimizer",
    [
        ["optimizer=sgd"],
        ["optimizer=sgd", "optimizer.momentum=0"],
        ["optimizer=sgd", "optimizer.nesterov=true"],
        ["optimizer=adam"],
        ["optimizer=adamw"],
        ["optimizer=adamw", "optimizer.beta1=0.5", "optimizer.eps=1e-3"],
    ],
    ids=" ".join,
)
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
