"""The ingredients against their papers' formulas, in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from normlab.config import ACTIVATIONS
from normlab.networks import (
    Nonlinearity,
    NormActivation,
    build_model,
    cross_entropy,
    fill_softmax,
    masked_softmax,
    norm_modules,
)
from normlab.networks.blocks import (
    PostActivationBlock,
    PreActivationBlock,
    ProjectionShortcut,
    ZeroPadShortcut,
    build_shortcut,
    conv3x3,
)
from normlab.networks.norm_modules import HashedNumbers, RMSNorm2d, UnsteadyNoise


def build_norm(norm, channels, *, spatial):
    return norm.build(channels, spatial=spatial)


BATCH, CHANNELS, SIDE, GROUPS = 5, 6, 4, 3
EPS = 0.25  # large, so that an ε at the wrong place shows

# What shares one mean and variance: the axes of a [B, groups, C/groups, H, W] view.
SHARED = {"bn": (0, 3, 4), "in": (3, 4), "ln": (1, 2, 3, 4), "gn": (2, 3, 4), "rms": (1, 2, 3, 4)}
SHARED["ln_channels"] = (1, 2)
NORMS = sorted(SHARED)


def tensor(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Neither centred nor of variance 1, and different by sample and channel.
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    rows = torch.arange(1, shape[0] + 1, dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
    columns = torch.arange(shape[1], dtype=torch.float64).reshape(1, -1, *[1] * (len(shape) - 2))
    return rows * x + columns + 3


def inputs(spatial, seed=0):
    return tensor(BATCH, CHANNELS, *([SIDE, SIDE + 1] if spatial else []), seed=seed)


def norm_config(configure, name, **changes):
    extra = {"groups": GROUPS} if name == "gn" else {}
    return configure("mlp", name, width=CHANNELS, **extra, **changes).norm


def shared_axes(name, spatial):
    """A dense layer's instance is one channel of C positions, and it has one position."""
    return SHARED["ln"] if name in ("in", "ln_channels") and not spatial else SHARED[name]


def grouped(name, x):
    spatial = x if x.ndim == 4 else x[:, :, None, None]
    groups = GROUPS if name == "gn" else 1
    return spatial.reshape(len(x), groups, -1, *spatial.shape[2:])


def by_hand(name, x, eps):
    view, axes = grouped(name, x), shared_axes(name, x.ndim == 4)
    centre = 0 if name == "rms" else view.mean(axes, keepdim=True)
    spread = ((view - centre) ** 2).mean(axes, keepdim=True)
    return ((view - centre) / torch.sqrt(spread + eps)).reshape(x.shape)


# ------------------------------------------------------------------------------ normalizations


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_statistics_are_shared_over_the_papers_axes(configure, name, spatial):
    norm = build_norm(
        norm_config(configure, name, eps=EPS, affine=False), CHANNELS, spatial=spatial
    ).double()
    assert not list(norm.parameters())
    x = inputs(spatial)
    torch.testing.assert_close(norm(x), by_hand(name, x, EPS), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_affine_parameters_belong_to_a_channel(configure, name, spatial):
    norm = build_norm(norm_config(configure, name, eps=EPS), CHANNELS, spatial=spatial).double()
    x = inputs(spatial)
    # At first γ = 1 and β = 0.
    torch.testing.assert_close(norm(x), by_hand(name, x, EPS), rtol=1e-12, atol=1e-12)

    parameters = {key.split(".")[-1]: p for key, p in norm.named_parameters()}
    assert parameters.keys() == ({"weight"} if name == "rms" else {"weight", "bias"})
    # The one channel that a dense layer's instance has.
    channels = 1 if name == "in" and not spatial else CHANNELS
    gamma = torch.linspace(-2, 3, channels, dtype=torch.float64)
    beta = torch.linspace(5, -1, channels, dtype=torch.float64)
    with torch.no_grad():
        parameters["weight"].copy_(gamma)
        if "bias" in parameters:
            parameters["bias"].copy_(beta)
    column = [-1, *[1] * (x.ndim - 2)]
    expected = by_hand(name, x, EPS) * gamma.reshape(column)
    if "bias" in parameters:
        expected = expected + beta.reshape(column)
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_output_has_mean_0_and_variance_v_over_v_plus_eps(configure, name, spatial):
    norm = build_norm(
        norm_config(configure, name, eps=EPS, affine=False), CHANNELS, spatial=spatial
    ).double()
    x = inputs(spatial)
    axes = shared_axes(name, spatial)
    before, after = grouped(name, x), grouped(name, norm(x))
    if name == "rms":  # not centred: the mean square instead
        squares = (before**2).mean(axes)
        torch.testing.assert_close((after**2).mean(axes), squares / (squares + EPS))
        assert after.mean(axes).abs().min() > 0.1
    else:
        variance = before.var(axes, correction=0)
        assert after.mean(axes).abs().max() < 1e-12
        torch.testing.assert_close(after.var(axes, correction=0), variance / (variance + EPS))


@given(
    samples=st.integers(2, 9), units=st.integers(2, 9), seed=st.integers(0, 10**6), eps=st.just(0.1)
)
@settings(deadline=None, max_examples=30)
def test_batch_norm_is_layer_norm_of_the_transposed_batch(configure, samples, units, seed, eps):
    """Vertical and horizontal: BN(X) = LN(Xᵀ)ᵀ without affine."""
    x = tensor(samples, units, seed=seed)
    bn = build_norm(configure(norm="bn", eps=eps, affine=False).norm, units, spatial=False)
    ln = build_norm(configure(norm="ln", eps=eps, affine=False).norm, samples, spatial=False)
    torch.testing.assert_close(bn.double()(x), ln.double()(x.T).T, rtol=1e-12, atol=1e-12)


# Not in a dense layer: a lone value has no variance.
@pytest.mark.parametrize(
    ("groups", "like", "spatial"), [(1, "ln", True), (1, "ln", False), (CHANNELS, "in", True)]
)
def test_group_norm_ends_in_layer_norm_and_instance_norm(configure, groups, like, spatial):
    gn = configure("cnn", "gn", width=CHANNELS, groups=groups, affine=False).norm
    other = norm_config(configure, like, affine=False)
    x = inputs(spatial)
    torch.testing.assert_close(
        build_norm(gn, CHANNELS, spatial=spatial)(x),
        build_norm(other, CHANNELS, spatial=spatial)(x),
    )


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", [n for n in NORMS if n != "bn"])
def test_sample_norms_know_no_batch_and_no_mode(configure, name, spatial):
    norm = build_norm(norm_config(configure, name), CHANNELS, spatial=spatial).double()
    x = inputs(spatial)
    alone = torch.cat([norm(row[None]) for row in x])
    torch.testing.assert_close(norm(x), alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.eval()(x), alone, rtol=1e-12, atol=1e-12)
    assert not list(norm.buffers())


@pytest.mark.parametrize("spatial", [False, True])
def test_batch_norm_runs_its_statistics_for_eval_mode(configure, spatial):
    momentum = 0.3
    norm = build_norm(
        norm_config(configure, "bn", momentum=momentum, eps=EPS), CHANNELS, spatial=spatial
    ).double()
    x = inputs(spatial)
    norm(x)
    flat = x.transpose(0, 1).flatten(1)  # [C, the rest]
    mean, variance = momentum * flat.mean(1), 1 - momentum + momentum * flat.var(1, correction=1)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    column = [-1, *[1] * (x.ndim - 2)]
    expected = (x - mean.reshape(column)) / torch.sqrt(variance + EPS).reshape(column)
    torch.testing.assert_close(norm.eval()(x), expected)


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", ["none", "wn"])
def test_without_activation_norm_nothing_changes(configure, name, spatial):
    norm = build_norm(configure(norm=name).norm, CHANNELS, spatial=spatial)
    x = inputs(spatial)
    assert norm(x) is x


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("name", NORMS)
def test_norms_are_invariant_to_the_scale_of_their_input(configure, name, spatial):
    """What makes weights before a norm scale-invariant; all but rms ignore an offset too."""
    norm = build_norm(norm_config(configure, name, eps=1e-15), CHANNELS, spatial=spatial).double()
    x = inputs(spatial)
    torch.testing.assert_close(norm(10 * x), norm(x), rtol=1e-10, atol=1e-12)
    assert torch.allclose(norm(x + 7), norm(x)) == (name != "rms")


@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm_2d(affine):
    norm = RMSNorm2d(2, eps=0.0, affine=affine).double()
    x = torch.tensor([[[[3.0]], [[4.0]]], [[[0.0]], [[-2.0]]]], dtype=torch.float64)
    root = math.sqrt(12.5)
    expected = torch.tensor([[3 / root, 4 / root], [0, -math.sqrt(2)]], dtype=torch.float64)
    torch.testing.assert_close(norm(x).flatten(1), expected)
    assert sum(p.numel() for p in norm.parameters()) == (2 if affine else 0)


# --------------------------------------------------------------------------------- activations

POINTS = [-30.0, -4.0, -1.0, -0.1, 0.0, 0.1, 1.0, 4.0, 30.0]
CLOSED_FORMS = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "prelu": lambda x: x if x > 0 else x / 4,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    # Klambauer et al. 2017, equation 14
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),  # not its tanh approximation
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "erf": math.erf,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "identity": lambda x: x,
}


def test_every_activation_of_the_config_exists():
    assert set(ACTIVATIONS) == set(CLOSED_FORMS)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_activations_in_closed_form(name):
    activation = Nonlinearity(name).double()
    x = torch.tensor(POINTS, dtype=torch.float64)
    expected = torch.tensor([CLOSED_FORMS[name](v) for v in POINTS], dtype=torch.float64)
    torch.testing.assert_close(activation(x), expected, rtol=1e-12, atol=1e-15)
    assert name in repr(activation)


def test_prelu_learns_one_slope_a_layer(configure):
    """He et al. 2015, of which no weight decay is asked: a parameter [1] is spared as γ and β."""
    activation = Nonlinearity("prelu").double()
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    activation(x).sum().backward()
    assert activation.learned.grad.tolist() == [-2]
    with torch.no_grad():
        activation.learned.fill_(0.5)
    assert activation(x).tolist() == [-1, 3]
    config = configure("mlp", "none", depth=4, width=3, activation="prelu")
    model = build_model(config, (1, 2, 2), 2, torch.Generator())
    assert [p.shape for n, p in model.named_parameters() if "learned" in n] == [(1,)] * 3


@pytest.mark.parametrize("name", ["relu", "silu", "identity"])
def test_activations_leave_their_input_alone(name):
    """An in-place nonlinearity would overwrite the z that is being measured."""
    x = torch.tensor([-1.0, 2.0])
    Nonlinearity(name)(x)
    assert x.tolist() == [-1, 2]


# -------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("name", NORMS)
def test_position_is_the_norms_place_against_the_nonlinearity(configure, name, position, spatial):
    extra = {"groups": GROUPS} if name == "gn" else {}
    config = configure(
        "mlp", name, width=CHANNELS, activation="sigmoid", position=position, eps=EPS, **extra
    )
    x = inputs(spatial)
    before = torch.sigmoid(by_hand(name, x, EPS))
    after = by_hand(name, torch.sigmoid(x), EPS)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(
        NormActivation(config, CHANNELS, spatial=spatial).double()(x),
        before if position == "before" else after,
    )


@pytest.mark.parametrize("name", ["none", "wn"])
def test_without_norm_a_unit_is_its_nonlinearity(configure, name):
    unit = NormActivation(configure(norm=name, activation="tanh"), CHANNELS, spatial=False)
    x = inputs(spatial=False)
    assert torch.equal(unit(x), torch.tanh(x))


# ---------------------------------------------------------------------------------- shortcuts


def test_zero_pad_shortcut_takes_every_second_position_and_adds_zero_channels():
    x = torch.arange(2 * 2 * 3 * 5.0).reshape(2, 2, 3, 5)  # odd sides
    y = ZeroPadShortcut(2, 5, stride=2)(x)
    assert y.shape == (2, 5, 2, 3)
    for sample, channel, row, column in torch.cartesian_prod(
        *(torch.arange(n) for n in y.shape)
    ).tolist():
        expected = x[sample, channel, 2 * row, 2 * column] if channel < 2 else 0
        assert y[sample, channel, row, column] == expected
    assert not list(ZeroPadShortcut(2, 5, stride=2).parameters())


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("block", ["post", "pre"])
@pytest.mark.parametrize("norm", ["none", "bn", "ln"])
def test_shortcuts_project_only_where_shapes_change(configure, norm, block, shortcut):
    config = configure("cnn", norm, residual=True, block=block, shortcut=shortcut)
    assert isinstance(build_shortcut(config, 4, 4, 1), nn.Identity)
    x = torch.randn(2, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    for channels, stride in ((8, 2), (8, 1), (4, 2)):
        skip = build_shortcut(config, 4, channels, stride)
        assert skip(x).shape == conv3x3(config, 4, channels, stride)(x).shape
        kinds = [type(m) for m in skip.modules() if not list(m.children())]
        if shortcut == "A":
            assert kinds == [ZeroPadShortcut]
        else:
            norms = {"none": nn.Identity, "bn": nn.BatchNorm2d, "ln": nn.GroupNorm}
            projection = [ProjectionShortcut]
            assert kinds == (projection if block == "pre" else [*projection, norms[norm]])


def test_option_b_is_a_strided_projection_with_its_norm(configure):
    config = configure("cnn", "bn", residual=True, shortcut="B", eps=EPS, bias=False)
    skip = build_shortcut(config, 2, 3, 2).double()
    x = tensor(BATCH, 2, 5, 5)
    projected = torch.einsum("oc,bchw->bohw", skip[0].weight[:, :, 0, 0], x[:, :, ::2, ::2])
    torch.testing.assert_close(skip(x), by_hand("bn", projected, EPS))


# --------------------------------------------------------------------------------------- blocks


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("position", ["before", "after"])
def test_blocks_follow_their_papers_formulas(configure, position, residual):
    """He et al. 2015: φ(N(W₂ φ(N(W₁x))) + x); He et al. 2016: W₂ φ(N(W₁ φ(N(x)))) + x."""
    config = configure(
        "cnn", "ln", position=position, residual=residual, activation="tanh", eps=EPS
    )
    x = tensor(BATCH, CHANNELS, 4, 4)
    skip = x if residual else 0

    def norm(z):
        return by_hand("ln", z, EPS)

    def unit(z, skip=0):
        return torch.tanh(norm(z) + skip) if position == "before" else norm(torch.tanh(z + skip))

    def convolve(layer, h):
        return F.conv2d(h, layer.weight, layer.bias, padding=1)

    post = PostActivationBlock(config, CHANNELS, CHANNELS, 1).double()
    expected = unit(convolve(post.conv2, unit(convolve(post.conv1, x))), skip)
    torch.testing.assert_close(post(x), expected)

    pre = PreActivationBlock(config, CHANNELS, CHANNELS, 1).double()
    expected = convolve(pre.conv2, unit(convolve(pre.conv1, unit(x)))) + skip
    torch.testing.assert_close(pre(x), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "side"), [(1, 7), (2, 4)])
def test_conv3x3_keeps_height_and_width_up_to_its_stride(configure, stride, side, bias):
    layer = conv3x3(configure("cnn", bias=bias), 2, 3, stride)
    assert layer(torch.zeros(1, 2, 7, 7)).shape == (1, 3, side, side)
    assert (layer.bias is not None) == bias


# ------------------------------------------------------------------- softmax and its losses

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_softmax_is_the_softmax_of_what_is_left(dtype):
    logits = torch.tensor([[1.0, 30000.0, -2.0, 0.5], [3.0, 1.0, 2.0, -60000.0]], dtype=dtype)
    mask = torch.tensor([[True, False, True, True], [True, True, False, True]])
    weights = masked_softmax(logits, mask, dim=1)
    for row, kept, alone in zip(weights, mask, logits, strict=True):
        torch.testing.assert_close(row[kept], torch.softmax(alone[kept], 0))
        assert (row[~kept] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hostile", [math.nan, math.inf, -math.inf])
def test_masked_softmax_does_not_see_masked_positions(dtype, hostile):
    logits = torch.tensor([[1.0, hostile], [hostile, hostile]], dtype=dtype, requires_grad=True)
    mask = torch.tensor([[True, False], [False, False]])
    weights = masked_softmax(logits, mask, dim=-1)
    assert weights.tolist() == [[1, 0], [0, 0]]
    (gradient,) = torch.autograd.grad((weights * torch.tensor([[2, 3]])).sum(), logits)
    assert gradient.tolist() == [[0, 0], [0, 0]]


def test_masked_softmax_has_the_gradient_of_its_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda a: masked_softmax(a, mask, 1), logits)


def test_masked_softmax_broadcasts_and_takes_any_dimension():
    logits = torch.randn(2, 3, 4)
    mask = torch.tensor([True, False, True])[:, None]
    weights = masked_softmax(logits, mask, dim=1)
    assert (weights[:, 1] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 4))


def test_the_fill_is_exact_in_float32_and_breaks_in_float16():
    logits = torch.zeros(2, 4)
    mask = torch.tensor([[True, True, False, False], [False] * 4])
    assert fill_softmax(logits, mask, 1).tolist() == [[0.5, 0.5, 0, 0], [0.25] * 4]
    assert fill_softmax(logits.half(), mask, 1)[1].isnan().all()


def test_cross_entropies_by_hand():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    softmax = [-(row[y] - row.exp().sum().log()) for row, y in zip(logits, labels, strict=True)]
    s = logits.sigmoid()
    sigmoid = [
        -(s[0, 0].log() + (1 - s[0, 1]).log() + (1 - s[0, 2]).log()),
        -((1 - s[1, 0]).log() + (1 - s[1, 1]).log() + s[1, 2].log()),
    ]
    for kind, each in (("softmax", softmax), ("sigmoid", sigmoid)):
        total = torch.stack(each).sum()
        torch.testing.assert_close(cross_entropy(logits, labels, kind, "sum"), total)
        torch.testing.assert_close(cross_entropy(logits, labels, kind), total / 2)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_smoothed_labels_are_a_mixture_with_the_uniform_distribution(kind):
    """Szegedy et al. 2016, section 7: the loss is linear in its target."""
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]], dtype=torch.float64)
    labels, s = torch.tensor([0, 2]), 0.3
    every = [cross_entropy(logits, torch.full((2,), k), kind) for k in range(3)]
    if kind == "sigmoid":  # of a target t_k the loss is Σ −t log σ − (1 − t) log(1 − σ)
        p, targets = logits.sigmoid(), 0.7 * torch.eye(3, dtype=torch.float64)[labels] + 0.1
        expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum() / 2
    else:
        expected = (1 - s) * cross_entropy(logits, labels, kind) + s * sum(every) / 3
    found = cross_entropy(logits, labels, kind, smoothing=s)
    torch.testing.assert_close(found, expected)
    assert torch.equal(
        cross_entropy(logits, labels, kind, smoothing=0.0), cross_entropy(logits, labels, kind)
    )


# ---------------------------------------------------------------------------- unsteady noise


def noisy():
    noise = UnsteadyNoise(3, 0.5)
    noise.seed = 7
    return noise


def test_noise_changes_at_every_step_and_is_the_same_in_every_run():
    x = torch.ones(4000, 3)
    first, second = noisy(), noisy()
    ys = [first(x) for _ in range(2)]
    assert not torch.equal(*ys)
    assert all(torch.equal(second(x), y) for y in ys)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_noise_is_drawn_without_waiting_for_a_gpu():
    x, here, there = torch.ones(5, 3), noisy(), noisy().to("cuda")
    on_gpu = x.cuda()
    first = there(on_gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        ys = [first, *(there(on_gpu) for _ in range(2))]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for y in ys:
        torch.testing.assert_close(y.cpu(), here(x), rtol=1e-5, atol=1e-6)
    assert there.state_dict()["steps"] == 3


def test_hashed_bits_are_splitmix64s():
    """The first numbers of seed 1234567, as its reference implementation prints them."""
    places = torch.tensor(1234567) + torch.arange(1, 6) * norm_modules._GOLDEN
    assert [number % 2**64 for number in norm_modules._mixed(places).tolist()] == [
        *(6457827717110365317, 3203168211198807973, 9817491932198370423),
        *(4593380528125082431, 16408922859458223821),
    ]


def test_hashed_numbers_are_never_0_or_1(monkeypatch: pytest.MonkeyPatch):
    """Whatever the bits are, and as many below ½ as above."""
    for bits, number in ((0, 2.0**-24), (-1, 1 - 2.0**-24), (2**62, 0.25 + 2.0**-24)):
        monkeypatch.setattr(norm_modules, "_mixed", lambda x, bits=bits: torch.full_like(x, bits))
        assert HashedNumbers(torch.tensor(1)).uniform(1).item() == number


def test_hashed_numbers_are_independent_of_each_other_and_of_other_keys():
    """Uniform ones fill every hundredth alike (χ² of 99 degrees of freedom, in its middle 99.9 %);
    normal ones have N(0, 1)'s moments; a key's neighbours have nothing in common with it."""
    one, other = (HashedNumbers(torch.tensor(key)) for key in (7, 8))
    x, y, z = one.uniform(100, 1000), other.uniform(100, 1000), one.normal(100, 1000)
    counts = torch.histc(x, 100, 0, 1)
    assert 60 < ((counts - 1000) ** 2 / 1000).sum() < 150
    assert 0 < x.min() < 1e-4
    assert 1 - 1e-4 < x.max() < 1
    assert z.mean().item() == pytest.approx(0, abs=0.015)
    assert (z**2).mean().item() == pytest.approx(1, abs=0.02)
    assert (z**4).mean().item() == pytest.approx(3, abs=0.15)
    for a, b in ((x, y), (x[:, 1:], x[:, :-1]), (x, z), (x[1:], x[:-1])):
        pairs = torch.stack([a.flatten(), b.flatten()])
        assert abs(torch.corrcoef(pairs)[0, 1]) < 0.015


def test_noise_has_the_moments_that_its_docstring_says():
    """E m = 0, Var m = n²/3 + (n/5)²/3, E s = 1 + n/4, Var s = (n/2)²/12 + (n/5)²."""
    n, noise = 0.5, UnsteadyNoise(30, 0.5)
    shifts = torch.stack([noise(torch.zeros(1, 30)) for _ in range(400)]).double()
    scales = torch.stack([noise(torch.ones(1, 30) * 1e6) for _ in range(400)]).double() / 1e6
    assert shifts.mean().item() == pytest.approx(0, abs=0.02)
    assert shifts.var().item() == pytest.approx(n**2 / 3 + n**2 / 75, rel=0.05)
    assert scales.mean().item() == pytest.approx(1 + n / 4, abs=0.01)
    assert scales.var().item() == pytest.approx(n**2 / 48 + n**2 / 25, rel=0.06)
    assert torch.equal(noise.eval()(torch.ones(2, 30)), torch.full((2, 30), 1 + n / 4))
