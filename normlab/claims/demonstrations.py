"""Claims that are shown on numbers or on a network directly, without training: their arithmetic.

Each function takes a seed for what it draws and returns named figures.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from normlab.claims.claim import DEMONSTRATIONS
from normlab.config import Config, compose
from normlab.errors import RecordError
from normlab.networks import (
    CNN,
    BatchNorm,
    ConvNet,
    LayerNorm,
    NormActivation,
    build_model,
    fill_softmax,
    he,
    masked_softmax,
)
from normlab.runs import read_run, read_weights
from normlab.training import evaluate, random_stream

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


def grown_error(folder: Path, depth: int) -> Figures:
    """C16: train error of a trained plain CNN, and of the same grown to `depth` by identity layers.

    The new layers stand at each stage's end: convolutions that copy their input, BatchNorm with
    γ = √(Var+ε) and β = E of what comes in, and a ReLU that finds nothing negative. Raises
    RecordError where the run kept no weights or is no plain post-activation BatchNorm ReLU CNN.
    """
    config = read_run(folder).config
    model = config.model
    if not isinstance(model, CNN) or (
        (model.residual, model.block, model.activation) != (False, "post", "relu")
        or not isinstance(config.norm, BatchNorm)
        or not (config.norm.affine and config.norm.position == "before" and not config.norm.noise)
    ):
        raise RecordError(f"{folder}: only a plain CNN with ReLU after BatchNorm can be grown")
    dataset = config.data.load(torch.device("cpu"))

    def build(config: Config) -> ConvNet:
        stream = random_stream(config.seed, "init")
        network = build_model(config, dataset.shape, dataset.classes, stream)
        assert isinstance(network, ConvNet)
        return network.eval()

    shallow = build(config)
    shallow.load_state_dict(read_weights(folder))
    deeper = model.model_copy(update={"depth": depth})
    grown = build(config.model_copy(update={"model": deeper}))
    inputs = _stage_outputs(shallow, dataset.train_images)
    kept = shallow.state_dict()
    missing = grown.load_state_dict(kept, strict=False).missing_keys
    with torch.no_grad():
        for name, module in grown.named_modules():
            if f"{name}.weight" not in missing:
                continue
            if isinstance(module, nn.Conv2d):
                nn.init.dirac_(module.weight)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                variance, mean = inputs[name.split(".")[1]]
                module.running_mean, module.running_var = mean.clone(), variance.clone()
                module.weight.copy_((variance + module.eps).sqrt())
                module.bias.copy_(mean)
    errors = [1 - evaluate(net, dataset, config.training).train_acc for net in (shallow, grown)]
    return {"shallow": errors[0], "grown": errors[1], "layers": float(depth - model.depth)}


def _stage_outputs(network: ConvNet, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Variance and mean of every channel at the end of each stage, over samples and positions."""
    sums: dict[str, list[Tensor]] = {}

    def add(name: str, output: Tensor) -> None:
        wide = output.double()
        count = wide.new_tensor(wide[:, 0].numel())
        parts = [wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), count]
        before = sums.get(name, [torch.zeros_like(part) for part in parts])
        sums[name] = [a + b for a, b in zip(before, parts, strict=True)]

    handles = [
        stage.register_forward_hook(lambda _, __, output, name=name: add(name, output))
        for name, stage in network.body.named_children()
    ]
    with torch.no_grad():
        for part in torch.split(images, 500):
            network(part)
    for handle in handles:
        handle.remove()
    return {
        name: ((squares / count - (total / count) ** 2).float(), (total / count).float())
        for name, (total, squares, count) in sums.items()
    }


def _stream(seed: int, purpose: str) -> torch.Generator:
    return random_stream(seed, f"demonstration of {purpose}")
