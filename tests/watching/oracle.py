"""What a watch should measure, from the definitions alone, by plain autograd in float64.

Nothing here is the package's: z's gradient is that of a 0 which is added to a layer's output, what
a layer sends is what a named other one receives, and cosines are those of each pair of samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

SNAPSHOT = ("delta_rms", "weight_norm", "act_mean", "act_std", "dead_fraction", "sample_cosine")
ASKED = ("centred_cosine", "gradient_cosine", "effective_rank")


@dataclass(frozen=True)
class Case:
    """A net, a probe batch, and of some layers the module that receives what they send."""

    name: str
    build: Callable[[], nn.Module]  # the same weights each time
    probe: Callable[[], tuple[Any, Any, Callable[[Any, Any], Tensor]]]  # in float32
    receivers: Mapping[str, str | None]  # None of the output layer, which sends to none
    samples: int
    plain: Callable[[], nn.Module] | None = None  # the same without checkpointing
    tokens_first: bool = False  # of what layers send
    places: Mapping[str, str] = field(default_factory=dict)  # whose output is z, if not the layer's
    weights: Mapping[str, Callable[[nn.Module], Tensor]] = field(default_factory=dict)  # if made


def seeded(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Builds a net whose weights are the same each time."""

    def built() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return build()

    return built


def widened(values: Any) -> Any:
    """The same in float64."""
    if isinstance(values, Tensor):
        return values.double() if values.is_floating_point() else values
    if isinstance(values, dict):
        return {key: widened(value) for key, value in values.items()}
    if isinstance(values, tuple | list):
        return type(values)(widened(value) for value in values)
    return values


def output_of(model: nn.Module, x: Any) -> Any:
    """What a net makes of a probe's x."""
    if isinstance(x, Tensor):
        return model(x)
    return model(**x) if isinstance(x, dict) else model(*x)


def expected(case: Case) -> dict[str, dict[str, float]]:
    """The measurements of every layer that a case names, in train mode."""
    model = (case.plain or case.build)().double()
    x, y, loss_fn = widened(case.probe())
    # A watch looks as the first step begins, after its batch: spectral norms have moved on by then.
    output_of(model, x)
    added: dict[str, list[Tensor]] = {name: [] for name in case.receivers}
    sent: dict[str, list[Tensor]] = {name: [] for name in case.receivers}
    received: dict[str, list[Tensor]] = {}

    def add(name: str) -> Any:
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            first = output[0] if isinstance(output, tuple) else output
            zero = torch.zeros_like(first).requires_grad_()
            added[name].append(zero)
            whole = first + zero
            sent[name].append(whole.detach().clone())
            return (whole, *output[1:]) if isinstance(output, tuple) else whole

        return hook

    def record(name: str) -> Any:
        def hook(_module: Any, args: Any, kwargs: Any) -> None:
            first = args[0] if args else next(iter(kwargs.values()))
            received.setdefault(name, []).append(first.detach().clone())

        return hook

    for name, receiver in case.receivers.items():
        model.get_submodule(case.places.get(name, name)).register_forward_hook(add(name))
        if receiver is not None:
            model.get_submodule(receiver).register_forward_pre_hook(
                record(receiver), with_kwargs=True
            )
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the noise of every snapshot
        loss = loss_fn(output_of(model, x), y)
    zeros = [zero for each in added.values() for zero in each]
    found = iter(torch.autograd.grad(loss, zeros))
    gradients = {name: [next(found) for _ in each] for name, each in added.items()}
    reference: dict[str, dict[str, float]] = {}
    for name, receiver in case.receivers.items():
        activations = sent[name] if receiver is None else received[receiver]
        # A layer that runs several times, or whose receiver does: each with its own, in order.
        activations = activations[: len(gradients[name])]
        runs = [
            measured(case, gradient, activation, last=receiver is None)
            for gradient, activation in zip(gradients[name], activations, strict=True)
        ]
        weight = case.weights.get(name, lambda m, name=name: m.get_submodule(name).weight)(model)
        reference[name] = {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]} | {
            "weight_norm": weight.pow(2).sum().sqrt().item()
        }
    return reference


def measured(case: Case, gradient: Tensor, activation: Tensor, *, last: bool) -> dict[str, float]:
    """One run of a layer: ∂L/∂z and what the next one receives, by the definitions."""
    samples = case.samples
    own = samples * gradient  # ∂ℓᵢ/∂zᵢ, as L is the mean
    units = gradient.numel() // samples
    if case.tokens_first and activation.ndim > 2:
        activation = activation.transpose(0, 1)
    a = activation.reshape(samples, -1)
    mean = a.mean()
    if case.tokens_first and gradient.ndim > 2:
        gradient = gradient.transpose(0, 1)
    given_back = [g for g in gradient.reshape(samples, -1) if g.any()]
    turns = [(g @ h / (g.norm() * h.norm())).item() for g, h in combinations(given_back, 2)]
    of_tokens = activation.ndim == 3 or len(activation) != samples
    rows = activation.reshape(-1, activation.shape[-1]) if of_tokens else a
    values = torch.linalg.svdvals(rows)
    shares = values[values > 0] / values.sum()
    return {
        "centred_cosine": cosine_of_pairs(a - a.mean(dim=1, keepdim=True)),
        "gradient_cosine": sum(turns) / len(turns) if turns else float("nan"),
        "effective_rank": (-shares * shares.log()).sum().exp().item(),
        "delta_rms": (own.pow(2).sum() / (samples * units)).sqrt().item(),
        "act_mean": mean.item(),
        "act_std": (a - mean).pow(2).mean().sqrt().item(),
        "dead_fraction": float("nan") if last else (a == 0).all(dim=0).double().mean().item(),
        "sample_cosine": cosine_of_pairs(a),
    }


def cosine_of_pairs(a: Tensor) -> float:
    """The mean over pairs of rows; two that are zero are alike."""
    cosines = []
    for one, other in combinations(a, 2):
        lengths = one.norm() * other.norm()
        if lengths > 0:
            cosines.append((one @ other / lengths).item())
        else:
            cosines.append(float(not one.any() and not other.any()))
    return sum(cosines) / len(cosines)
