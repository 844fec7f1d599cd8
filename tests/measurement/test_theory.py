"""Mean-field theory against numerical integration, closed forms and measured networks."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from normlab.config import ACTIVATIONS, compose
from normlab.measurement import chi, fixed_point, overview, predict
from normlab.measurement.theory import correlation, critical_weight_variance
from normlab.networks import Nonlinearity, functions, moments


def integral(function, q):
    """E[f(√q u)], u ~ N(0, 1), by adaptive quadrature, with the kink at 0 a border."""

    def integrand(u):
        return function(math.sqrt(q) * u) * math.exp(-u * u / 2) / math.sqrt(2 * math.pi)

    edges = (-40, -0.01, 0, 0.01, 40)  # a large q lets a nonlinearity saturate at once
    return sum(quad(integrand, *ends, epsabs=1e-12)[0] for ends in itertools.pairwise(edges))


def through_torch(name):
    """The library's own φ and its derivative by autograd, of a number."""

    def phi(x):
        return Nonlinearity(name).double()(torch.tensor([x], dtype=torch.float64)).item()

    def slope(x):
        free = torch.tensor([x], dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(Nonlinearity(name).double()(free), free)[0].item()

    return phi, slope


def test_theory_knows_every_activation():
    assert all(callable(part) for name in ACTIVATIONS for part in functions(name))


@pytest.mark.parametrize("q", [0.1, 3.0, 1e6])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_moments_are_integrals_of_the_librarys_activations(name, q):
    phi, slope = through_torch(name)
    expected = (
        integral(phi, q),
        integral(lambda x: phi(x) ** 2, q),
        integral(lambda x: slope(x) ** 2, q),
    )
    assert moments(name, q) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("q", [0.05, 1.0, 20.0])
def test_erf_has_closed_forms(q):
    """Williams 1997: E φ² = (2/π) asin(2q/(1+2q)), E φ′² = (4/π)/√(1+4q)."""
    _, square, slope = moments("erf", q)
    assert square == pytest.approx(2 / math.pi * math.asin(2 * q / (1 + 2 * q)), rel=1e-6)
    assert slope == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-6)


@pytest.mark.parametrize(
    ("activation", "weights", "biases", "expected"),
    [
        ("tanh", 1.76, 0.05, 1.000),
        ("tanh", 1.5, 0.05, 0.939),
        ("tanh", 4.0, 0.05, 1.342),
        ("tanh", 4.0, 0.0, 1.363),
        ("sigmoid", 1.0, 0.0, 0.0557),
        ("relu", 2.0, 0.0, 1.0),
        ("relu", 1.0, 0.3, 0.5),
        ("identity", 0.9, 0.0, 0.9),
    ],
)
def test_chi_of_published_points(activation, weights, biases, expected):
    q = fixed_point(activation, weights, biases)
    assert chi(activation, q, weights) == pytest.approx(expected, abs=6e-4)


def layer_by_layer(name, weights, biases, layers):
    """The variance of z and its factor χ, one layer after another, of inputs of second moment 1.

    By Gauss and Hermite's rule on the library's own φ and φ′.
    """
    u, density = np.polynomial.hermite_e.hermegauss(200)
    u, density = torch.from_numpy(u), torch.from_numpy(density / density.sum())
    q = weights + biases
    for _ in range(layers):
        z = (u * math.sqrt(q)).requires_grad_()
        h = Nonlinearity(name)(z)
        (slope,) = torch.autograd.grad(h.sum(), z)
        yield q, weights * (density @ slope.detach() ** 2).item()
        q = min(weights * (density @ h.detach() ** 2).item() + biases, 1e200)


POINTS = {
    # Rectifiers where z dies out, and where it grows; what is smooth is linear there.
    "relu": [(1.0, 0.0), (2.0, 0.0), (2.6, 0.0), (1.0, 0.3), (2.6, 0.3)],
    "leaky_relu": [(1.0, 0.0), (2.4, 0.0)],
    "gelu": [(1.0, 0.0), (2.1, 0.0), (2.25, 0.0), (4.5, 0.0), (1.6, 0.1), (2.3, 0.1)],
    "silu": [(1.0, 0.0), (2.4, 0.0), (2.5, 0.0), (4.5, 0.0), (1.6, 0.1), (2.6, 0.1)],
    "tanh": [(0.8, 0.0), (1.5, 0.05), (3.0, 0.1)],
    "erf": [(0.6, 0.0), (1.5, 0.05)],
    "sigmoid": [(0.8, 0.2), (3.0, 0.1)],
    "identity": [(0.9, 0.0), (1.2, 0.0), (0.9, 0.3)],
}


@pytest.mark.parametrize(
    ("name", "weights", "biases"), [(name, *point) for name in POINTS for point in POINTS[name]]
)
def test_layer_by_layer_a_network_comes_to_the_fixed_point_and_its_chi(name, weights, biases):
    *_, (q, factor) = layer_by_layer(name, weights, biases, 300)
    found = fixed_point(name, weights, biases)
    if 1e-9 < q < 1e9:
        assert found == pytest.approx(q, rel=1e-3)
    else:
        assert found == (0 if q < 1 else math.inf)
    assert chi(name, found, weights) == pytest.approx(factor, rel=1e-3)


def test_the_variance_dies_out_or_grows_as_it_does_in_a_network_of_gelu():
    """On either side of the critical line, 2.155 without biases."""
    assert critical_weight_variance("gelu", 0.0) == pytest.approx(2.155, abs=1e-3)
    assert critical_weight_variance("silu", 0.0) == pytest.approx(2.430, abs=1e-3)
    for weights, dies in ((2.0, True), (2.3, False)):
        stream = torch.Generator().manual_seed(0)
        h = torch.randn(16, 800, generator=stream)
        for _ in range(60):
            w = torch.randn(800, 800, generator=stream) * math.sqrt(weights / 800)
            h = torch.nn.functional.gelu(h @ w)
        assert (h.square().mean() < 1e-3) == dies == (fixed_point("gelu", weights, 0.0) == 0)
        assert (h.square().mean() > 3) != dies


@pytest.mark.parametrize("biases", [0.0, 0.05])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_gradient_vanishes_below_the_critical_line_and_above_it_not(name, biases):
    weights = critical_weight_variance(name, biases)
    for factor in (0.6, 0.97, 1.03):
        q = fixed_point(name, factor * weights, biases)
        assert (chi(name, q, factor * weights) < 1) == (factor < 1)


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("relu", 1.0, 1.0),  # a kink is a kink however small z is
        ("relu", 2.6, 1.0),  # and likens inputs where z grows, too
        ("gelu", 3.0, 1.0),
        ("gelu", 1.0, None),
        ("tanh", 0.8, None),
        ("identity", 1.2, None),
    ],
)
def test_where_z_dies_out_or_grows_inputs_become_alike_at_a_kink_alone(name, weights, expected):
    found, _ = correlation(name, fixed_point(name, weights, 0.0), weights, 0.0)
    assert found == expected
    # Inputs with correlations of ½ through the layers of a network.
    stream = torch.Generator().manual_seed(0)
    common, own = (torch.randn(n, 600, generator=stream) for n in (1, 24))
    h = (common + own) / math.sqrt(2)
    for _ in range(30):
        z = h @ (torch.randn(600, 600, generator=stream) * math.sqrt(weights / 600))
        h = Nonlinearity(name)(z)
    unit = z / z.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T)[~torch.eye(24, dtype=torch.bool)]
    assert cosines.mean() > 0.95 if expected else 0.35 < cosines.mean() < 0.75


@pytest.mark.parametrize(
    ("weights", "biases", "expected"), [(1.0, 0.0, 0.0), (2.0, 0.0, 2.0), (2.0, 0.1, math.inf)]
)
def test_fixed_points_of_rectifiers(weights, biases, expected):
    """2 is the variance of z in a network with He's initialization on standardized inputs."""
    assert fixed_point("relu", weights, biases) == pytest.approx(expected)
    assert fixed_point("relu", 1.0, 0.25) == pytest.approx(0.5)  # σ_b²/(1 − σ_w²/2)


def test_the_critical_line_of_tanh_starts_at_1():
    assert critical_weight_variance("tanh", 0.0) == pytest.approx(1, abs=1e-6)
    weights = critical_weight_variance("tanh", 0.05)
    assert chi("tanh", fixed_point("tanh", weights, 0.05), weights) == pytest.approx(1, abs=1e-6)


def test_correlation_is_a_fixed_point_of_the_map():
    """Against Gauss and Hermite's rule for the map at c*."""
    weights, biases = 4.0, 0.05
    q = fixed_point("tanh", weights, biases)
    c, approach = correlation("tanh", q, weights, biases)
    nodes, density = np.polynomial.hermite_e.hermegauss(150)
    density /= density.sum()
    u, v = nodes[:, None], nodes[None, :]
    left, right = q**0.5 * u, q**0.5 * (c * u + (1 - c * c) ** 0.5 * v)
    again = (weights * (density @ (np.tanh(left) * np.tanh(right)) @ density) + biases) / q
    assert again == pytest.approx(c, abs=1e-6)
    slopes = (1 - np.tanh(left) ** 2) * (1 - np.tanh(right) ** 2)
    assert approach == pytest.approx(weights * (density @ slopes @ density), abs=1e-6)
    assert correlation("tanh", fixed_point("tanh", 1.5, 0.05), 1.5, 0.05)[0] == 1


# ------------------------------------------------------------------------ against networks

COVERED = {
    "tanh": {
        **{"activation": "tanh", "init": "lecun_normal"},
        **{"init_gain": 1.2247, "bias_std": 0.2236},
    },
    "chaotic tanh": {"activation": "tanh", "init": "lecun_normal", "init_gain": 2},
    "erf": {"activation": "erf", "init": "lecun_normal"},
    "sigmoid": {"activation": "sigmoid", "init": "lecun_normal"},
    "relu": {},
    "relu 1/n": {"init": "lecun_normal"},
    "relu weight norm": {"norm": "wn"},
    "gelu": {"activation": "gelu", "init_gain": 0.8, "bias_std": 0.4},
    "silu": {"activation": "silu", "bias_std": 0.4},
    "normal": {"init": "normal", "init_std": 0.05},
    # Whose first layer of 64 inputs has another variance than those of 512.
    "tanh normal": {"activation": "tanh", "init": "normal", "init_std": 0.05},
    "tanh xavier": {"activation": "tanh", "init": "xavier_normal"},
    "gelu without biases": {"activation": "gelu", "init_gain": 1.1},
    "residual sigmoid": {"activation": "sigmoid", "init": "lecun_normal", "residual": True},
    "residual tanh": {"activation": "tanh", "residual": True},
    **{
        f"residual {name} {scale}": {"residual": True, "branch_scale": scale, **settings}
        for name, settings in {
            "tanh": {"activation": "tanh", "init": "lecun_normal", "bias_std": 0.3},
            "tanh pre": {"activation": "tanh", "init": "lecun_normal", "block": "pre"},
            "relu pre": {"block": "pre"},
            "gelu pre": {"activation": "gelu", "block": "pre", "bias_std": 0.3},
        }.items()
        for scale in ("one", "sqrt_depth", "depth")
    },
    "batch norm": {"norm": "bn"},
}


def measured_deltas(config, seed=0):
    """δ of every hidden layer of a network at initialization."""
    from normlab.measurement import ProbeBatch, snapshot
    from normlab.networks import build_model, weight_layers

    stream = torch.Generator().manual_seed(seed)
    model = build_model(config, (1, 8, 8), 10, stream)
    images = torch.randn(128, 1, 8, 8, generator=stream)
    labels = torch.randint(10, (128,), generator=stream)
    batch = ProbeBatch(images, labels, "softmax")
    return snapshot(model, weight_layers(model), batch, ["delta_rms"])[:-1, 0]


def measured_factor(config):
    """The slope of log δ over the interior layers, by another road than `diagnosis`."""
    logs = measured_deltas(config)[1:-1].log()
    index = torch.arange(len(logs)).double() - (len(logs) - 1) / 2
    return math.exp(-(index @ (logs - logs.mean()) / (index @ index)).item())


@pytest.mark.parametrize("name", sorted(COVERED))
def test_the_prediction_is_what_networks_do(name, configure):
    config = configure(**{"depth": 24, "width": 512} | COVERED[name])
    assert config.data.pixels == 64
    found = math.log(measured_factor(config))
    assert math.log(predict(config).factor) == pytest.approx(found, abs=0.015)


@pytest.mark.parametrize("scale", ["one", "sqrt_depth", "depth"])
@pytest.mark.parametrize("block", ["post", "pre"])
def test_layers_of_scaled_branches_have_the_predicted_gradient(block, scale, configure):
    """Layer by layer: only the first stands in the stream itself, so that its δ is 1/a as large."""
    settings = {"activation": "tanh", "init": "lecun_normal", "block": block}
    config = configure(depth=16, width=512, residual=True, branch_scale=scale, **settings)
    logs = torch.stack([measured_deltas(config, seed).log() for seed in range(4)]).mean(0).numpy()
    expected = np.log(predict(config).factors)
    assert logs[:-1] - logs[1:] == pytest.approx(expected, abs=0.02)
    # Of the others, whose factors are near 1 where branches are small, all together.
    grown = expected[1:].sum()
    assert logs[1] - logs[-1] == pytest.approx(grown, rel=0.15 if block == "pre" else 0.3)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=cnn"],
        ["norm=ln"],
        ["norm=bn", "model.residual=true"],
        ["model.residual=true"],  # its slopes and weights are correlated
        ["model.residual=true", "model.branch_scale=sqrt_depth"],
        ["model.residual=true", "model.block=pre", "model.branch_scale=skipinit"],
        ["model.residual=true", "model.block=pre", "model.branch_scale=normalizer_free"],  # f(x/β)
        ["model.residual=true", "model.block=pre", "model.weight_standardization=scaled"],
        ["norm=bn", "model.activation=tanh"],
        ["norm=bn", "norm.position=after"],
        ["model.depth=2"],
        ["model.init_gain=0"],
        # Where φ′ depends on the size of z, z's must be known.
        ["model.activation=tanh", "data.standardize=none"],
        ["model.activation=gelu", "data.standardize=pixel_mean"],
        ["norm=bn", "probes.batch_size=64"],  # a factor of 1.232 for δ at 32 samples, not 1.211
        ["norm=bn", "data.train_size=64", "training.batch_size=64"],
        ["norm=bn", "model.init_gain=0.01"],  # ε outweighs the variance of z
    ],
)
def test_what_theory_does_not_cover_has_no_prediction(overrides):
    given = {"model": "model=mlp", "norm": "norm=none"}
    for text in overrides:
        given[text.split("=")[0]] = text
    assert predict(compose(list(given.values()))) is None


@pytest.mark.parametrize(
    ("activation", "weights", "phase"),
    [
        *(("gelu", 2.1, "ordered"), ("gelu", 2.4, "chaotic"), ("silu", 2.9, "chaotic")),
        *(("relu", 1.0, "ordered"), ("relu", 2.0, "critical")),
    ],
)
def test_the_phase_and_the_critical_line_agree(activation, weights, phase, configure):
    gain = math.sqrt(weights)
    facts = overview(configure(activation=activation, init="lecun_normal", init_gain=gain))
    critical = facts.critical_weight_variance
    assert facts.phase == phase
    assert (weights < critical, weights > critical) == (phase == "ordered", phase == "chaotic")


def test_overview_names_the_phase(configure):
    tanh = {"activation": "tanh", "init": "lecun_normal", "bias_std": 0.2236}
    assert overview(configure(**tanh, init_gain=2.0)).phase == "chaotic"
    ordered = overview(configure(**tanh, init_gain=1.2))
    assert ordered.phase == "ordered"
    assert ordered.gradient_depth == pytest.approx(-1 / math.log(ordered.chi_1))
