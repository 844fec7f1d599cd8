"""Every measurement against plain autograd in float64, written without hooks; and no trace left."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from normlab.config import PROBES as REGISTRY
from normlab.measurement import (
    Observation,
    gradient_norms,
    update_ratios,
    watched_weights,
)
from normlab.measurement import observation as observing
from normlab.measurement.probes import DEAD_SLOPE
from normlab.networks import build_model, weight_layers


def snapshot(model, layers, images, labels, names):
    return observing.snapshot(model, layers, observing.ProbeBatch(images, labels, "softmax"), names)


SNAPSHOT_PROBES = {name: probe.measure for name, probe in REGISTRY.items() if probe.measure}

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
        dead = [(s.abs() < 0.01).all(dim=0).double().mean() for s in self.slopes]
        return {
            "grad_norm": [(g**2).sum().sqrt() for g in by_weight],
            "delta_rms": [(len(d) * (d**2).sum() / d[0].numel()).sqrt() for d in deltas],
            "mean_delta": [d.sum(dim=0).norm() for d in deltas],
            "weight_norm": [(w**2).sum().sqrt() for w in self.weights],
            "act_mean": [a.mean() for a in activations],
            "act_std": [((a - a.mean()) ** 2).mean().sqrt() for a in activations],
            "dead_fraction": [*dead, torch.tensor(math.nan)],
            "sample_cosine": [pairwise_cosine(a.detach().flatten(1)) for a in activations],
        }


def pairwise_cosine(a):
    """The mean over ordered pairs, each pair by itself; two zero vectors are alike."""
    cosines = []
    for i, j in product(range(len(a)), repeat=2):
        if i != j:
            lengths = a[i].norm() * a[j].norm()
            alike = float(not a[i].any() and not a[j].any())
            cosines.append(a[i] @ a[j] / lengths if lengths else torch.tensor(alike).double())
    return torch.stack(cosines).mean()


def table(measured, names):
    return torch.stack([torch.stack([v.detach().double() for v in measured[n]]) for n in names], 1)


def assert_same(actual, expected, atol=1e-14):
    # The absolute part is for a mean or a cosine that cancels to nearly nothing.
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=atol, equal_nan=True)


def pools_a_constant(config):
    """Whether instance norm comes right before the average over positions, which is then β.

    The logits do not depend on the image, and every gradient below them is rounding noise.
    """
    linear_behind = config.model.activation == "identity"
    return (
        config.model.name == "cnn"
        and config.norm.name == "in"
        and (config.norm.position == "after" or linear_behind)
    )


def assert_measures_as_by_hand(config):
    model = stirred(config)
    layers = weight_layers(model)
    images, labels = probe_batch()
    expected = ByHand(config, model).measure(images, labels)

    # Under BatchNorm mean_delta is 0 but for rounding.
    atol = 1e-10 if pools_a_constant(config) else 1e-12 if config.norm.name == "bn" else 1e-14
    assert_same(snapshot(model, layers, images, labels, PROBES), table(expected, PROBES), atol)
    with watched_weights(layers) as weights:
        F.cross_entropy(model(images), labels).backward()
    assert_same(gradient_norms(weights)[:, None], table(expected, ["grad_norm"]), atol)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS, ids=label)
@pytest.mark.parametrize("network", MLPS + CNNS, ids=label)
def test_measurements_are_those_of_plain_autograd(configure, network, norm, activation):
    config = configure(network[0], norm[0], activation=activation, **network[1], **norm[1])
    assert_measures_as_by_hand(config)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("mlp", {"depth": 1}),
        ("mlp", {"depth": 2, "residual": True}),
        ("cnn", {"depth": 14, "width": 2, "residual": True, "shortcut": "B"}),  # 2 blocks a stage
        ("cnn", {"depth": 14, "width": 2, "residual": True, "block": "pre"}),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_measurements_at_other_depths_without_biases_or_affine(configure, model, changes, affine):
    assert_measures_as_by_hand(configure(model, "bn", bias=False, affine=affine, **changes))


@pytest.mark.parametrize("activation", sorted({*ACTIVATIONS} - {"identity", "leaky_relu"}))
def test_reference_networks_have_dead_and_living_units(configure, activation):
    """Else a dead_fraction that is constant would pass the comparison above."""
    config = configure("cnn", "none", depth=8, width=4, activation=activation)
    dead = ByHand(config, stirred(config)).measure(*probe_batch())["dead_fraction"][:-1]
    assert any(0 < value < 1 for value in dead)


@pytest.mark.parametrize("network", CNNS, ids=label)
def test_instance_norm_right_before_pooling_shuts_the_image_out(configure, network):
    """The mean over positions of a channel that has just been centred is β, whatever the image."""
    config = configure("cnn", "in", position="after", **network[1])
    model = stirred(config)
    images, labels = probe_batch()
    logits = model(images)
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))
    names = ["delta_rms", "sample_cosine"]
    delta, cosine = snapshot(model, weight_layers(model), images, labels, names).T
    assert delta[:-1].max() < 1e-10 < 0.1 < delta[-1]
    assert cosine[-1] == pytest.approx(1)


# -------------------------------------------------------------------- one measurement at a time


def observation(activation=None, delta=None, slope=None, weight=None):
    one = torch.ones(2, 1)
    return Observation(
        weight=one if weight is None else weight,
        delta=one if delta is None else delta,
        activation=one if activation is None else activation,
        slope=slope,
    )


def test_delta_rms_is_a_samples_own_root_mean_square():
    # Independent samples: the gradient of the mean loss is a sample's own gradient over B.
    own = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [0.0, 0.0]], dtype=torch.float64)
    measured = SNAPSHOT_PROBES["delta_rms"](observation(delta=own / 4))
    assert measured == pytest.approx(math.sqrt((9 + 16 + 36 + 64) / 8), rel=1e-14)


CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
every_device = pytest.mark.parametrize("device", ["cpu", CUDA])


@every_device
@pytest.mark.parametrize("scale", [1e-20, 1e-30, 1e-38])
def test_float32_gradients_do_not_underflow(scale, device):
    """Their squares are 0 in float32, yet a vanished gradient must not read as exactly 0."""
    delta = torch.full((4, 3, 2, 2), scale, device=device)
    measured = SNAPSHOT_PROBES["delta_rms"](observation(delta=delta))
    assert measured.item() == pytest.approx(4 * scale, rel=1e-6)

    weight = torch.zeros(5, 20, device=device, requires_grad=True)
    weight.grad = torch.full_like(weight, scale)
    assert gradient_norms([weight]).item() == pytest.approx(10 * scale, rel=1e-6)


@every_device
def test_small_updates_of_small_weights_do_not_underflow(device):
    before = torch.full((4,), 1e-25, device=device)
    after = before.clone()
    after[0] *= 1 + 2**-20
    ratio = update_ratios([before], [after]).item()
    assert ratio == pytest.approx(2**-20 / 2, rel=0.1)  # float32 rounds the step itself


@every_device
@pytest.mark.parametrize("scale", [1e30, 3e38])
def test_float32_explosions_do_not_overflow(scale, device):
    big = torch.tensor([[scale, -scale], [scale, scale]], device=device)
    seen = observation(activation=big, delta=big, weight=big)
    expected = {
        "delta_rms": 2 * scale,
        "weight_norm": 2 * scale,
        "act_mean": scale / 2,
        "act_std": scale * math.sqrt(3) / 2,
    }
    for name, value in expected.items():
        assert SNAPSHOT_PROBES[name](seen).item() == pytest.approx(value, rel=1e-6), name
    assert SNAPSHOT_PROBES["sample_cosine"](seen).item() == pytest.approx(0, abs=1e-12)
    weight = torch.zeros_like(big, requires_grad=True)
    weight.grad = big
    assert gradient_norms([weight]).item() == pytest.approx(2 * scale, rel=1e-6)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 0], [2, 0]], 1),
        ([[1, 0], [-3, 0]], -1),
        ([[1, 0], [0, 5]], 0),
        ([[1, 1], [1, 0]], math.sqrt(0.5)),
        ([[0, 0], [0, 0], [0, 0]], 1),  # all forgotten
        ([[0, 0], [3, 4]], 0),
        ([[0, 0], [0, 0], [3, 4]], 1 / 3),  # one pair of three is alike
        ([[1, 0], [2, 0], [0, 3]], 1 / 3),
        ([[1e-30, 0], [1e-30, 0]], 1),  # small is not zero, even in float32
        ([[1e-30, 0], [0, 0]], 0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sample_cosine_counts_pairs(vectors, expected, dtype):
    seen = observation(activation=torch.tensor(vectors, dtype=dtype))
    tolerance = 1e-7 if dtype == torch.float32 else 1e-14
    assert SNAPSHOT_PROBES["sample_cosine"](seen).item() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["act_mean", "act_std", "sample_cosine"])
@pytest.mark.parametrize("where", ["one", "all"])
def test_activations_that_are_not_finite_have_no_statistics(name, bad, where):
    activation = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    activation[0 if where == "one" else slice(None)] = bad
    assert not math.isfinite(SNAPSHOT_PROBES[name](observation(activation=activation)))


def test_dead_fraction_needs_every_sample_and_a_slope_below_the_threshold():
    below, above = DEAD_SLOPE * (1 - 1e-9), DEAD_SLOPE
    slope = torch.tensor([[0, 0, -below, above], [0, 1, below, 0]], dtype=torch.float64)
    measured = SNAPSHOT_PROBES["dead_fraction"](observation(slope=slope))
    assert measured == pytest.approx(2 / 4)


def test_only_the_output_layer_has_no_dead_fraction(configure):
    model = build_model(configure("cnn", "bn", depth=8, width=2), SHAPE, CLASSES, stream())
    names = ["dead_fraction", "act_std"]
    dead, std = snapshot(model, weight_layers(model), *probe_batch(torch.float32), names).T
    assert dead.isnan().tolist() == [False] * 7 + [True]
    assert std.isfinite().all()


def test_the_slope_of_leaky_relu_is_alive_in_float32(configure):
    """Its slope of 0.01 is the threshold itself."""
    config = configure("mlp", "none", depth=3, width=50, activation="leaky_relu")
    model = build_model(config, SHAPE, CLASSES, stream())
    with torch.no_grad():
        for layer in weight_layers(model):
            layer.module.bias.fill_(-100)
    dead = snapshot(model, weight_layers(model), *probe_batch(torch.float32), ["dead_fraction"])
    assert dead[:-1].tolist() == [[0], [0]]


@pytest.mark.parametrize("names", [["act_std", "delta_rms"], ["weight_norm"]])
def test_columns_follow_the_names_and_rows_the_layers(configure, names):
    model = stirred(configure("mlp", "ln", depth=4, width=6))
    layers, batch = weight_layers(model), probe_batch()
    everything = snapshot(model, layers, *batch, PROBES)
    measured = snapshot(model, layers, *batch, names)
    assert torch.equal(measured, everything[:, [PROBES.index(n) for n in names]])
    assert measured.shape == (4, len(names))


def test_float32_measurements_are_close_to_float64(configure):
    model = build_model(configure("cnn", "bn", depth=8, width=4), SHAPE, CLASSES, stream())
    layers = weight_layers(model)
    names = [n for n in PROBES if n != "act_mean"]  # cancels
    single = snapshot(model, layers, *probe_batch(torch.float32), names)
    double = snapshot(model.double(), layers, *probe_batch(torch.float64), names)
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-5, equal_nan=True)


# ------------------------------------------------------------------------------- training step


@pytest.mark.parametrize("norm", ["none", "bn", "wn"])
def test_update_ratio_of_an_sgd_step(configure, norm):
    """Plain SGD moves a weight by lr·∇; g and v move under weight normalization, W follows."""
    config = configure("mlp", norm, depth=4, width=6)
    model, lr = stirred(config), 0.3
    layers = weight_layers(model)
    images, labels = probe_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr)
    with watched_weights(layers) as weights:
        F.cross_entropy(model(images), labels).backward()
    before = [w.detach().clone() for w in weights]
    optimizer.step()
    measured = update_ratios(before, [layer.module.weight for layer in layers])

    reference = ByHand(config, stirred(config))
    for value in reference.values.values():
        value.requires_grad_()
    names = [*(f"body.hidden{i}.linear" for i in (1, 2, 3)), "output"]
    start = [reference.weight(name).detach().clone() for name in names]
    logits = differentiable_mlp(reference, images)
    F.cross_entropy(logits, labels).backward()
    with torch.no_grad():
        for value in reference.values.values():
            value -= lr * value.grad
        end = [reference.weight(name) for name in names]
    expected = [
        ((e - s) ** 2).sum().sqrt() / (s**2).sum().sqrt() for s, e in zip(start, end, strict=True)
    ]
    assert_same(measured[:, None], torch.stack(expected)[:, None])
    assert (measured > 0).all()


def differentiable_mlp(reference, images):
    """ByHand.mlp down to the parameters themselves: `layer` makes leaves of the weights."""
    h = images.flatten(1)
    for i in range(1, reference.model.depth):
        name = f"body.hidden{i}"
        z = F.linear(h, reference.weight(f"{name}.linear"), reference.values[f"{name}.linear.bias"])
        h = reference.function(reference.normalize(f"{name}.unit.norm", z))
    return F.linear(h, reference.weight("output"), reference.values["output.bias"])


def test_update_ratio_of_plain_sgd_is_learning_rate_times_gradient_over_weight(configure):
    model, lr = stirred(configure("cnn", "bn", depth=8, width=2)), 0.1
    layers = weight_layers(model)
    images, labels = probe_batch()
    with watched_weights(layers) as weights:
        F.cross_entropy(model(images), labels).backward()
    before = [w.detach().clone() for w in weights]
    torch.optim.SGD(model.parameters(), lr).step()
    weight_norms = torch.stack([b.norm() for b in before])
    # W − (W − lr·∇) rounds at 1e-16 of W, a relative 1e-10 of a step this small or smaller.
    torch.testing.assert_close(
        update_ratios(before, [layer.module.weight for layer in layers]),
        lr * gradient_norms(weights) / weight_norms,
        rtol=1e-9,
        atol=1e-15,
    )


def test_no_update_is_a_ratio_of_0_and_a_move_from_0_is_infinite():
    ones, zeros = torch.ones(3), torch.zeros(3)
    still, left_zero = update_ratios([ones, zeros], [ones, ones])
    assert still == 0
    assert left_zero == math.inf


def test_watching_ends_with_its_context(configure):
    """Under weight normalization W is cached only while it is watched: a later W is a new one."""
    model = stirred(configure("mlp", "wn", depth=3, width=5))
    layers = weight_layers(model)
    with watched_weights(layers) as weights:
        assert layers[0].module.weight is weights[0]
    with torch.no_grad():
        layers[0].module.parametrizations.weight.original0.mul_(2)
    torch.testing.assert_close(layers[0].module.weight, 2 * weights[0])


# ------------------------------------------------------------------------------------- no trace


def state(model):
    return {
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "gradients": {
            k: None if p.grad is None else p.grad.clone() for k, p in model.named_parameters()
        },
        "modes": [m.training for m in model.modules()],
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        "random": torch.get_rng_state(),
        "grad_enabled": torch.is_grad_enabled(),
    }


def assert_untouched(before, after):
    for part in ("tensors", "gradients"):
        assert before[part].keys() == after[part].keys()
        for name, value in before[part].items():
            other = after[part][name]
            assert (value is None) == (other is None), name
            assert value is None or torch.equal(value, other), name
    assert torch.equal(before.pop("random"), after.pop("random"))
    for part in ("modes", "requires_grad", "hooks", "grad_enabled"):
        assert before[part] == after[part]


TRACE_CASES = [
    *(("cnn", norm, {"depth": 8, "width": 4, "residual": True}) for norm in ("bn", "gn", "wn")),
    ("mlp", "bn", {"depth": 3, "width": 4}),
    ("mlp", "wn", {"depth": 3, "width": 4}),
    ("mlp", "bn", {"depth": 3, "width": 4, "noise": 0.5}),
]


@pytest.mark.parametrize("with_gradients", [True, False])
@pytest.mark.parametrize(("model", "norm", "changes"), TRACE_CASES)
def test_a_snapshot_leaves_no_trace(configure, model, norm, changes, with_gradients):
    network = build_model(configure(model, norm, **changes), SHAPE, CLASSES, stream())
    images, labels = probe_batch(torch.float32)
    if with_gradients:
        F.cross_entropy(network(images), labels).backward()  # moves the running statistics too
    before = state(network)
    snapshot(network, weight_layers(network), images, labels, PROBES)
    assert_untouched(before, state(network))
    assert images.grad_fn is None
    assert not images.requires_grad


@pytest.mark.parametrize("fault", ["images", "labels", "layer"])
def test_a_snapshot_that_fails_leaves_no_trace(configure, fault):
    network = build_model(configure("cnn", "bn", depth=8, width=4), SHAPE, CLASSES, stream())
    images, labels = probe_batch(torch.float32)
    if fault == "images":
        images = images[:, :1]
    elif fault == "labels":
        labels = labels[:2]
    else:  # fails when half of the network has run, and its running statistics have moved
        network.output = torch.nn.Linear(3, CLASSES)
    before = state(network)
    with pytest.raises((RuntimeError, ValueError)):
        snapshot(network, weight_layers(network), images, labels, PROBES)
    assert_untouched(before, state(network))


def test_a_snapshot_is_of_the_probe_batch_in_train_mode_whatever_ran_before(configure):
    """Batch statistics, not the running ones; and measuring twice is measuring once."""
    network = stirred(configure("mlp", "bn", depth=4, width=6))
    layers, batch = weight_layers(network), probe_batch()
    first = snapshot(network, layers, *batch, PROBES)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.fill_(1e3)
            module.running_var.fill_(1e6)
    again = snapshot(network, layers, *batch, PROBES)
    torch.testing.assert_close(first, again, rtol=0, atol=0, equal_nan=True)


def test_a_snapshot_can_be_taken_where_gradients_are_off(configure):
    network = stirred(configure("mlp", "ln", depth=3, width=6))
    layers, batch = weight_layers(network), probe_batch()
    expected = snapshot(network, layers, *batch, PROBES)
    with torch.no_grad():
        measured = snapshot(network, layers, *batch, PROBES)
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(measured, expected, rtol=0, atol=0, equal_nan=True)
    assert not measured.requires_grad


@pytest.mark.parametrize("norm", ["none", "wn"])
def test_watching_weights_changes_no_gradient(configure, norm):
    images, labels = probe_batch()
    gradients = []
    for watched in (True, False):
        network = stirred(configure("mlp", norm, depth=3, width=6))
        if watched:
            with watched_weights(weight_layers(network)):
                F.cross_entropy(network(images), labels).backward()
        else:
            F.cross_entropy(network(images), labels).backward()
        gradients.append([p.grad for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)
