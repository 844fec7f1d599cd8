"""Scaled branches and standardized weights against the papers' formulas, in float64."""

import dataclasses
import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import Config, ImageTensors, compose, describe
from normlab.errors import ConfigError
from normlab.networks import build_model, moments, weight_layers
from normlab.networks.standardization import activation_gamma
from normlab.training.step import build_network
from tests.networks import feed_forward_oracle as oracle

SHAPE, CLASSES = (3, 8, 8), 5
MLP: dict[str, Any] = {"depth": 6, "width": 8}
CNN: dict[str, Any] = {"depth": 14, "width": 4}


def built(config: Config, *, jitter: bool = True) -> nn.Module:
    """A network whose parameters are all away from where they start, unless told otherwise."""
    network = build_model(config, SHAPE, CLASSES, torch.Generator().manual_seed(0)).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters() if jitter else ():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * noise)
    return network


def pictures(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)


def design_of(config: Config, **more: Any) -> oracle.Design:
    model, norm = config.model, config.norm
    names = {field.name for field in dataclasses.fields(oracle.Design)}
    given = {key: value for key, value in model.model_dump().items() if key in names}
    given |= {"spatial": model.spatial, "norm": norm.name}
    return oracle.Design(**{**given, "position": getattr(norm, "position", "before"), **more})


WAYS = ("one", "sqrt_depth", "depth", "skipinit", "zero_gamma")
FORMS = [
    *(("mlp", {**MLP, "block": block}) for block in ("post", "pre")),
    *(
        ("cnn", {**CNN, "block": block, "shortcut": shortcut})
        for block, shortcut in product(("post", "pre"), "AB")
    ),
]


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("model", "form"), FORMS, ids=lambda f: "-".join(map(str, f)) if isinstance(f, dict) else f
)
def test_networks_compute_their_papers_formulas(
    configure: Any, model: str, form: dict[str, Any], way: str, position: str
) -> None:
    """A smooth nonlinearity, so that zero_gamma is refused only where it makes no sense."""
    given = {**form, "residual": True, "branch_scale": way, "activation": "tanh"}
    if (model, form["block"], way, position) == ("cnn", "post", "zero_gamma", "after"):
        pytest.skip("the last norm is of the sum, and refused")
    config = configure(model, "ln", position=position, **given)
    network, x = built(config), pictures()
    expected = oracle.logits_of(design_of(config), network.state_dict(), x)
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


STANDARDIZED = [
    *(
        ("mlp", {**MLP, "block": block, "residual": skip})
        for block in ("post", "pre")
        for skip in (0, 1)
    ),
    *(
        ("cnn", {**CNN, "block": block, "residual": skip, "shortcut": "B"})
        for block in ("post", "pre")
        for skip in (0, 1)
    ),
]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("kind", ["plain", "scaled"])
@pytest.mark.parametrize(("model", "form"), STANDARDIZED, ids=str)
def test_standardized_networks_compute_their_papers_formulas(
    configure: Any, model: str, form: dict[str, Any], kind: str, activation: str
) -> None:
    given = {**form, "residual": bool(form["residual"]), "weight_standardization": kind}
    config = configure(model, "ln", activation=activation, **given)
    network, x = built(config), pictures()
    expected = oracle.logits_of(design_of(config), network.state_dict(), x)
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("alpha", [0.2, 1.5])
@pytest.mark.parametrize("kind", ["none", "scaled"])
@pytest.mark.parametrize(("model", "form"), [("mlp", MLP), ("cnn", CNN)])
def test_normalizer_free_networks_compute_their_papers_formulas(
    configure: Any, model: str, form: dict[str, Any], kind: str, alpha: float
) -> None:
    given = {"block": "pre", "residual": True, "branch_scale": "normalizer_free"}
    shortcut = {"shortcut": "B"} if model == "cnn" else {}
    more = {"branch_alpha": alpha, "weight_standardization": kind}
    config = configure(model, "none", **form, **given, **shortcut, **more)
    network, x = built(config), pictures()
    expected = oracle.logits_of(design_of(config, alpha=alpha), network.state_dict(), x)
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


FIXUP = [form for form in FORMS if form[0] == "cnn" or form[1]["block"] == "pre"]


@pytest.mark.parametrize(("model", "form"), FIXUP, ids=str)
def test_fixup_networks_compute_their_papers_formulas(
    configure: Any, model: str, form: dict[str, Any]
) -> None:
    given = {**form, "residual": True, "branch_scale": "fixup"}
    config = configure(model, "none", **given)
    network, x = built(config), pictures()
    expected = oracle.logits_of(design_of(config), network.state_dict(), x)
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", ["post", "pre"])
def test_fixup_begins_as_its_paper_has_it(configure: Any, block: str) -> None:
    """Rule 2: L^(−1/(2m−2)) of m = 2 layers is L^−½; rule 1: the last ones and the output are 0."""
    form = {**CNN, "residual": True, "block": block}
    network, plain = (
        built(configure("cnn", "none", branch_scale=way, **form), jitter=False)
        for way in ("fixup", "one")
    )
    for layer, other in zip(weight_layers(network), weight_layers(plain), strict=True):
        found, drawn = layer.module.weight, other.module.weight
        factor = 0 if layer.name == "output" or "conv2" in layer.name else 6**-0.5
        expected = drawn if layer.name == "stem" else factor * drawn
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    scalars = {name: p.item() for name, p in network.named_parameters() if "scalar" in name}
    assert {v for name, v in scalars.items() if "out_of" in name} == {1.0}
    assert {v for name, v in scalars.items() if "out_of" not in name} == {0.0}


# ------------------------------------------------------------------------------ at the start


@pytest.mark.parametrize("scale", ["fixup", "skipinit", "one"])
def test_fixups_learned_numbers_have_a_tenth_of_the_rate(configure: Any, scale: str) -> None:
    """As in its authors' own code; SkipInit's have the rate of all."""
    form = {"depth": 8, "width": 4, "residual": True, "block": "pre", "branch_scale": scale}
    config = configure("mlp", **form)
    network = built(config)
    shares = config.model.rate_shares(network)
    numbers = {p for name, p in network.named_parameters() if name.endswith(".scalar")}
    assert bool(numbers) == (scale != "one")
    assert shares == (dict.fromkeys(numbers, 0.1) if scale == "fixup" else {})
    images = torch.zeros(4, 1, 2, 2)
    data = ImageTensors(images, torch.zeros(4, dtype=torch.int64), images, torch.zeros(4), 10)
    groups = build_network(config, data).groups
    assert [group.rate_share for group in groups] == ([1.0, 0.1] if scale == "fixup" else [1.0])


def streams(network: nn.Module, x: Tensor) -> list[float]:
    """The stream's variance behind each block, over samples and units."""
    found: list[float] = []
    for name, module in network.named_modules():
        if name.startswith("body.hidden"):
            module.register_forward_hook(
                lambda _, __, y: found.append(y.var().item())
            ) if name.count(".") == 1 else None
    network(x)
    return found


def test_variance_of_a_normalizer_free_stream_is_as_predicted(configure: Any) -> None:
    """1 + kα² behind k blocks: 3 behind 50 with α = 0.2 (claim C30's figures)."""
    config = configure(
        *("mlp", "none"),
        depth=52,
        width=512,
        block="pre",
        residual=True,
        branch_scale="normalizer_free",
        weight_standardization="scaled",
    )
    network = built(config, jitter=False)
    found = streams(network, pictures(256))
    assert len(found) == 51
    for k in (0, 10, 25, 50):
        assert found[k] == pytest.approx(1 + k * 0.04, rel=0.05)


@pytest.mark.parametrize("way", ["skipinit", "sqrt_depth", "normalizer_free"])
def test_scaled_standardization_keeps_a_conv_stream_through_its_shortcuts(
    configure: Any, way: str
) -> None:
    """Behind a block that changes shapes its variance is that of before it, in an NF-ResNet 1, with
    what the branch adds."""
    form = {"depth": 14, "width": 32, "block": "pre", "shortcut": "B", "residual": True}
    more = {"branch_scale": way, "weight_standardization": "scaled"}
    network = built(configure("cnn", "none", **form, **more), jitter=False)
    found: list[tuple[float, float]] = []
    for stage in (2, 3):
        block = network.get_submodule(f"body.stage{stage}.block1")
        block.register_forward_hook(
            lambda _, args, y: found.append((args[0].var().item(), y.var().item()))
        )
    generator = torch.Generator().manual_seed(3)
    network(torch.randn(32, 3, 32, 32, generator=generator, dtype=torch.float64))
    assert len(found) == 2
    for before, after in found:
        added = {"skipinit": 0.0, "sqrt_depth": before / 6, "normalizer_free": 0.04}[way]
        kept = 1.0 if way == "normalizer_free" else before
        assert after == pytest.approx(kept + added, rel=0.15)


@pytest.mark.parametrize(
    ("way", "expected"),
    [("one", 1.5**50), ("sqrt_depth", (1 + 0.5 / 50) ** 50), ("depth", (1 + 0.5 / 2500) ** 50)],
)
def test_what_scales_a_branch_decides_how_a_stream_grows(
    configure: Any, way: str, expected: float
) -> None:
    """xₗ₊₁ = x + c·W tanh-free identity(x): each block's variance is 1 + c²σ_w² as large."""
    config = configure(
        *("mlp", "none"),
        depth=52,
        width=512,
        block="pre",
        residual=True,
        branch_scale=way,
        activation="identity",
        init="normal",
        init_std=math.sqrt(0.5 / 512),
    )
    found = streams(built(config, jitter=False), pictures(256))
    assert found[-1] / found[0] == pytest.approx(expected, rel=0.25 if way == "one" else 0.05)


CLOSED = [
    ("mlp", {**MLP, "block": "pre", "branch_scale": "skipinit"}, "none", "before"),
    ("mlp", {**MLP, "branch_scale": "skipinit"}, "bn", "before"),
    ("cnn", {**CNN, "branch_scale": "skipinit"}, "none", "before"),
    ("cnn", {**CNN, "branch_scale": "fixup"}, "none", "before"),
    ("mlp", {**MLP, "block": "pre", "branch_scale": "fixup"}, "none", "before"),
    ("cnn", {**CNN, "branch_scale": "fixup", "init": "pytorch", "bias": True}, "none", "before"),
    ("mlp", {**MLP, "block": "pre", "branch_scale": "fixup", "bias_std": 0.3}, "none", "before"),
    ("cnn", {**CNN, "branch_scale": "zero_gamma"}, "bn", "before"),
    ("cnn", {**CNN, "branch_scale": "zero_gamma"}, "gn", "before"),
    ("cnn", {**CNN, "branch_scale": "zero_gamma", "block": "pre"}, "ln", "after"),
    ("mlp", {**MLP, "branch_scale": "zero_gamma"}, "in", "after"),
    ("mlp", {**MLP, "branch_scale": "zero_gamma"}, "rms", "after"),
    ("mlp", {**MLP, "branch_scale": "zero_gamma", "activation": "gelu"}, "dyt", "before"),
]


@pytest.mark.parametrize(("model", "form", "norm", "position"), CLOSED, ids=str)
def test_blocks_begin_as_their_skips_and_open_in_training(
    configure: Any, model: str, form: dict[str, Any], norm: str, position: str
) -> None:
    place = {} if norm == "none" else {"position": position}
    config = configure(model, norm, residual=True, **form, **place)
    network, x = built(config, jitter=False), pictures()
    blocks = [m for m in network.modules() if getattr(m, "residual", False)]
    assert len(blocks) == config.model.blocks
    given: list[tuple[Tensor, Tensor]] = []
    for block in blocks:
        block.register_forward_hook(lambda _, args, y: given.append((args[0], y)))
    F.cross_entropy(network(x), torch.tensor([0, 1, 2, 3])).backward()
    for before, after in given:
        if before.shape == after.shape:
            torch.testing.assert_close(after, before, rtol=0, atol=0)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), 0.5)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(network(x), torch.tensor([0, 1, 2, 3])).backward()
        optimizer.step()
    weights = {id(layer.module.weight) for layer in weight_layers(network)}
    for old, new in zip(before, network.parameters(), strict=True):
        assert id(new) not in weights or not torch.equal(old, new)


def test_standardized_weights_have_rows_of_mean_0_and_equal_variance(configure: Any) -> None:
    shape = {"depth": 14, "width": 4, "shortcut": "B", "residual": True}
    for kind in ("plain", "scaled"):
        config = configure("cnn", "bn", weight_standardization=kind, **shape)
        network = built(config, jitter=False)
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert len(layers) == 13 + 2
        for layer in layers:
            rows = layer.weight.flatten(1)
            assert rows.mean(1).abs().max() < 1e-12
            variance = rows.var(1, correction=0)
            gamma = 1.0 if layer is network.stem else oracle.GAMMAS["relu"]
            expected = 1.0 if kind == "plain" else gamma**2 / rows.shape[1]
            assert variance.min().item() == pytest.approx(
                expected, rel=1e-2 if kind == "plain" else 1e-9
            )
        assert not hasattr(network.output, "parametrizations")


def test_gamma_is_brock_et_als() -> None:
    """Section 3 of their paper, and the constants of their code, which were drawn by chance."""
    assert activation_gamma("relu") == pytest.approx(math.sqrt(2 / (1 - 1 / math.pi)), rel=1e-6)
    for name, drawn in (("gelu", 1.7015), ("silu", 1.7881), ("tanh", 1.5939), ("sigmoid", 4.8035)):
        assert activation_gamma(name) == pytest.approx(drawn, rel=2e-3)
        mean, square, _ = moments(name, 1.0)
        assert activation_gamma(name) == pytest.approx((square - mean**2) ** -0.5)


def test_an_mlps_blocks_are_one_network_without_skips(configure: Any) -> None:
    post, pre = (built(configure("mlp", "ln", **MLP, block=b)) for b in ("post", "pre"))
    values = [p for name, p in post.named_parameters() if "unit" not in name]
    with torch.no_grad():
        for old, new in zip(
            values, [p for n, p in pre.named_parameters() if "unit" not in n], strict=True
        ):
            new.copy_(old)
        units = [
            [p for n, p in network.named_parameters() if "unit" in n] for network in (post, pre)
        ]
        for old, new in zip(*units, strict=True):
            new.copy_(old)
    torch.testing.assert_close(pre(pictures()), post(pictures()), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------ what is refused

RESNET = ("model=resnet", "norm=bn")
REFUSED = [
    (("model=resnet", "norm=bn", "model.branch_scale=fixup"), "use norm=none"),
    (("model=resnet", "norm=wn", "model.branch_scale=fixup"), "use norm=none"),
    (
        ("model=mlp", "norm=none", "model.residual=true", "model.branch_scale=fixup"),
        "use model.block=pre",
    ),
    (("model=cnn", "model.branch_scale=depth"), "there are none; add model.residual=true"),
    (("model=mlp", "model.branch_scale=skipinit"), "there are none; add model.residual=true"),
    (
        ("model=resnet", "norm=none", "model.branch_scale=zero_gamma"),
        "norm=none has no γ to begin with 0; use norm=bn",
    ),
    ((*RESNET, "norm.affine=false", "model.branch_scale=zero_gamma"), "use norm.affine=true"),
    ((*RESNET, "norm.position=after", "model.branch_scale=zero_gamma"), "use norm.position=before"),
    (
        (*RESNET, "model.block=pre", "model.branch_scale=zero_gamma"),
        "model.activation=relu behind a norm that begins as 0",
    ),
    (
        ("model=mlp", "model.residual=true", "norm=bn", "model.branch_scale=zero_gamma"),
        "use norm.position=after",
    ),
    ((*RESNET, "model.branch_scale=normalizer_free"), "use model.block=pre"),
    ((*RESNET, "model.block=pre", "model.branch_scale=normalizer_free"), "use model.shortcut=B"),
    ((*RESNET, "model.branch_alpha=0"), "model.branch_alpha=0"),
    ((*RESNET, "model.branch_scale=two"), "one, sqrt_depth, depth, skipinit, zero_gamma"),
    (("norm=wn", "model.weight_standardization=scaled"), "use norm=none, or leave it out"),
    (("norm=none", "model.weight_standardization=plain"), "model.weight_standardization=scaled"),
    (
        ("model=encoder", "norm=ln", "model.branch_scale=depth"),
        "model.placement=deepnorm scales its skips",
    ),
]


@pytest.mark.parametrize(("overrides", "told"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_with_the_fix(overrides: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose(overrides)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_unit_of_one_weight_cannot_be_standardized(configure: Any) -> None:
    config = configure("mlp", "none", depth=3, width=1, weight_standardization="scaled")
    with pytest.raises(ConfigError, match=r"one weight a unit.*model\.width"):
        build_model(config, SHAPE, CLASSES, torch.Generator())


def test_a_description_says_how_branches_and_weights_are_made() -> None:
    base = ("model=resnet", "norm=none", "model.block=pre", "model.shortcut=B")
    free = (*base, "model.branch_scale=normalizer_free", "model.weight_standardization=scaled")
    assert describe(compose(free)) == "NF ResNet-20 scaled-ws without norm on digits"
    assert describe(compose([*base, "model.branch_scale=sqrt_depth"])).startswith("1/√L ResNet-20 ")
