"""A network in training, and one step of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from normlab.config import Config, ImageTensors, ParameterGroup
from normlab.measurement import gradient_norms, update_ratios, watched_weights
from normlab.networks import WeightLayer, build_model, cross_entropy, weight_layers
from normlab.training.devices import autocast, matrix_products
from normlab.training.optimizers import parameter_groups, update
from normlab.training.streams import random_stream


@dataclass(frozen=True)
class Network:
    """A network in training: its model, and what the optimizer remembers."""

    model: nn.Module
    layers: list[WeightLayer]
    parameters: list[nn.Parameter]
    groups: list[ParameterGroup]


@dataclass(frozen=True)
class Stepped:
    """What a training step measures of itself, still on the device."""

    loss: Tensor  # NaN where the gradient was not finite
    norms: Tensor  # [layers] ‖∂L/∂W‖, before clipping
    ratios: Tensor | None  # [layers] ‖ΔW‖/‖W‖, where asked for
    clip_factor: Tensor | None  # min(1, clip_norm/‖g‖), where the gradient is clipped

    def copy(self) -> Self:
        """The same in memory of its own."""
        tensors = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: value.clone() for name, value in tensors.items()})


def build_network(config: Config, dataset: ImageTensors) -> Network:
    """The network that a config names, on the data's device, in train mode."""
    device = dataset.train_images.device
    model = build_model(config, dataset.shape, dataset.classes, random_stream(config.seed, "init"))
    model = model.to(device).train()
    if config.in_channels_last:
        # Of its weights alone: what a convolution gives on is then in their order.
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = list(model.parameters())
    shares = config.model.rate_shares(model)
    groups = parameter_groups(config.optimizer, parameters, shares)
    return Network(model, weight_layers(model), parameters, groups)


def checkpoint_state(
    network: Network, step: int, batch_loss: float, clip_factor: float, seconds: float
) -> dict[str, Any]:
    """What a checkpoint keeps and `restore` gives back."""
    return {
        "step": step,
        "batch_loss": batch_loss,
        "clip_factor": clip_factor,
        "seconds": seconds,
        "model": network.model.state_dict(),
        "optimizer": [
            {"momenta": group.momenta, "squares": group.squares, "steps": group.steps}
            for group in network.groups
        ],
    }


def restore(network: Network, state: Mapping[str, Any]) -> int:
    """Give a network a checkpoint's weights and optimizer's memory; returns the step it is at."""
    network.model.load_state_dict(state["model"])
    for group, memory in zip(network.groups, state["optimizer"], strict=True):
        device, members = group.parameters[0].device, group.parameters
        group.momenta = [
            None if m is None else _in_order_of(p, m)
            for p, m in zip(members, memory["momenta"], strict=True)
        ]
        squares = zip(members, memory["squares"], strict=False)  # SGD has none
        group.squares = [_in_order_of(p, square) for p, square in squares]
        group.steps = [steps.to(device) for steps in memory["steps"]]
    return int(state["step"])


def _in_order_of(parameter: nn.Parameter, remembered: Tensor) -> Tensor:
    """What an optimizer remembers of a parameter, on its device and in its order of memory: the
    fused updates take both for arrays of one order."""
    return torch.empty_like(parameter, requires_grad=False).copy_(remembered)


def training_step(
    config: Config,
    network: Network,
    batch: tuple[Tensor, Tensor],
    lr: float | Tensor,
    *,
    ratios: bool,
) -> Stepped:
    """One optimizer step on images and labels, which measures every layer's gradient on the way.

    Nothing is read back from the device, and from its second call on it is the same computation.
    Relative updates cost a copy of all weights and are measured only with `ratios`.
    """
    images, labels = batch
    device, precision = images.device, config.training.precision
    layers, parameters = network.layers, network.parameters
    for parameter in parameters:
        parameter.grad = None
    with watched_weights(layers) as weights, matrix_products(precision):
        with autocast(precision, device):
            given, kind = network.model(images), config.training.loss
            smoothing = config.training.label_smoothing
            loss = cross_entropy(given, labels, kind, smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
    norms = gradient_norms(weights)
    finite = norms.isfinite().all()
    clip_factor = None
    if config.training.clip_norm is not None:
        # PyTorch's own total norm overflows float32 just where clipping is needed most.
        total = gradient_norms(parameters).norm()
        clip_factor = (config.training.clip_norm / total).clamp(max=1)
        # A GPU multiplies all gradients in one kernel by a number of their own type only.
        norm = total if device.type == "cpu" else total.to(parameters[0].dtype)
        nn.utils.clip_grads_with_norm_(parameters, config.training.clip_norm, norm)
    before = [w.detach().clone() for w in weights] if ratios else []
    update(config.optimizer, network.groups, lr)
    after = [layer.module.weight for layer in layers] if ratios else []
    return Stepped(
        loss=torch.where(finite, loss.detach(), torch.nan),
        norms=norms,
        ratios=update_ratios(before, after) if ratios else None,
        clip_factor=clip_factor,
    )
