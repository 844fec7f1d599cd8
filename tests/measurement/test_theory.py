"""Mean-field theory against numerical integration, closed forms and measured networks."""

import math

import pytest
import torch
from scipy.integrate import quad

from normlab.config import ACTIVATIONS, compose
from normlab.measurement import chi, fixed_point, overview, predict
from normlab.measurement.theory import correlation, critical_weight_variance, functions, moments
from normlab.networks import Nonlinearity


def integral(function, q):
    """E[f(√q u)], u ~ N(0, 1), by adaptive quadrature, with the kink at 0 a border."""

    def integrand(u):
        return function(math.sqrt(q) * u) * math.exp(-u * u / 2) / math.sqrt(2 * math.pi)

    return sum(quad(integrand, *ends, epsabs=1e-12)[0] for ends in ((-40, 0), (0, 40)))


def through_torch(name):
    """The library's own φ and its derivative by autograd, of a number."""

    def phi(x):
        return Nonlinearity(name)(torch.tensor(x, dtype=torch.float64)).item()

    def slope(x):
        free = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(Nonlinearity(name)(free), free)[0].item()

    return phi, slope


def test_theory_knows_every_activation():
    assert all(callable(part) for name in ACTIVATIONS for part in functions(name))


@pytest.mark.parametrize("q", [0.1, 3.0])
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


@pytest.mark.parametrize("activation", ["tanh", "erf", "sigmoid", "gelu", "silu"])
@pytest.mark.parametrize(("weights", "biases"), [(0.8, 0.2), (1.5, 0.05), (3.0, 0.1)])
def test_the_fixed_point_is_where_iteration_from_1_ends(activation, weights, biases):
    q = 1.0
    for _ in range(3000):
        q = min(weights * moments(activation, round(q, 12))[1] + biases, 1e12)
    found = fixed_point(activation, weights, biases)
    if q > 1e9:
        assert math.isinf(found)
    else:
        assert found == pytest.approx(q, rel=1e-6)


@pytest.mark.parametrize(
    ("weights", "biases", "expected"), [(1.0, 0.0, 0.0), (2.0, 0.0, 1.0), (2.0, 0.1, math.inf)]
)
def test_fixed_points_of_rectifiers(weights, biases, expected):
    assert fixed_point("relu", weights, biases) == expected
    assert fixed_point("relu", 1.0, 0.25) == pytest.approx(0.5)  # σ_b²/(1 − σ_w²/2)


@pytest.mark.parametrize("activation", ["tanh", "erf", "sigmoid", "relu"])
def test_chi_is_1_on_the_critical_line_and_on_either_side_not(activation):
    weights = critical_weight_variance(activation, 0.05)
    for factor, sign in ((0.97, -1), (1.0, 0), (1.03, 1)):
        q = fixed_point(activation, factor * weights, 0.05)
        distance = chi(activation, q, factor * weights) - 1
        assert abs(distance) < 1e-6 if sign == 0 else distance * sign > 1e-3


def test_the_critical_line_of_tanh_starts_at_1():
    assert critical_weight_variance("tanh", 0.0) == pytest.approx(1, abs=1e-6)


def test_correlation_is_a_fixed_point_of_the_map():
    """Against a Monte-Carlo estimate of the map at c*."""
    weights, biases = 4.0, 0.05
    q = fixed_point("tanh", weights, biases)
    c, approach = correlation("tanh", q, weights, biases)
    u, v = torch.randn(2, 4_000_000, generator=torch.Generator().manual_seed(0)).double()
    left, right = q**0.5 * u, q**0.5 * (c * u + (1 - c * c) ** 0.5 * v)
    again = (weights * (left.tanh() * right.tanh()).mean().item() + biases) / q
    assert again == pytest.approx(c, abs=3e-3)
    slopes = (1 - left.tanh() ** 2) * (1 - right.tanh() ** 2)
    assert approach == pytest.approx(weights * slopes.mean().item(), abs=3e-3)
    assert correlation("tanh", fixed_point("tanh", 1.5, 0.05), 1.5, 0.05)[0] == 1


# ------------------------------------------------------------------------ against networks

COVERED = {
    "tanh": [
        *("model.activation=tanh", "model.init=lecun_normal"),
        *("model.init_gain=1.2247", "model.bias_std=0.2236"),
    ],
    "chaotic tanh": ["model.activation=tanh", "model.init=lecun_normal", "model.init_gain=2"],
    "erf": ["model.activation=erf", "model.init=lecun_normal"],
    "sigmoid": ["model.activation=sigmoid", "model.init=lecun_normal"],
    "relu": [],
    "relu 1/n": ["model.init=lecun_normal"],
    "relu weight norm": ["norm=wn"],
    "gelu": ["model.activation=gelu", "model.init_gain=0.8", "model.bias_std=0.4"],
    "silu": ["model.activation=silu", "model.bias_std=0.4"],
    "normal": ["model.init=normal", "model.init_std=0.05"],
    "residual sigmoid": [
        *("model.activation=sigmoid", "model.init=lecun_normal", "model.residual=true"),
    ],
    "residual tanh": ["model.activation=tanh", "model.residual=true"],
    "batch norm": ["norm=bn"],
}


def measured_factor(config, seed):
    """The slope of log δ over the interior layers, by another road than `diagnosis`."""
    from normlab.measurement import ProbeBatch, snapshot
    from normlab.networks import build_model, weight_layers

    stream = torch.Generator().manual_seed(seed)
    model = build_model(config, (1, 16, 16), 10, stream)
    images = torch.randn(256, 1, 16, 16, generator=stream)
    labels = torch.randint(10, (256,), generator=stream)
    batch = ProbeBatch(images, labels, "softmax")
    deltas = snapshot(model, weight_layers(model), batch, ["delta_rms"])
    logs = deltas[1:-2, 0].log()
    index = torch.arange(len(logs)).double() - (len(logs) - 1) / 2
    return math.exp(-(index @ (logs - logs.mean()) / (index @ index)).item())


@pytest.mark.parametrize("name", sorted(COVERED))
def test_the_prediction_is_what_networks_do(name):
    settings = ["model=mlp", "norm=none", "model.depth=24", "model.width=512", *COVERED[name]]
    config = compose(settings)
    prediction = predict(config)
    logs = [math.log(measured_factor(config, seed)) for seed in range(3)]
    assert math.log(prediction.factor) == pytest.approx(sum(logs) / 3, abs=0.02)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=cnn"],
        ["norm=ln"],
        ["norm=bn", "model.residual=true"],
        ["model.residual=true"],  # its slopes and weights are correlated
        ["norm=bn", "model.activation=tanh"],
        ["norm=bn", "norm.position=after"],
        ["model.depth=2"],
        ["model.init_gain=0"],
    ],
)
def test_what_theory_does_not_cover_has_no_prediction(overrides):
    given = {"model": "model=mlp", "norm": "norm=none"}
    for text in overrides:
        given[text.split("=")[0]] = text
    assert predict(compose(list(given.values()))) is None


def test_overview_names_the_phase():
    def phase(gain):
        config = compose(
            [
                *("model=mlp", "norm=none", "model.activation=tanh", "model.init=lecun_normal"),
                *("model.bias_std=0.2236", f"model.init_gain={gain}"),
            ]
        )
        return overview(config)

    assert phase(1.2)["phase"] == "ordered"
    assert phase(2.0)["phase"] == "chaotic"
    ordered = phase(1.2)
    assert ordered["gradient_depth"] == pytest.approx(-1 / math.log(ordered["chi_1"]))
