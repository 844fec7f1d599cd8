"""Convolutional networks in channels_last order: which are, that nothing but rounding and speed
depends on it, and that PyTorch's convolutions bear it."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from normlab.config import NORMS, Config, ImageTensors, compose
from normlab.networks.blocks import ProjectionShortcut
from normlab.training.optimizers import parameter_groups
from normlab.training.step import (
    Network,
    build_network,
    checkpoint_state,
    restore,
    training_step,
)

LAST = torch.channels_last
IN_THIS_ORDER = {"none", "bn", "ln_channels", "rms", "dyt"}
TINY = (
    *("data=gaussian", "data.size=9", "data.train_size=8", "data.test_size=8", "model=resnet"),
    *("model.depth=14", "model.width=4", "model.shortcut=B", "runtime.device=cpu"),
    "runtime.channels_last=true",
)


def network_and_data(*overrides: str) -> tuple[Config, Network, ImageTensors]:
    config = compose([*TINY, *overrides])
    dataset = config.data.load(torch.device("cpu"))
    return config, build_network(config, dataset), dataset


@pytest.mark.parametrize("asked", ["true", "false"])
@pytest.mark.parametrize("block", ["post", "pre"])
@pytest.mark.parametrize("norm", [*NORMS])
def test_what_every_layer_gives_on_is_in_the_order_of_its_network(
    norm: str, block: str, asked: str
) -> None:
    words = (f"norm={norm}", f"model.block={block}", f"runtime.channels_last={asked}")
    config, network, dataset = network_and_data(*words)
    assert config.in_channels_last == (norm in IN_THIS_ORDER and asked == "true")
    convolutions = [layer.module for layer in network.layers if layer.kind == "conv"]
    orders = set()

    def note(module: nn.Module, given: tuple[Tensor], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        if module.in_channels > 1:  # of one channel both orders are the same
            orders.add(given[0].is_contiguous(memory_format=LAST))

    for convolution in convolutions:
        convolution.register_forward_hook(note)
    network.model(dataset.train_images)
    assert orders == {config.in_channels_last}


@pytest.mark.parametrize("block", ["post", "pre"])
@pytest.mark.parametrize("norm", sorted(IN_THIS_ORDER))
def test_nothing_but_rounding_depends_on_the_order(norm: str, block: str) -> None:
    words = (f"norm={norm}", f"model.block={block}", "training.clip_norm=1")
    config, network, dataset = network_and_data(*words)
    _, other, _ = network_and_data(*words, "runtime.channels_last=false")
    images, labels = dataset.train_images.double(), dataset.train_labels
    found = []
    for made in (network, other):
        made.model.double()
        for _ in range(3):
            stepped = training_step(config, made, (images, labels), 0.1, ratios=True)
        found.append([stepped.loss, stepped.norms, stepped.ratios, *made.parameters])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("orders", [("true", "false"), ("false", "true"), ("true", "true")])
def test_a_checkpoint_goes_on_in_the_other_order(orders: tuple[str, str], optimizer: str) -> None:
    """What an optimizer remembers is brought into its weight's order, as `normlab extend` needs."""
    words = ("norm=bn", f"optimizer={optimizer}")
    found = []
    for before, after in (("false", "false"), orders):
        config, network, dataset = network_and_data(*words, f"runtime.channels_last={before}")
        batch = dataset.train_images.double(), dataset.train_labels
        network.model.double()
        # Adam has made its memory in float32.
        groups = parameter_groups(config.optimizer, network.parameters)
        network = dataclasses.replace(network, groups=groups)
        training_step(config, network, batch, 0.1, ratios=False)
        state = checkpoint_state(network, 1, 0.0, 0.0, 0.0)
        config, network, _ = network_and_data(*words, f"runtime.channels_last={after}")
        network.model.double()
        restore(network, state)
        training_step(config, network, batch, 0.1, ratios=False)
        found.append([*network.parameters])
    # Adam divides what is nothing but rounding, the gradient of a bias before a norm, by its size.
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11 if optimizer == "sgd" else 1e-6)


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize("norm", sorted(IN_THIS_ORDER))
def test_norms_are_exact_in_this_order(norm: str, mean: float) -> None:
    """PyTorch's GroupNorm is not: there it takes a variance as E[x²] − E[x]², and of a mean of 1000
    deviations its output is off by more than a half. BatchNorm's sums are coarser, by less."""
    module = compose(["model=cnn", f"norm={norm}"]).norm.build(16, spatial=True)
    x = mean + torch.randn(32, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def output_and_gradient(given: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        leaf = given.to(dtype).requires_grad_()
        y: Tensor = module.to(dtype)(leaf)
        (gradient,) = torch.autograd.grad(y, leaf, upstream.to(dtype))
        return y.detach().double(), gradient.double()

    exact = output_and_gradient(x, torch.float64)
    for right, usual, found in zip(
        exact,
        output_and_gradient(x, torch.float32),
        output_and_gradient(x.contiguous(memory_format=LAST), torch.float32),
        strict=True,
    ):
        bound = 4e-6 + 30 * (usual - right).abs().max()
        assert (found - right).abs().max() < bound


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_projection_is_a_strided_convolution(stride: int, size: tuple[int, int]) -> None:
    own = ProjectionShortcut(3, 5, stride, bias=True).double()
    usual = nn.Conv2d(3, 5, 1, stride).double()
    usual.load_state_dict(own.state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for module in (own, usual):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        y.square().sum().backward()
        results.append([y, leaf.grad, module.weight.grad, module.bias.grad])
    torch.testing.assert_close(*results)


MANY_PROJECTIONS = """
import torch
from normlab.networks.blocks import ProjectionShortcut
for repetition in range({repetitions}):
    for channels in (1, 2, 4, 8, 16):
        for batch, size in ((128, 8), (64, 9), (3, 32), (1, 7)):
            projection = ProjectionShortcut(channels, 2 * channels, 2, bias=False)
            projection.to(memory_format=torch.channels_last)
            x = torch.randn(batch, channels, size, size).contiguous(
                memory_format=torch.channels_last
            )
            projection(x.requires_grad_()).square().mean().backward()
print("whole")
"""
# As a model from outside may go on behind this norm, whatever order is asked for.
BEHIND_CHANNEL_NORM = """
import torch
from torch import nn
from normlab.networks.norm_modules import ChannelNorm
for repetition in range({repetitions}):
    for channels in (2, 4, 8):
        net = nn.Sequential(
            ChannelNorm(channels, 1e-5, True), nn.Conv2d(channels, 2 * channels, 1, 2)
        )
        for _ in range(10):
            net(torch.randn(128, channels, 8, 8)).square().mean().backward()
print("whole")
"""
A_NETWORK = f"""
import torch
from normlab.config import compose
from normlab.training.step import build_network, training_step
config = compose({[*TINY, "norm=bn"]!r})
dataset = config.data.load(torch.device("cpu"))
network = build_network(config, dataset)
for _ in range({{repetitions}}):
    images, labels = torch.randn(128, 1, 8, 8), torch.randint(10, (128,))
    training_step(config, network, (images, labels), 0.01, ratios=False)
print("whole")
"""


SCRIPTS = {
    "projections": MANY_PROJECTIONS,
    "a network": A_NETWORK,
    "behind LayerNorm over channels": BEHIND_CHANNEL_NORM,
}


def assert_it_ends_well(script: str, threads: int, instructions: str) -> None:
    # A broken heap ends a process, at times only later.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if instructions:
        environment["ONEDNN_MAX_CPU_ISA"] = instructions
    # One with a broken heap may wait for itself instead.
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert (found.returncode, found.stdout) == (0, "whole\n"), found.stderr


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_shortcuts_write_nothing_out_of_bounds(script: str) -> None:
    """In this order the backward pass of PyTorch's own strided 1×1 convolution does, on a CPU."""
    assert_it_ends_well(script.format(repetitions=5), 1, "AVX2")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("instructions", ["AVX", "AVX2", ""])
@pytest.mark.parametrize("threads", [1, 2])
def test_shortcuts_write_nothing_out_of_bounds_anywhere(
    threads: int, instructions: str, script: str
) -> None:
    assert_it_ends_well(script.format(repetitions=20), threads, instructions)


def test_other_models_stay_as_they_are() -> None:
    config = compose(["model=mlp", "norm=bn", "runtime.channels_last=true"])
    assert not config.in_channels_last
