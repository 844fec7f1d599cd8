"""Claims that are shown on numbers or on a network directly, without training: their arithmetic.

Each function takes a seed for what it draws and returns named figures.
"""

import torch
from torch import Tensor, nn

from normlab.claims.claim import DEMONSTRATIONS
from normlab.networks import BatchNorm, LayerNorm, fill_softmax, masked_softmax
from normlab.training import random_stream

Figures = dict[str, float]

_BATCH_NORM = BatchNorm(
    name="bn", position="before", affine=True, eps=1e-5, momentum=0.1, noise=0, masked=True
)
_LAYER_NORM = LayerNorm(name="ln", position="before", affine=True, eps=1e-5)


@DEMONSTRATIONS.register("softmax")
def softmax(seed: int) -> Figures:
    """C01: positive, sums to 1, generalizes the logistic, and is the gradient of log-sum-exp."""
    logits = 5 * torch.randn(64, 100, generator=_stream(seed, "softmax"))
    weights = torch.softmax(logits, dim=1)
    free = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.logsumexp(free, dim=1).sum(), free)
    pairs = torch.stack([logits[:, 0], torch.zeros(64)], dim=1)
    return {
        "least": weights.min().item(),
        "sum": (weights.sum(dim=1) - 1).abs().max().item(),
        "gradient": (gradient - weights).abs().max().item(),
        "logistic": (torch.softmax(pairs, 1)[:, 0] - logits[:, 0].sigmoid()).abs().max().item(),
    }


@DEMONSTRATIONS.register("padding")
def padding(seed: int) -> Figures:
    """C02: softmax with padding filled with −2³²+1, beside a masked softmax, by data type."""
    exact = 5 * torch.randn(64, 20, generator=_stream(seed, "padding"), dtype=torch.float64)
    mask = torch.rand(exact.shape, generator=_stream(seed, "mask")) < 0.5
    mask[:, 0] = True
    mask[-1] = False  # a row that is all padding
    figures: Figures = {}
    leaks, broken = 0.0, 0
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        logits = exact.to(dtype)
        filled = fill_softmax(logits, mask, dim=1)
        if dtype in (torch.float32, torch.float64):
            name = str(dtype).removeprefix("torch.")
            figures[f"fill_{name}"] = filled[:-1][~mask[:-1]].abs().max().item()
            figures[f"uniform_{name}"] = (filled[-1] - 1 / 20).abs().max().item()
        if dtype == torch.float16:
            figures["fill_nan_float16"] = filled[-1].isnan().float().mean().item()
        free = logits.clone().requires_grad_()
        own = masked_softmax(free, mask, dim=1)
        (gradient,) = torch.autograd.grad((own * exact.to(dtype)).sum(), free)
        leaks = max(leaks, own[~mask].abs().max().item())
        broken += int((~own.isfinite()).sum() + (~gradient.isfinite()).sum())
    return {**figures, "own": leaks, "own_broken": float(broken)}


@DEMONSTRATIONS.register("statistics")
def statistics(seed: int) -> Figures:
    """C03: BatchNorm works on columns, LayerNorm on rows, BN(X) = LN(Xᵀ)ᵀ without γ and β."""
    x = 3 + 2 * torch.randn(128, 64, generator=_stream(seed, "statistics"), dtype=torch.float64)
    x = x * torch.logspace(-2, 1, 64, dtype=torch.float64)  # some variances are near ε
    vertical = _BATCH_NORM.build(64, spatial=False).double()(x)
    horizontal = _LAYER_NORM.build(128, spatial=False).double()(x.T).T
    variance = x.var(dim=0, correction=0)
    expected = variance / (variance + _BATCH_NORM.eps)
    rows = _LAYER_NORM.build(64, spatial=False).double()(x)
    return {
        "mean": vertical.mean(dim=0).abs().max().item(),
        "row_mean": rows.mean(dim=1).abs().max().item(),
        "transpose": (vertical - horizontal).abs().max().item(),
        "variance": (vertical.var(dim=0, correction=0) - expected).abs().max().item(),
        "least_variance": vertical.var(dim=0, correction=0).min().item(),
    }


@DEMONSTRATIONS.register("identity")
def identity(seed: int) -> Figures:
    """C04: γ = √(Var+ε) and β = E give back the input; γ = √Var does not quite."""
    x = 3 + torch.randn(256, 64, generator=_stream(seed, "identity"), dtype=torch.float32)
    x = x * torch.logspace(-2, 0, 64)
    norm = _BATCH_NORM.build(64, spatial=False)
    assert isinstance(norm, nn.BatchNorm1d)
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    errors = {}
    for name, gamma in (("exact", (variance + norm.eps).sqrt()), ("naive", variance.sqrt())):
        with torch.no_grad():
            norm.weight.copy_(gamma)
            norm.bias.copy_(mean)
        errors[name] = (norm(x) - x).abs().max().item()
    return errors


@DEMONSTRATIONS.register("invariance")
def invariance(seed: int) -> Figures:
    """C05: behind weights ten times as large BatchNorm gives the same, and a tenth of ∂L/∂W."""
    stream = _stream(seed, "invariance")
    x = torch.randn(128, 32, generator=stream, dtype=torch.float64)
    weight = torch.randn(16, 32, generator=stream, dtype=torch.float64)
    direction = torch.randn(128, 16, generator=stream, dtype=torch.float64)
    norm = _BATCH_NORM.model_copy(update={"eps": 1e-12}).build(16, spatial=False).double()
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []
    for scale in (1.0, 10.0):
        w = (scale * weight).requires_grad_()
        outputs.append(norm(x @ w.T))
        gradients += torch.autograd.grad((outputs[-1] * direction).sum(), w)
    return {
        "output": (outputs[1] - outputs[0]).abs().max().item(),
        "gradient": (gradients[1].norm() / gradients[0].norm()).item(),
    }


def _stream(seed: int, purpose: str) -> torch.Generator:
    return random_stream(seed, f"demonstration of {purpose}")
