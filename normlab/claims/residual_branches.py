"""Claims of skips that are shown on networks at initialization.

Each function takes a seed for what it draws and returns named figures.
"""

import torch
from torch import Tensor

from normlab.claims.claim import DEMONSTRATIONS
from normlab.config import compose
from normlab.networks import NormActivation, build_model, he
from normlab.training import random_stream

Figures = dict[str, float]


@DEMONSTRATIONS.register("residual_stream")
def residual_stream(seed: int) -> Figures:
    """C20: the variance that the skips carry, after each of 10 pre-activation ReLU blocks."""
    doubling = _stream_variances("none", seed)
    linear = _stream_variances("bn", seed)
    index = torch.arange(1, len(linear) + 1, dtype=torch.float64)
    correlation = torch.corrcoef(torch.stack([index, linear]))[0, 1].item()
    return {
        "factor": (doubling[-1] / doubling[0]).item() ** (1 / (len(doubling) - 1)),
        "straightness": correlation**2,
        "increment": ((linear[-1] - linear[0]) / (len(linear) - 1)).item(),
    }


def _stream_variances(norm: str, seed: int, width: int = 1024) -> Tensor:
    """Of h ← h + W₂φ(N(W₁φ(N(h)))), He's initialization, over 128 samples."""
    config = compose([f"norm={norm}", "model=mlp"])
    stream = _stream(seed, f"residual stream {norm}")
    deviation = he(width, width)
    h = torch.randn(128, width, generator=stream)
    variances = []
    with torch.no_grad():
        for _ in range(10):
            branch = h
            for _ in range(2):
                weight = deviation * torch.randn(width, width, generator=stream)
                branch = NormActivation(config, width, spatial=False)(branch) @ weight.T
            h = h + branch
            variances.append(h.double().var(correction=0))
    return torch.stack(variances)


@DEMONSTRATIONS.register("shattering")
def shattering(seed: int) -> Figures:
    """C28: how alike the gradients at neighbouring inputs are, of networks of one number.

    The autocorrelation at lag 1 of ∂f/∂x at 256 points of [−2, 2], mean over f's 10 outputs, of
    ReLU MLPs of width 200 with BatchNorm (Balduzzi et al. 2017); 1 is smooth, 0 white noise.
    """
    nets = {
        "plain_2": ("model.depth=2",),
        "plain_8": ("model.depth=8",),
        "plain_24": ("model.depth=24",),
        "residual_8": ("model.depth=8", "model.residual=true"),
        "residual_24": ("model.depth=24", "model.residual=true"),
        "scaled_24": ("model.depth=24", "model.residual=true", "model.branch_scale=sqrt_depth"),
    }
    figures = {
        name: _autocorrelation(_input_gradients(seed, *settings)) for name, settings in nets.items()
    }
    figures["scaled_above_residual_24"] = figures["scaled_24"] - figures["residual_24"]
    return figures


def _input_gradients(seed: int, *settings: str) -> Tensor:
    """∂f_k/∂x [10 outputs, 256 points of −2 … 2] of an MLP, in float64.

    BatchNorm's statistics are those of all the points, and constants: f is a function of one x.
    """
    config = compose(["model=mlp", "model.width=200", "norm=bn", "norm.momentum=1", *settings])
    network = build_model(config, (1, 1, 1), 10, _stream(seed, "shattering")).double()
    x = torch.linspace(-2, 2, 256, dtype=torch.float64)[:, None, None, None]
    with torch.no_grad():
        network(x)
    network.eval()
    outputs = network(x.requires_grad_())
    return torch.stack(
        [torch.autograd.grad(f.sum(), x, retain_graph=True)[0].flatten() for f in outputs.T]
    )


def _autocorrelation(series: Tensor) -> float:
    """Of each row about its mean at lag 1, mean over rows [n, points]."""
    centred = series - series.mean(dim=1, keepdim=True)
    products = (centred[:, 1:] * centred[:, :-1]).sum(dim=1)
    return (products / centred.square().sum(dim=1)).mean().item()


# The streams of C29 and C30: samples, width, residual blocks.
SAMPLES, WIDTH, BLOCKS = 128, 512, 50


@DEMONSTRATIONS.register("branch_scale")
def branch_scale(seed: int) -> Figures:
    """C29: how a residual stream's mean square and gradient grow over 50 blocks, by branch scale.

    Of h ← h + a·Wφ(h) without norm, φ ReLU, He's initialization: mean square behind the last block
    over that before the first, and root mean square of the gradient before the first over that
    behind the last, where it is random.
    """
    figures = {}
    for scale in ("one", "sqrt_depth", "depth", "skipinit"):
        streams = _streams(seed, "model.bias=false", f"model.branch_scale={scale}")
        first, last = streams[0], streams[-1]
        direction = torch.randn(last.shape, generator=_stream(seed, "direction")).double()
        (gradient,) = torch.autograd.grad(last, first, direction)
        gain = (last.square().mean() / first.square().mean()).item()
        figures[f"gain_{scale}"] = gain
        figures[f"gain_per_block_{scale}"] = gain ** (1 / BLOCKS)
        figures[f"gradient_{scale}"] = (gradient.norm() / direction.norm()).item()
    return figures


@DEMONSTRATIONS.register("normalizer_free")
@torch.no_grad()
def normalizer_free(seed: int) -> Figures:
    """C30: variance of a normalizer-free stream behind 10, 25 and 50 blocks over that before them.

    Of each unit over samples, mean over units; of h ← h + αWφ(h/β) with α = .2, β² = 1 + kα² before
    block k + 1 and scaled weight standardization (Brock et al. 2021). And without that.
    """
    figures = {}
    for name, kind in (("", "scaled"), ("unstandardized_", "none")):
        streams = _streams(
            seed, "model.branch_scale=normalizer_free", f"model.weight_standardization={kind}"
        )
        variances = [h.var(dim=0).mean().item() for h in streams]
        for blocks in (10, 25, 50):
            figures[f"{name}{blocks}"] = variances[blocks] / variances[0]
    return figures


def _streams(seed: int, *settings: str) -> list[Tensor]:
    """What the skips of an MLP of 50 pre-activation blocks carry, before and behind each of them.

    [128, 512] each, of N(0, 1) inputs, in float64.
    """
    config = compose(
        [
            *("model=mlp", "model.residual=true", "model.block=pre", "norm=none"),
            *(f"model.width={WIDTH}", f"model.depth={BLOCKS + 2}", *settings),
        ]
    )
    stream = _stream(seed, "residual streams")
    network = build_model(config, (1, 1, WIDTH), 10, stream).double()
    found: list[Tensor] = []
    for layer in network.get_submodule("body").children():
        layer.register_forward_hook(lambda _, __, output: found.append(output))
    network(torch.randn(SAMPLES, 1, 1, WIDTH, generator=stream).double())
    return found


def _stream(seed: int, purpose: str) -> torch.Generator:
    return random_stream(seed, f"demonstration of {purpose}")
