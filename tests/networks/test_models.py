"""MLP, plain CNN and ResNet: their size, their order, their functions in limiting cases."""

from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from normlab.errors import ConfigError
from normlab.networks import Nonlinearity, build_model, weight_layers

SHAPE, CLASSES = (3, 8, 8), 5

NORMS = ["none", "bn", "ln", "ln_channels", "gn", "in", "rms", "wn", "dyt"]
FORMS = [
    *(("mlp", {"depth": 6, "width": 8, "residual": residual}) for residual in (False, True)),
    *(
        ("cnn", {"depth": 14, "width": 4, "block": block, **skip})
        for block, skip in product(
            ("post", "pre"),
            ({"residual": False}, *({"residual": True, "shortcut": s} for s in "AB")),
        )
    ),
]


def form_label(form):
    name, options = form
    shown = [str(v) if isinstance(v, str) else key for key, v in options.items() if v is not False]
    return "-".join([name, *(s for s in shown if s not in ("depth", "width"))])


def every_form(test):
    return pytest.mark.parametrize("form", FORMS, ids=form_label)(test)


def every_norm(test):
    return pytest.mark.parametrize("norm", NORMS)(test)


def built(config, shape=SHAPE, classes=CLASSES, seed=0):
    return build_model(config, shape, classes, torch.Generator().manual_seed(seed))


def pictures(count=4, shape=SHAPE, seed=1):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def parameter_count(model):
    return sum(p.numel() for p in model.parameters())


# --------------------------------------------------------------------------------------- size


def test_resnet_20_has_the_papers_270_thousand_parameters(configure):
    """He et al. 2015, Table 6: 0.27M. Counted by hand, layer for layer."""
    config = configure("resnet", "bn", depth=20, width=16, bias=False)
    stem = 3 * 16 * 9
    stage1 = 6 * 16 * 16 * 9
    stage2 = 16 * 32 * 9 + 5 * 32 * 32 * 9
    stage3 = 32 * 64 * 9 + 5 * 64 * 64 * 9
    gamma_and_beta = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    output = 64 * 10 + 10
    expected = stem + stage1 + stage2 + stage3 + gamma_and_beta + output
    assert expected == 269_722
    assert parameter_count(built(config, (3, 32, 32), 10)) == expected


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_parameters_of_the_papers_resnets(configure, depth, millions):
    """He et al. 2015, Table 6, in millions to the digits printed there."""
    config = configure("resnet", "bn", depth=depth, width=16, bias=False)
    count = parameter_count(built(config, (3, 32, 32), 10)) / 1e6
    assert count == pytest.approx(millions, abs=0.05 if depth == 110 else 0.005)


@every_norm
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_mlp_parameters(configure, depth, bias, norm):
    width, inputs = 8, 3 * 8 * 8
    sizes = [inputs, *[width] * (depth - 1), CLASSES]
    weights = sum(a * b for a, b in pairwise(sizes))
    biases = (width * (depth - 1) if bias else 0) + CLASSES  # the output layer always has its own
    # By hidden layer: γ and β for each unit; no β for rms; a dense instance is one channel; α.
    of_norm = {
        "none": 0,
        "bn": 2 * width,
        "ln": 2 * width,
        "ln_channels": 2 * width,
        "gn": 2 * width,
        "in": 2,
        "rms": width,
    }
    of_norm["dyt"] = 2 * width + 1
    g = sum(sizes[1:])  # one for each unit, the output layer's too
    extra = g if norm == "wn" else of_norm[norm] * (depth - 1)
    config = configure("mlp", norm, depth=depth, width=width, bias=bias)
    assert parameter_count(built(config)) == weights + biases + extra


@pytest.mark.parametrize("norm", ["none", "bn", "wn"])
@pytest.mark.parametrize("block", ["post", "pre"])
def test_residual_and_plain_twins_are_the_same_network_but_for_the_skips(configure, block, norm):
    """Equal parameters by option A, and equal values of them by an equal seed."""
    plain, residual = (
        built(configure(model, norm, depth=14, width=4, block=block, shortcut="A"))
        for model in ("cnn", "resnet")
    )
    a, b = plain.state_dict(), residual.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.allclose(plain(pictures()), residual(pictures()))


def test_mlp_twins_are_the_same_network_but_for_the_skips(configure):
    plain, residual = (
        built(configure("mlp", "ln", depth=6, width=4, residual=residual))
        for residual in (False, True)
    )
    a, b = plain.state_dict(), residual.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.allclose(plain(pictures()), residual(pictures()))


@pytest.mark.parametrize(("block", "of_norm"), [("post", 2 * (8 + 16)), ("pre", 0)])
def test_option_b_adds_two_projections(configure, block, of_norm):
    a, b = (
        built(configure("resnet", "bn", depth=14, width=4, block=block, shortcut=s, bias=False))
        for s in "AB"
    )
    assert parameter_count(b) - parameter_count(a) == 4 * 8 + 8 * 16 + of_norm


# -------------------------------------------------------------------------------------- layers


@given(depth=st.integers(1, 1000), residual=st.booleans())
@settings(deadline=None, max_examples=8)
def test_mlp_depth_is_its_number_of_weight_layers(configure, depth, residual):
    config = configure("mlp", depth=depth, width=2, residual=residual)
    layers = weight_layers(built(config, (1, 2, 2), 2))
    assert [layer.index for layer in layers] == list(range(1, depth + 1))
    assert [layer.name for layer in layers] == [*(f"hidden{i}" for i in range(1, depth)), "output"]
    assert {layer.kind for layer in layers} == {"linear"}


@given(
    n=st.integers(1, 166),
    residual=st.booleans(),
    block=st.sampled_from(["post", "pre"]),
    shortcut=st.sampled_from("AB"),
)
@settings(deadline=None, max_examples=8)
def test_cnn_depth_is_its_number_of_weight_layers(configure, n, residual, block, shortcut):
    depth = 6 * n + 2
    config = configure(
        "cnn", depth=depth, width=1, residual=residual, block=block, shortcut=shortcut
    )
    layers = weight_layers(built(config, (1, 8, 8), 2))
    assert [layer.index for layer in layers] == list(range(1, depth + 1))
    names = [
        f"stage{stage}.block{i}.conv{j}"
        for stage, i, j in product((1, 2, 3), range(1, n + 1), (1, 2))
    ]
    assert [layer.name for layer in layers] == ["stem", *names, "output"]
    assert [layer.kind for layer in layers] == ["conv"] * (depth - 1) + ["linear"]


def execution_order(model, images):
    """Layers and nonlinearities as they run, shortcut projections left out (1×1 convolutions)."""
    ran = []

    def note(module, _args, _output):
        ran.append(module)

    handles = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, nn.Linear | Nonlinearity)
        or (isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1))
    ]
    model(images)
    for handle in handles:
        handle.remove()
    return ran


@every_form
@pytest.mark.parametrize(
    ("norm", "changes"),
    [("none", {}), ("wn", {}), ("ln", {"position": "before"}), ("ln", {"position": "after"})],
)
def test_weight_layers_stand_in_the_order_of_execution(configure, form, norm, changes):
    """Each layer is followed by its own nonlinearity, the last by none."""
    model = built(configure(form[0], norm, **form[1], **changes))
    layers = weight_layers(model)
    expected = [part for layer in layers for part in (layer.module, layer.activation)]
    assert expected.pop() is None
    ran = execution_order(model, pictures())
    assert len(ran) == len(expected)
    assert all(a is b for a, b in zip(ran, expected, strict=True))


@every_form
@every_norm
@pytest.mark.parametrize(("shape", "classes"), [((1, 8, 8), 10), ((3, 9, 5), 2)])
def test_logits_and_gradients_for_every_architecture(configure, form, norm, shape, classes):
    model = built(configure(form[0], norm, **form[1]), shape, classes)
    logits = model(pictures(3, shape))
    assert logits.shape == (3, classes)
    F.cross_entropy(logits, torch.arange(3) % classes).backward()
    # A parameter that no gradient reaches would be dead weight in every count.
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.eval()(pictures(1, shape)).shape == (1, classes)


def test_stages_halve_the_sides_and_double_the_channels(configure):
    model = built(configure("cnn", "bn", depth=8, width=4), (3, 32, 32))
    h = model.stem_unit(model.stem(pictures(shape=(3, 32, 32))))
    shapes = []
    for stage in model.body:
        h = stage(h)
        shapes.append(tuple(h.shape[1:]))
    assert shapes == [(4, 32, 32), (8, 16, 16), (16, 8, 8)]


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("mlp", {"depth": 1}),
        ("mlp", {"depth": 1000, "width": 3}),
        ("mlp", {"depth": 1000, "width": 3, "residual": True}),
        ("resnet", {"depth": 1202, "width": 1}),  # He et al. 2015, section 4.2
        ("cnn", {"depth": 998, "width": 1}),
        ("resnet", {"depth": 998, "width": 1, "block": "pre", "shortcut": "B"}),
    ],
)
def test_shallowest_and_deepest(configure, model, changes):
    network = built(configure(model, "bn", **changes), (1, 4, 5), 3)
    F.cross_entropy(network(pictures(4, (1, 4, 5))), torch.tensor([0, 1, 2, 0])).backward()
    layers = weight_layers(network)
    assert len(layers) == changes["depth"]
    assert layers[0].module.weight.grad is not None


# ------------------------------------------------------------------------------ limiting cases


def test_depth_1_is_multinomial_logistic_regression(configure):
    model = built(configure("mlp", "bn", depth=1, residual=True))
    x = pictures()
    expected = F.linear(x.flatten(1), model.output.weight, model.output.bias)
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("norm", ["none", "bn", "ln", "wn"])
def test_residual_mlp_with_zero_branches_is_its_first_layer(configure, norm):
    """relu(N(0)) = 0: h stays what the first hidden layer made of it."""
    model = built(configure("mlp", norm, depth=7, width=6, residual=True))
    silence(model, [f"body.hidden{i}.linear" for i in range(2, 7)])
    x = pictures()
    expected = model.output(model.body.hidden1(x.flatten(1)))
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)
    assert expected.std() > 0.01


@pytest.mark.parametrize("norm", ["none", "bn", "ln"])
@pytest.mark.parametrize("block", ["post", "pre"])
def test_resnet_with_zero_branches_is_its_stem(configure, block, norm):
    """relu(x + N(0)) = x for x ≥ 0, and a pre-activation skip is never touched at all."""
    model = built(configure("resnet", norm, depth=20, width=4, block=block))
    silence(
        model, [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and "body" in n]
    )
    x = pictures()
    h = model.stem(x) if block == "pre" else model.stem_unit(model.stem(x))
    torch.testing.assert_close(model.body.stage1(h), h, rtol=0, atol=0)
    # Two option-A shortcuts: every fourth position, the new channels zero.
    expected = F.pad(h[:, :, ::4, ::4], (0, 0, 0, 0, 0, 12))
    torch.testing.assert_close(model.body(h), expected, rtol=0, atol=0)
    assert h.std() > 0.1


@pytest.mark.parametrize("residual", [True, False])
def test_a_plain_network_with_zero_weights_forgets_and_a_residual_one_does_not(configure, residual):
    model = built(configure("cnn", "bn", depth=8, width=4, residual=residual))
    silence(model, ["body.stage1.block1.conv2"])
    h = model.stem_unit(model.stem(pictures()))
    assert model.body.stage1(h).any() == residual


def silence(model, names):
    with torch.no_grad():
        for name in names:
            layer = model.get_submodule(name)
            if hasattr(layer, "parametrizations"):
                layer.parametrizations.weight.original0.zero_()
            else:
                layer.weight.zero_()
            if layer.bias is not None:
                layer.bias.zero_()


@pytest.mark.parametrize("block", ["post", "pre"])
def test_plain_cnn_is_a_sequence(configure, block):
    """He et al.'s plain network, written down as torch.nn has it."""
    model = built(configure("cnn", "bn", depth=14, width=2, block=block))
    plan = [(3, 2, 1)]
    for stage, (channels, out) in enumerate(((2, 2), (2, 4), (4, 8))):
        plan += [(channels, out, 2 if stage else 1), (out, out, 1), (out, out, 1), (out, out, 1)]
    parts = []
    for channels, out, stride in plan:
        parts += [nn.Conv2d(channels, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
    sequence = nn.Sequential(*parts, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, CLASSES))
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    learned = [m for m in sequence if isinstance(m, nn.Conv2d | nn.Linear)]
    for ours, theirs in zip(convolutions, learned, strict=True):
        theirs.load_state_dict(ours.state_dict())
    x = pictures().double()
    torch.testing.assert_close(model.double()(x), sequence.double()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_plain_mlp_is_a_sequence(configure, activation):
    model = built(configure("mlp", "bn", depth=4, width=7, activation=activation, position="after"))
    function = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    parts = [nn.Flatten()]
    for inputs in (3 * 8 * 8, 7, 7):
        parts += [nn.Linear(inputs, 7), function(), nn.BatchNorm1d(7)]
    sequence = nn.Sequential(*parts, nn.Linear(7, CLASSES))
    ours = [m for m in model.modules() if isinstance(m, nn.Linear)]
    theirs = [m for m in sequence if isinstance(m, nn.Linear)]
    for a, b in zip(ours, theirs, strict=True):
        b.load_state_dict(a.state_dict())
    x = pictures().double()
    torch.testing.assert_close(model.double()(x), sequence.double()(x), rtol=1e-12, atol=1e-12)


@every_form
def test_weight_norm_leaves_the_initial_function_unchanged(configure, form):
    normalized, plain = (built(configure(form[0], n, **form[1])) for n in ("wn", "none"))
    torch.testing.assert_close(normalized(pictures()), plain(pictures()), rtol=1e-4, atol=1e-5)
    layers = zip(weight_layers(normalized), weight_layers(plain), strict=True)
    for ours, theirs in layers:
        torch.testing.assert_close(ours.module.weight, theirs.module.weight)
        g = ours.module.parametrizations.weight.original0
        torch.testing.assert_close(g.flatten(), theirs.module.weight.flatten(1).norm(dim=1))


def test_weight_norm_reaches_option_b_too(configure):
    model = built(configure("resnet", "wn", depth=8, width=2, shortcut="B"))
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert hasattr(module, "parametrizations")


# -------------------------------------------------------------------------------- initial state


@every_form
def test_the_initialization_scheme_reaches_every_layer(configure, form):
    """Projections and the output layer too, biases where there are any."""
    config = configure(form[0], **form[1], init="normal", init_std=0.0, bias_std=0.5)
    for module in built(config).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert not module.weight.any()
            assert module.bias.all()


@every_form
@pytest.mark.parametrize("norm", ["bn", "wn"])
def test_a_seed_is_the_weights_and_global_randomness_stays(configure, form, norm):
    config = configure(form[0], norm, **form[1])
    first = built(config, seed=5).state_dict()
    torch.rand(1)  # the global stream moves on; nothing may come of it
    before = torch.get_rng_state()
    again = built(config, seed=5).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = built(config, seed=6).state_dict()
    weights = [key for key in first if "weight" in key and first[key].ndim > 1]
    assert not any(torch.equal(first[key], other[key]) for key in weights)


def test_a_network_starts_in_train_mode_on_the_cpu_with_every_parameter_learning(configure):
    model = built(configure("resnet", "bn", depth=8, width=2, shortcut="B"))
    assert all(module.training for module in model.modules())
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert all(p.requires_grad for p in model.parameters())


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("norm", [n for n in NORMS if n != "none"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 4, 5, 8])
def test_images_too_small_for_a_norm_are_refused_before_training(configure, side, batch, norm):
    """Whatever is not refused runs: no statistic of a lone value."""
    shape = (1, side, side)
    config = configure("cnn", norm, depth=8, width=4, batch_size=batch)
    lone = (side <= 4 and (norm == "in" or (norm == "bn" and batch == 1))) or (
        side == 1 and norm == "gn"  # four channels in four groups
    )
    if lone:
        with pytest.raises(ConfigError, match=f"{side}×{side}"):
            built(config, shape)
    else:
        assert built(config, shape)(pictures(batch, shape)).isfinite().all()


@pytest.mark.parametrize(
    ("norm", "changes"),
    [
        ("bn", {"eps": 0.0}),
        ("ln", {"eps": 0.0}),
        ("ln", {"width": 1}),
        ("in", {"width": 1}),
        ("gn", {"width": 4, "groups": 4}),
        ("gn", {"width": 4, "groups": 4, "batch_size": 1}),
        ("ln", {"width": 1, "batch_size": 1}),
        ("wn", {"init_gain": 0.0}),
    ],
    ids=str,
)
def test_every_config_is_refused_or_runs(configure, norm, changes):
    try:
        config = configure("mlp", norm, **{"depth": 4, "width": 4, "batch_size": 2, **changes})
        model = built(config)
    except (ConfigError, ValidationError):
        return
    assert model(pictures(config.training.batch_size)).isfinite().all()
    assert model.eval()(pictures(1)).isfinite().all()  # the last batch of an evaluation may be 1
