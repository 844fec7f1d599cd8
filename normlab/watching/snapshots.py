"""What every layer of any network does with a probe batch, without leaving a trace."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from normlab.config import PROBES
from normlab.measurement import Observation, gain_and_shift
from normlab.training import matrix_products
from normlab.watching.gradients import is_divided, whole
from normlab.watching.probe_batch import Probe, batch_size, loss_of, tensors_in
from normlab.watching.untouched import in_backward, untouched
from normlab.watching.weights import WatchedWeight, layers_of, norms_of


@dataclass(frozen=True)
class Snapshot:
    """What was measured of every watched weight, and the probe batch's mean loss."""

    values: dict[str, list[float]]  # by probe, a value for each weight; NaN where it has none
    loss: float
    loss_eval_mode: float  # NaN where no running statistics make a difference
    turns: list[int | None]  # of each weight, as the how manyth its layer ran first


def snapshot(
    model: nn.Module,
    weights: Sequence[WatchedWeight],
    probe: Probe,
    names: Sequence[str],
    modes: Sequence[bool],
) -> Snapshot:
    """The named measurements of every weight's layer, for the mean loss of a probe batch.

    Modules are in the given modes; buffers, gradients, modes and random states stay as they were.
    Of a layer that runs several times it is the mean over its runs. Raises ConfigError where the
    network cannot take the batch or the loss is no scalar.
    """
    samples = batch_size(probe[0], probe[1])
    assert samples  # checked_probe refuses it
    layers: dict[nn.Module, WatchedWeight | None] = dict.fromkeys(layers_of(model))
    layers |= {w.module: w for w in weights if w.module is not None}
    # The graph of weights that `fully_shard` has divided is of others, made of their parts.
    ways = (_by_backward,) if is_divided(weights[0].parameter) else (_by_grad, _by_backward)
    with matrix_products("fp32"):
        for differentiate in ways:
            pass_ = _Pass(layers, samples, names)
            try:
                with untouched(model, modes), torch.enable_grad(), pass_.recording(model):
                    loss = loss_of(model, probe)
                    differentiate(loss, weights)
                break
            except RuntimeError as error:
                if differentiate is _by_backward or "checkpoint" not in str(error).lower():
                    raise
        loss_eval_mode = math.nan
        if any(getattr(module, "running_mean", None) is not None for module in model.modules()):
            with untouched(model, [False] * len(modes)), torch.no_grad():
                loss_eval_mode = loss_of(model, probe).item()
    rows = [pass_.measured(weight) for weight in weights]
    columns = torch.stack(rows).T.tolist()
    turns = [pass_.turn(weight) for weight in weights]
    values = dict(zip(names, columns, strict=True))
    return Snapshot(values, loss.item(), loss_eval_mode, turns)


def _by_grad(loss: Tensor, weights: Sequence[WatchedWeight]) -> None:
    # By the weights, so that the backward pass comes to every layer and none other; a person may
    # have frozen some since the watch began.
    trained = [weight.parameter for weight in weights if weight.parameter.requires_grad]
    if trained and loss.requires_grad:
        torch.autograd.grad(loss, trained, allow_unused=True)


def _by_backward(loss: Tensor, _: Sequence[WatchedWeight]) -> None:
    # Into `.grad`, which `untouched` puts back, as reentrant checkpointing and `fully_shard` want.
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]


# ------------------------------------------------------------------- one pass of the batch


@dataclass(eq=False)
class _Call:
    """One run of a layer within a forward pass."""

    received: Tensor | None  # without history, as are all
    sent: Tensor | None
    hooked: bool = False
    norms: list[nn.Module] = field(default_factory=list)  # that ran before the next layer did
    row: Tensor | None = None  # what was measured of it


class _Pass:
    """What the layers do in one forward and backward pass over a batch.

    Layers without a watched weight count as those that receive what others send.
    """

    def __init__(
        self, layers: Mapping[nn.Module, WatchedWeight | None], samples: int, names: Sequence[str]
    ):
        self._layers = layers
        self._samples = samples
        self._given: list[Tensor] = []  # what the network as a whole receives
        self._measures = [measure for name in names if (measure := PROBES[name].measure)]
        self._calls: list[_Call] = []  # in the order in which they ran
        self._of: dict[nn.Module, list[_Call]] = {module: [] for module in layers}

    @contextmanager
    def recording(self, model: nn.Module) -> Iterator[None]:
        """Within, hear of every run of a network's layers and of the gradient that comes back."""
        handles = [
            model.register_forward_pre_hook(self._begins, with_kwargs=True),
            *(module.register_forward_hook(self._ran, with_kwargs=True) for module in self._layers),
            *(module.register_forward_hook(self._normalized) for module in norms_of(model)),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begins(self, _: nn.Module, args: Any, kwargs: Any) -> None:
        self._given += tensors_in((args, kwargs))

    def _ran(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        sent = next(tensors_in(output), None)
        if sent is None:
            return
        calls = self._of[module]
        if in_backward():
            # Checkpointing runs it again for the backward pass.
            call = next((call for call in reversed(calls) if not call.hooked), None)
            if call is None:
                return
        else:
            received = next(tensors_in((args, kwargs)), None)
            given = None if received is None else _laid_out(module, received)
            call = _Call(given, _laid_out(module, sent))
            calls.append(call)
            self._calls.append(call)
        weight = self._layers[module]
        if sent.requires_grad and weight is not None:
            # Before anything changes it in place: the gradient is by what it is now.
            sent.register_hook(partial(self._look_at, module, weight, call))  # type: ignore[no-untyped-call]
            call.hooked = True

    def _normalized(self, norm: nn.Module, *_: Any) -> None:
        if self._calls and not in_backward():
            self._calls[-1].norms.append(norm)

    def _look_at(
        self, module: nn.Module, watched: WatchedWeight, call: _Call, delta: Tensor
    ) -> None:
        sent, activation = self._by_sample(delta), self._by_sample(self._activation(call))
        if sent is None or activation is None:
            return
        # Without knowing what stands between, a unit is dead that is 0 for all samples.
        last = call is self._calls[-1]
        alive = None if last else (activation != 0).to(activation.dtype)
        owner: Any = module.out_proj if isinstance(module, nn.MultiheadAttention) else module
        scales = gain_and_shift(call.norms)
        seen = Observation(_effective(owner, watched), sent, activation, alive, None, *scales)
        call.row = self._row(seen)

    def _row(self, seen: Observation) -> Tensor:
        with torch.no_grad():
            return torch.stack([whole(measure(seen)).double().cpu() for measure in self._measures])

    def _activation(self, call: _Call) -> Tensor:
        """What the next layer receives that none has received yet; what the last one sends, or the
        last before another of the network's own inputs comes to a layer, as to a second tower."""
        place = self._calls.index(call)
        before = {_memory(c.received) for c in self._calls[: place + 1] if c.received is not None}
        given = {_memory(tensor) for tensor in self._given} - before
        for later in self._calls[place + 1 :]:
            found = later.received
            if found is None or not found.is_floating_point() or _memory(found) in before:
                continue
            if _memory(found) in given:
                break
            return found
        assert call.sent is not None
        return call.sent

    def _by_sample(self, x: Tensor) -> Tensor | None:
        """With the samples in the first dimension: tokens may come before them or be among them."""
        if x.ndim and len(x) == self._samples:
            return x
        if x.ndim > 1 and x.shape[1] == self._samples:
            return x.transpose(0, 1)
        # Positions alone, as many as a sample has tokens, are no samples.
        positions = {size for tensor in self._given for size in tensor.shape}
        if x.ndim and len(x) and len(x) % self._samples == 0 and len(x) not in positions:
            return x.reshape(self._samples, -1, *x.shape[max(1, x.ndim - 1) :])
        return None

    def measured(self, weight: WatchedWeight) -> Tensor:
        """The measurements of a weight's layer, the mean over its runs; of a layer that did not
        run, or is no module's, what its weight alone tells."""
        calls = self._of.get(weight.module, []) if weight.module is not None else []
        rows = [call.row for call in calls if call.row is not None]
        if rows:
            return torch.stack(rows).mean(dim=0)
        nothing = torch.full((1, 1), math.nan, device=weight.parameter.device)
        return self._row(Observation(weight.parameter.detach(), nothing, nothing, None))

    def turn(self, weight: WatchedWeight) -> int | None:
        """As the how manyth of all a weight's layer ran first; None where it did not."""
        calls = self._of.get(weight.module, []) if weight.module is not None else []
        return self._calls.index(calls[0]) if calls else None


def _effective(module: nn.Module, weight: WatchedWeight) -> Tensor:
    """W as the layer uses it, where a parametrization makes it of the parameter."""
    made = getattr(module, "weight", None)
    same = isinstance(made, Tensor) and made.shape == weight.parameter.shape
    return (made if same else weight.parameter).detach()  # type: ignore[union-attr]


def _laid_out(module: nn.Module, x: Tensor) -> Tensor:
    """A layer's tensor without history; of a convolution along one dimension [B, C, L, 1], as what
    has three dimensions is [B, T, C] of tokens."""
    one_dimension = isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and x.ndim == 3
    return x.detach()[..., None] if one_dimension else x.detach()


def _memory(x: Tensor) -> tuple[int, torch.Size]:
    return x.data_ptr(), x.shape
