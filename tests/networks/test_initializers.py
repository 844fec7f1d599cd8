"""Initialization schemes: their distributions, and what they do to the signal in a deep network."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy.integrate import quad
from torch import nn

from normlab.config import INITIALIZERS
from normlab.measurement import ProbeBatch, snapshot
from normlab.networks import Nonlinearity, build_model, gain_of, moments, weight_layers
from normlab.networks.initializers import initialize

OUT, IN = 400, 900  # 360 000 weights: a sample standard deviation within 0.12 % (one σ)
FAN_OUT, FAN_IN = 96 * 9, 64 * 9  # of a 3×3 convolution from 64 to 96 channels

VARIANCES = {
    "he": lambda fan_in, fan_out: 2 / fan_in,  # noqa: ARG005
    "he_out": lambda fan_in, fan_out: 2 / fan_out,  # noqa: ARG005
    "xavier": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1 / fan_in,  # noqa: ARG005
}
LAYERS = {
    "linear": (lambda bias: nn.Linear(IN, OUT, bias=bias), IN, OUT),
    "conv": (lambda bias: nn.Conv2d(64, 96, 3, bias=bias), FAN_IN, FAN_OUT),
}


def filled(scheme, kind="linear", *, gain=1.0, std=None, bias_std=0.0, seed=0, bias=True):
    layer = LAYERS[kind][0](bias)
    generator = torch.Generator().manual_seed(seed)
    model = SimpleNamespace(init=scheme, init_gain=gain, init_std=std, bias_std=bias_std)
    initialize(layer, model, generator)
    return layer


def expected_std(family, kind):
    return math.sqrt(VARIANCES[family](*LAYERS[kind][1:]))


# ------------------------------------------------------------------------------- distributions


@pytest.mark.parametrize("gain", [1.0, 1.7])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("shape", ["normal", "uniform"])
@pytest.mark.parametrize("family", VARIANCES)
def test_moments_of_each_scheme(family, shape, kind, gain):
    weight = filled(f"{family}_{shape}", kind, gain=gain).weight.detach().double()
    sigma = gain * expected_std(family, kind)
    count = weight.numel()
    assert weight.std().item() == pytest.approx(sigma, rel=5 / math.sqrt(2 * count))
    assert abs(weight.mean().item()) < 5 * sigma / math.sqrt(count)
    # Kurtosis tells the shapes apart: 3 for a Gaussian, 9/5 for a uniform distribution.
    kurtosis = ((weight / sigma) ** 4).mean().item()
    assert kurtosis == pytest.approx(3 if shape == "normal" else 9 / 5, rel=0.1)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("family", VARIANCES)
def test_uniform_bounds(family, kind):
    """±√3 σ; for xavier that is Glorot & Bengio's ±√6/√(n_in + n_out)."""
    weight = filled(f"{family}_uniform", kind).weight
    bound = math.sqrt(3) * expected_std(family, kind)
    if family == "xavier":
        fan_in, fan_out = LAYERS[kind][1:]
        assert bound == pytest.approx(math.sqrt(6) / math.sqrt(fan_in + fan_out))
    for extreme in (weight.max().item(), -weight.min().item()):
        assert 0.999 * bound < extreme <= bound * (1 + 1e-6)  # float32


def test_fan_in_of_a_convolution_counts_kernel_positions():
    """Against PyTorch's own, which must see the same distribution from the same generator."""
    ours = filled("he_normal", "conv").weight
    theirs = torch.empty_like(ours)
    nn.init.kaiming_normal_(theirs, nonlinearity="relu", generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.detach(), theirs)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("std", [0.0, 0.01, 2.0])
def test_normal_has_the_given_standard_deviation_whatever_the_fan(kind, std):
    weight = filled("normal", kind, std=std, gain=3.0).weight.detach()
    assert weight.std().item() == pytest.approx(3 * std, rel=0.02)


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
@pytest.mark.parametrize(
    "layer", [nn.Linear(30, 20), nn.Linear(20, 30), nn.Conv2d(3, 20, 3), nn.Conv2d(2, 40, 3)]
)
def test_orthogonal_rows_or_columns(layer, gain):
    generator = torch.Generator().manual_seed(0)
    model = SimpleNamespace(init="orthogonal", init_gain=gain, init_std=None, bias_std=0)
    initialize(layer, model, generator)
    w = layer.weight.detach().flatten(1).double()
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    expected = gain**2 * torch.eye(len(product), dtype=torch.float64)
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scheme", list(INITIALIZERS))
def test_gain_0_makes_zero_weights(scheme):
    layer = filled(scheme, gain=0.0, std=0.5 if scheme == "normal" else None)
    assert not layer.weight.any()


@pytest.mark.parametrize("scheme", [name for name in INITIALIZERS if name != "pytorch"])
def test_biases(scheme):
    std = 0.5 if scheme == "normal" else None
    assert not filled(scheme, std=std).bias.any()
    bias = filled(scheme, std=std, bias_std=0.3, gain=7.0).bias  # no gain
    assert bias.std().item() == pytest.approx(0.3, rel=5 / math.sqrt(2 * OUT))
    assert filled(scheme, std=std, bias=False).bias is None


@pytest.mark.parametrize("kind", LAYERS)
def test_pytorchs_biases_are_by_fan_in_whatever_the_gain(kind):
    bias, fan_in = filled("pytorch", kind, gain=7.0).bias.detach(), LAYERS[kind][1]
    bound = 1 / math.sqrt(fan_in)
    assert 0.9 * bound < bias.abs().max().item() <= bound * (1 + 1e-6)
    assert bias.std().item() == pytest.approx(
        bound / math.sqrt(3), rel=5 / math.sqrt(2 * len(bias))
    )
    assert filled("pytorch", kind, bias=False).bias is None


@pytest.mark.parametrize("scheme", list(INITIALIZERS))
def test_weights_are_a_function_of_the_generator_alone(scheme):
    std = 0.5 if scheme == "normal" else None
    random_state = torch.get_rng_state()
    first, again, other = (
        filled_beside_torch(scheme, std, seed=seed, global_seed=global_seed)
        for seed, global_seed in ((3, 0), (3, 1), (4, 0))
    )
    for name in ("weight", "bias"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        if (scheme, name) == ("dirac", "weight"):
            continue  # is not drawn
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert torch.equal(torch.get_rng_state(), random_state)


def filled_beside_torch(scheme, std, *, seed, global_seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(global_seed)
        return filled(scheme, std=std, bias_std=0.1, seed=seed)


@pytest.mark.parametrize("inputs", [5, 8])
def test_delta_orthogonal_keeps_norms_exactly(inputs):
    """Xiao et al. 2018: whatever the input and the depth, where there are no fewer units."""
    layer = nn.Conv2d(inputs, 8, 3, padding=1)
    model = SimpleNamespace(init="delta_orthogonal", init_gain=1.0, init_std=None, bias_std=0)
    initialize(layer, model, torch.Generator().manual_seed(0))
    x = torch.randn(4, inputs, 6, 7, dtype=torch.float64)
    y = layer.double()(x)
    torch.testing.assert_close(y.square().sum(1), x.square().sum(1), rtol=1e-5, atol=1e-5)
    assert layer.weight.flatten(2)[:, :, [0, 1, 2, 3, 5, 6, 7, 8]].abs().max() == 0


@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_dirac_is_the_identity(gain):
    """Zagoruyko & Komodakis 2017, and PyTorch's own dirac_."""
    model = SimpleNamespace(init="dirac", init_gain=gain, init_std=None, bias_std=0)
    for layer, x in (
        (nn.Conv2d(4, 6, 3, padding=1), torch.randn(2, 4, 5, 5)),
        (nn.Linear(4, 6), torch.randn(2, 4)),
    ):
        initialize(layer, model, torch.Generator())
        y = layer(x)
        torch.testing.assert_close(y[:, :4], gain * x, rtol=0, atol=0)
        assert not y[:, 4:].any()
    theirs = nn.init.dirac_(torch.empty(6, 4, 3, 3))
    conv = nn.Conv2d(4, 6, 3)
    model.init_gain = 1.0
    initialize(conv, model, torch.Generator())
    assert torch.equal(conv.weight, theirs)


@pytest.mark.parametrize("kind", LAYERS)
def test_pytorchs_own_initialization(kind):
    """U[±1/√fan_in], biases too: the extremes and moments that nn.Linear and nn.Conv2d have."""
    ours, theirs = filled("pytorch", kind), LAYERS[kind][0](True)
    bound = 1 / math.sqrt(LAYERS[kind][1])
    for mine, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        for values in (mine, other):
            assert 0.95 * bound < values.abs().max().item() <= bound * (1 + 1e-6)
        assert mine.std().item() == pytest.approx(other.std().item(), rel=0.12)
    assert ours.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)


# ------------------------------------------------------------------------------ the gain `auto`


def fixed_gain(activation, init="lecun_normal"):
    return gain_of(
        SimpleNamespace(activation=activation, init=init, init_gain="auto", init_std=None, width=64)
    )


def test_the_gain_that_keeps_variances_is_the_papers():
    assert fixed_gain("relu", "he_normal") == pytest.approx(1)  # He et al. 2015
    assert fixed_gain("relu", "pytorch") == pytest.approx(math.sqrt(6))
    assert fixed_gain("prelu") == pytest.approx(math.sqrt(2 / (1 + 0.25**2)))  # the same, eq. 15
    assert fixed_gain("selu") == pytest.approx(1)  # Klambauer et al. 2017: the fixed point (0, 1)
    assert moments("selu", 1.0)[:2] == pytest.approx((0, 1), abs=1e-6)
    assert fixed_gain("tanh") == pytest.approx(1)  # Schoenholz et al. 2017: χ₁ = σ_w² φ′(0)²
    assert fixed_gain("erf") == pytest.approx(math.sqrt(math.pi) / 2)


@pytest.mark.parametrize("activation", ["elu", "selu", "mish", "gelu", "silu", "prelu", "sigmoid"])
def test_the_gain_that_keeps_variances_keeps_those_of_a_network(configure, activation):
    """z of every layer has a second moment of 1, by scipy's quadrature and in a wide network."""

    def squared(u):
        value = Nonlinearity(activation).double()(torch.tensor([u], dtype=torch.float64)).item()
        return value**2 * math.exp(-u * u / 2) / math.sqrt(2 * math.pi)

    second = sum(quad(squared, *ends)[0] for ends in ((-12, 0), (0, 12)))
    assert fixed_gain(activation) == pytest.approx(second**-0.5, rel=1e-5)
    config = configure(
        *("mlp", "none"),
        **{"depth": 6, "width": 1024, "init": "lecun_normal", "init_gain": "auto"},
        activation=activation,
    )
    model = build_model(config, (1, 16, 16), 10, torch.Generator().manual_seed(0))
    seen = []
    for layer in weight_layers(model)[:-1]:
        layer.module.register_forward_hook(
            lambda *args: seen.append(args[2].square().mean().item())
        )
    # Inputs of such a second moment that the first layer's z has one of 1.
    model(
        torch.randn(64, 1, 16, 16, generator=torch.Generator().manual_seed(1))
        / fixed_gain(activation)
    )
    assert seen == pytest.approx([1] * 5, abs=0.2)


def test_initialization_records_no_gradient():
    layer = filled("he_normal", bias_std=1.0)
    for parameter in layer.parameters():
        assert parameter.is_leaf
        assert parameter.requires_grad


# ----------------------------------------------------------- the signal through a deep network


def deltas(config, *, batch, side, seed=0):
    """δ of the hidden layers at initialization on Gaussian images with random labels."""
    generator = torch.Generator().manual_seed(seed)
    model = build_model(config, (1, side, side), 10, generator)
    images = torch.randn(batch, 1, side, side, generator=generator)
    labels = torch.randint(10, (batch,), generator=generator)
    batch = ProbeBatch(images, labels, "softmax")
    return snapshot(model, weight_layers(model), batch, ["delta_rms"])[:-1, 0]


def factor_per_layer(delta):
    """The factor of δ for one layer further back: the slope of log δ, an ordinary fit."""
    log = delta.log()
    index = torch.arange(len(log), dtype=log.dtype)
    index, log = index - index.mean(), log - log.mean()
    return math.exp(-((index * log).sum() / (index**2).sum()).item())


@pytest.mark.parametrize(
    ("init", "factor", "tolerance"),
    [("he_normal", 1.0, 0.03), ("lecun_normal", math.sqrt(0.5), 0.02)],
)
def test_he_keeps_the_gradient_of_rectifiers_and_1_over_n_halves_its_square(
    configure, init, factor, tolerance
):
    """C09; He et al. 2015. A rectifier passes half of the squared gradient."""
    config = configure("mlp", depth=40, width=512, init=init)
    delta = deltas(config, batch=32, side=16)
    assert factor_per_layer(delta) == pytest.approx(factor, abs=tolerance)


@pytest.mark.parametrize(
    ("batch", "squared", "tolerance"),
    [
        (128, math.pi / (math.pi - 1), 0.03),
        (8, 1.79, 0.05),  # no closed form: the value of science.md; fluctuates more
    ],
)
def test_batch_norm_without_skips_explodes(configure, batch, squared, tolerance):
    """C10; Yang et al. 2019, theorem 8: δ² grows by π/(π−1) a layer as B → ∞, more at small B."""
    config = configure("mlp", "bn", depth=30, width=512)
    delta = deltas(config, batch=batch, side=16)
    interior = delta[2:]  # the images are centred, what every later layer receives is not
    assert factor_per_layer(interior) ** 2 == pytest.approx(squared, rel=tolerance)


@pytest.mark.parametrize(
    ("norm", "residual", "low", "high"),
    [
        ("none", False, 0, 1e-8),  # vanishes
        ("bn", False, 0.05, 20),
        ("none", True, 0.1, 30),
        ("ln", False, 0, 1e-4),  # does not rescue
    ],
)
def test_sigmoid_depth_20(configure, norm, residual, low, high):
    """C08: first over last hidden layer; only batch norm and skips keep the gradient."""
    config = configure(
        "mlp",
        norm,
        depth=20,
        width=256,
        activation="sigmoid",
        init="lecun_normal",
        residual=residual,
    )
    delta = deltas(config, batch=256, side=16)
    ratio = (delta[0] / delta[-1]).item()
    assert low < ratio < high


@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (200, 200)])
@pytest.mark.parametrize("name", sorted(set(INITIALIZERS) - {"dirac"}))
def test_theory_knows_the_variance_of_the_weights_of_any_layer(name, shape):
    """fan-in times their variance, of layers that widen, narrow and keep the width."""
    scheme, std = INITIALIZERS[name], 0.07 if INITIALIZERS[name].takes_std else None
    weight = torch.empty(shape)
    scheme.fill(weight, 1.3, std, torch.Generator().manual_seed(0))
    fan_out, fan_in = shape
    measured = fan_in * weight.square().mean().item()
    assert scheme.variance(fan_in, fan_out, 1.3, std) == pytest.approx(measured, rel=0.03)
