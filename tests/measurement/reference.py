"""The measurements again by plain autograd, written without hooks: what the tests compare with."""

import math
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F

from normlab.config import PROBES as REGISTRY
from normlab.measurement import observation as observing
from normlab.networks import build_model

SNAPSHOT_PROBES = {
    name: probe.measure
    for name, probe in REGISTRY.items()
    if probe.measure and probe.role is None and not probe.of_moves
}


def snapshot(model, layers, images, labels, names):
    return observing.snapshot(model, layers, observing.ProbeBatch(images, labels, "softmax"), names)


SHAPE, CLASSES, BATCH = (2, 8, 8), 5, 6
OFFSET = 2  # of biases and β: some units are dead in every nonlinearity that can be, not all
PROBES = list(SNAPSHOT_PROBES)

NORMS = [
    ("none", {}),
    ("wn", {}),
    *(
        (norm, {"position": position, **({"groups": 2} if norm == "gn" else {})})
        for norm, position in product(("bn", "ln", "gn", "in", "rms"), ("before", "after"))
    ),
]
MLPS = [("mlp", {"depth": 5, "width": 8, "residual": residual}) for residual in (False, True)]
CNNS = [
    ("cnn", {"depth": 8, "width": 4, "block": block, **skip})
    for block, skip in product(
        ("post", "pre"),
        ({"residual": False}, *({"residual": True, "shortcut": s} for s in "AB")),
    )
]
ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "identity")


def label(value):
    if isinstance(value, str):
        return value
    name, options = value
    shown = [str(v) if isinstance(v, str) else k for k, v in options.items() if v is not False]
    return "-".join([name, *(s for s in shown if s not in ("depth", "width", "groups"))])


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def probe_batch(dtype=torch.float64, batch=BATCH, shape=SHAPE):
    generator = stream(1)
    images = torch.randn(batch, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.randint(CLASSES, (batch,), generator=generator)


def stirred(config, seed=0):
    """A float64 network whose biases, γ, β and g are far from where initialization put them."""
    generator = stream(seed)
    model = build_model(config, SHAPE, CLASSES, generator).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.mul_(1 + 0.3 * noise)
            if parameter.ndim == 1:
                offset = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(OFFSET * offset)
    return model


# ------------------------------------------------------------------ the reference forward pass


def normal_cdf(x):
    return (1 + torch.erf(x / math.sqrt(2))) / 2


def normal_density(x):
    return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def logistic(x):
    return 1 / (1 + torch.exp(-x))


# φ and φ′ in closed form.
FUNCTIONS = {
    "relu": (lambda x: x * (x > 0), lambda x: (x > 0) * 1.0),
    "leaky_relu": (
        lambda x: torch.where(x > 0, x, 0.01 * x),
        lambda x: torch.where(x > 0, 1.0, 0.01),
    ),
    "gelu": (lambda x: x * normal_cdf(x), lambda x: normal_cdf(x) + x * normal_density(x)),
    "silu": (
        lambda x: x * logistic(x),
        lambda x: logistic(x) * (1 + x * (1 - logistic(x))),
    ),
    "tanh": (torch.tanh, lambda x: 1 / torch.cosh(x) ** 2),
    "sigmoid": (logistic, lambda x: logistic(x) * logistic(-x)),
    "identity": (lambda x: x, torch.ones_like),
}


class ByHand:
    """A network's forward pass from its named parameters, layer for layer, kept as it goes."""

    def __init__(self, config, model):
        self.model, self.norm = config.model, config.norm
        self.function, self.derivative = FUNCTIONS[config.model.activation]
        self.values = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.weights, self.received, self.z, self.slopes = [], [], [], []
        self.scales = []  # γ and β of the norm between each layer and the next

    def weight(self, name):
        if self.norm.name != "wn":
            return self.values[f"{name}.weight"]
        g, v = (self.values[f"{name}.parametrizations.weight.original{i}"] for i in (0, 1))
        length = (v**2).flatten(1).sum(dim=1).sqrt()
        return g * v / length.reshape(g.shape)

    def layer(self, name, x, stride=1, *, counts=True):
        weight = self.weight(name).requires_grad_()
        bias = self.values.get(f"{name}.bias")
        if weight.ndim == 2:
            z = F.linear(x, weight, bias)
        else:
            z = F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)
        if counts:
            self.weights.append(weight)
            self.received.append(x)
            self.z.append(z)
        return z

    def normalize(self, name, x):
        norm = self.norm
        if norm.name in ("none", "wn"):
            return x
        rows = x if x.ndim == 4 else x[:, :, None, None]
        batch, channels = rows.shape[:2]
        if norm.name == "bn":
            groups, axes = rows, (0, 2, 3)
        elif norm.name == "in" and x.ndim == 4:
            groups, axes = rows, (2, 3)
        else:
            count = norm.groups if norm.name == "gn" else 1
            groups, axes = rows.reshape(batch, count, channels // count, *rows.shape[2:]), (2, 3, 4)
        if norm.name != "rms":
            groups = groups - groups.mean(axes, keepdim=True)
        scale = (groups.square().mean(axes, keepdim=True) + norm.eps).sqrt()
        y = (groups / scale).reshape(rows.shape)
        inner = f"{name}.1" if norm.name == "in" and x.ndim == 2 else name
        gamma = self.values.get(f"{inner}.weight")
        beta = self.values.get(f"{inner}.bias")
        if gamma is not None:
            y = y * gamma[:, None, None]
        if beta is not None:
            y = y + beta[:, None, None]
        return y.reshape(x.shape)

    def activate(self, x):
        self.slopes.append(self.derivative(x.detach()))
        return self.function(x)

    @property
    def norm_first(self):
        return getattr(self.norm, "position", "before") == "before"

    def unit(self, name, z, skip=0):
        inner = f"{name}.norm.1" if self.norm.name == "in" and z.ndim == 2 else f"{name}.norm"
        self.scales.append([self.values.get(f"{inner}.{part}") for part in ("weight", "bias")])
        if self.norm_first:
            return self.activate(self.normalize(f"{name}.norm", z) + skip)
        return self.normalize(f"{name}.norm", self.activate(z + skip))

    def mlp(self, x):
        h = x.reshape(len(x), -1)
        for i in range(1, self.model.depth):
            u = self.unit(f"body.hidden{i}.unit", self.layer(f"body.hidden{i}.linear", h))
            h = h + u if self.model.residual and i > 1 else u
        return self.layer("output", h)

    def skip(self, name, x, channels, stride):
        if not self.model.residual:
            return 0
        if x.shape[1] == channels:
            return x
        if self.model.shortcut == "A":
            y = x[:, :, ::stride, ::stride]
            return torch.cat(
                [y, torch.zeros_like(y).repeat(1, channels // x.shape[1] - 1, 1, 1)], 1
            )
        if self.model.block == "pre":
            return self.layer(f"{name}.shortcut", x, stride, counts=False)
        y = self.layer(f"{name}.shortcut.0", x, stride, counts=False)
        return self.normalize(f"{name}.shortcut.1", y)

    def cnn(self, x):
        pre = self.model.block == "pre"
        h = self.layer("stem", x)
        if not pre:
            h = self.unit("stem_unit", h)
        for stage in (1, 2, 3):
            for block in range(1, (self.model.depth - 2) // 6 + 1):
                name = f"body.stage{stage}.block{block}"
                stride = 2 if stage > 1 and block == 1 else 1
                skip = self.skip(name, h, self.model.width * 2 ** (stage - 1), stride)
                if pre:
                    z = self.layer(f"{name}.conv1", self.unit(f"{name}.unit1", h), stride)
                    h = self.layer(f"{name}.conv2", self.unit(f"{name}.unit2", z)) + skip
                else:
                    z = self.layer(f"{name}.conv1", h, stride)
                    z = self.layer(f"{name}.conv2", self.unit(f"{name}.unit1", z))
                    h = self.unit(f"{name}.unit2", z, skip)
        if pre:
            h = self.unit("final_unit", h)
        return self.layer("output", h.mean(dim=(2, 3)))

    def measure(self, images, labels):
        """Measurements by name, a list over the layers each."""
        logits = self.mlp(images) if self.model.name == "mlp" else self.cnn(images)
        chosen = logits[torch.arange(len(labels)), labels]
        loss = (torch.logsumexp(logits, dim=1) - chosen).mean()
        gradients = torch.autograd.grad(loss, [*self.z, *self.weights])
        deltas, by_weight = gradients[: len(self.z)], gradients[len(self.z) :]
        activations = [*self.received[1:], logits]
        gains, shifts = zip(*self.scales, (None, None), strict=True)
        dead = [(s.abs() < 0.01).all(dim=0).double().mean() for s in self.slopes]
        return {
            "grad_norm": [(g**2).sum().sqrt() for g in by_weight],
            "delta_rms": [(len(d) * (d**2).sum() / d[0].numel()).sqrt() for d in deltas],
            "mean_delta": [d.sum(dim=0).norm() for d in deltas],
            "norm_gain": [root_mean_square(gamma) for gamma in gains],
            "norm_shift": [root_mean_square(beta) for beta in shifts],
            "weight_norm": [(w**2).sum().sqrt() for w in self.weights],
            "act_mean": [a.mean() for a in activations],
            "act_std": [((a - a.mean()) ** 2).mean().sqrt() for a in activations],
            "dead_fraction": [*dead, torch.tensor(math.nan)],
            "sample_cosine": [pairwise_cosine(a.detach().flatten(1)) for a in activations],
            "centred_cosine": [mean_correlation(a.detach().flatten(1)) for a in activations],
            "gradient_cosine": [cosine_of_those_not_zero(d.flatten(1)) for d in deltas],
            "least_gradient": [d.flatten(1).norm(dim=1).min() for d in deltas],  # of a sample
            "effective_rank": [exponential_entropy(a.detach().flatten(1)) for a in activations],
        }


def root_mean_square(x):
    return torch.tensor(math.nan) if x is None else (x**2).mean().sqrt()


def pairwise_cosine(a):
    """The mean over ordered pairs, each pair by itself; two zero vectors are alike."""
    cosines = []
    for i, j in product(range(len(a)), repeat=2):
        if i != j:
            lengths = a[i].norm() * a[j].norm()
            alike = float(not a[i].any() and not a[j].any())
            cosines.append(a[i] @ a[j] / lengths if lengths else torch.tensor(alike).double())
    return torch.stack(cosines).mean()


def mean_correlation(a):
    """The mean over pairs of NumPy's own correlation; of vectors of equal entries as above."""
    flat = (a.max(dim=1).values - a.min(dim=1).values) <= 1e-13 * a.abs().amax(dim=1)
    with np.errstate(invalid="ignore"):
        found = np.corrcoef(a.numpy())
    for i, j in product(range(len(a)), repeat=2):
        if flat[i] or flat[j]:
            found[i, j] = float(flat[i] and flat[j])
    return torch.tensor(found[~np.eye(len(a), dtype=bool)].mean())


def cosine_of_those_not_zero(a):
    """The mean over pairs of vectors that have a direction; NaN of fewer than two."""
    return pairwise_cosine(a[a.any(dim=1)]) if a.any(dim=1).sum() > 1 else torch.tensor(math.nan)


def exponential_entropy(a):
    """Of the normalized singular values that NumPy finds in a matrix."""
    values = np.linalg.svd(a.numpy(), compute_uv=False)
    shares = values[values > 0] / values.sum()
    entropy = -(shares * np.log(shares)).sum()
    return torch.tensor(math.exp(entropy) if len(shares) else 0, dtype=torch.float64)


def table(measured, names):
    return torch.stack([torch.stack([v.detach().double() for v in measured[n]]) for n in names], 1)


def assert_same(actual, expected, atol=1e-14):
    # The absolute part is for a mean or a cosine that cancels to nearly nothing.
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=atol, equal_nan=True)
