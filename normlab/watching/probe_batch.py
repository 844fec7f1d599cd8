"""The batch on which a watch looks at a network: what a person may give, and its loss."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from normlab.errors import ConfigError
from normlab.text import error_line
from normlab.watching.untouched import modes_of, untouched

# What the network takes, what the loss takes beside its output, and the loss.
Probe = tuple[Any, Any, Callable[[Any, Any], Tensor]]


def checked_probe(probe: Any, device: torch.device) -> Probe:
    """A probe as a person gives it, for a network on a device; raises ConfigError."""
    if not isinstance(probe, tuple | list) or len(probe) != 3 or not callable(probe[2]):
        raise ConfigError(
            "probe: must be (x, y, loss_fn), a batch, its targets, and a function of the network's "
            "output and the targets"
        )
    x, y, loss = probe
    if not batch_size(x, y):
        raise ConfigError("probe: x holds no tensor with a first dimension of samples")
    for name, values in (("x", x), ("y", y)):
        for tensor in tensors_in(values):
            if tensor.device != device:
                raise ConfigError(
                    f"probe: {name} is on {tensor.device}, the network on {device}; "
                    f"give {name}.to({str(device)!r})"
                )
            if tensor.isnan().any():
                raise ConfigError(f"probe: {name} holds NaN")
    return x, y, loss


def batch_size(x: Any, y: Any) -> int | None:
    """The samples of a batch: the first dimension of its first tensor; its second where the targets
    are as many, as of a network that takes tokens first."""
    sizes = next((tensor.shape for tensor in tensors_in(x) if tensor.ndim), None)
    if sizes is None:
        return None
    targets = next((len(tensor) for tensor in tensors_in(y) if tensor.ndim), None)
    return targets if targets in sizes[:2] and targets is not None else sizes[0]


def tensors_in(x: Any) -> Iterator[Tensor]:
    """All tensors of nested lists, tuples and mappings."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, Mapping):
        for value in x.values():
            yield from tensors_in(value)
    elif isinstance(x, list | tuple):
        for value in x:
            yield from tensors_in(value)


def _copied(x: Any, device: torch.device) -> Any:
    """The same with copies of all tensors, on a device."""
    match x:
        case Tensor():
            return x.to(device, copy=True)
        case Mapping():
            return {key: _copied(value, device) for key, value in x.items()}
        case list() | tuple():
            return [_copied(value, device) for value in x]
    return x


def try_out(model: nn.Module, probe: Probe) -> None:
    """Raise ConfigError where a network makes no loss of a probe that has a gradient."""
    with untouched(model, modes_of(model)), torch.enable_grad():
        loss = loss_of(model, probe)
    if not loss.requires_grad:
        raise ConfigError(
            "probe: loss_fn gives a loss without a gradient; must be computed from the network's "
            "output by tensor operations"
        )


def loss_of(model: nn.Module, probe: Probe) -> Tensor:
    """The loss of a network on a probe; raises ConfigError where there is none."""
    x, y, function = probe
    # As what works in place on its inputs would change the batch; and the network may have moved.
    device = next(model.parameters()).device
    x, y = _copied(x, device), _copied(y, device)
    try:
        match x:
            case Tensor():
                output = model(x)
            case Mapping():
                output = model(**x)
            case _:
                output = model(*x)
    except Exception as error:  # the network's own, of any kind
        raise ConfigError(f"probe: the network cannot take x ({error_line(error)})") from error
    try:
        loss = function(output, y)
    except Exception as error:
        raise ConfigError(f"probe: loss_fn fails ({error_line(error)})") from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = (
            f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"{loss!r:.40}"
        )
        raise ConfigError(f"probe: loss_fn gives {what}; must be a scalar tensor, as .mean() is")
    return loss.reshape(())
