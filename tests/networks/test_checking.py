"""A network from outside that cannot be measured says in one line what is wrong."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from normlab.config import MODELS, NORMS, Config, Model, Norm, compose
from normlab.errors import ConfigError
from normlab.networks import Nonlinearity, NormActivation, build_model, weight_layers
from tests.conftest import TINY

SHAPE, CLASSES = (1, 4, 4), 10


def unit() -> nn.Module:
    return NormActivation(compose(["norm=bn"]), 8, spatial=False)


def relu() -> nn.Module:
    return Nonlinearity("relu")


class Backwards(nn.Module):
    """Two layers that are defined in the other order than they run in."""

    def __init__(self, *, units: bool) -> None:
        super().__init__()
        layers = {"second": nn.Linear(8, 8), "first": nn.Linear(16, 8)}
        if units:
            layers = dict(reversed(layers.items()))
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.output = nn.Linear(8, CLASSES)
        self.unit2, self.unit1 = relu(), relu()

    def forward(self, x: torch.Tensor) -> Any:
        return self.output(self.unit2(self.second(self.unit1(self.first(x.flatten(1))))))


class Shared(nn.Module):
    """One layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.output = (
            *(nn.Linear(16, 8), nn.Linear(8, 8)),
            nn.Linear(8, CLASSES),
        )
        self.units = nn.ModuleList(relu() for _ in range(3))

    def forward(self, x: torch.Tensor) -> Any:
        h = self.units[0](self.first(x.flatten(1)))
        for unit in self.units[1:]:
            h = unit(self.again(h))
        return self.output(h)


class Aside(nn.Module):
    """A layer that has no part in the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.output = nn.Linear(16, 8), nn.Linear(16, CLASSES)
        self.unit = relu()

    def forward(self, x: torch.Tensor) -> Any:
        self.unit(self.first(x.flatten(1)))
        return self.output(x.flatten(1))


def chain(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *modules)


NETWORKS: dict[str, tuple[Callable[[], Any], str]] = {
    "sound": (lambda: chain(nn.Linear(16, 8), unit(), nn.Linear(8, CLASSES)), ""),
    "lone": (lambda: chain(nn.Linear(16, CLASSES)), ""),
    "list": (lambda: [nn.Linear(16, CLASSES)], "build gives list, not a torch.nn.Module"),
    "bare": (lambda: chain(nn.Flatten()), r"gives \[2, 16\] for 2 images, not logits \[2, 10\]"),
    "empty": (
        lambda: chain(nn.AdaptiveAvgPool1d(CLASSES)),
        "has neither a Linear nor a Conv2d layer",
    ),
    "crash": (lambda: chain(nn.Linear(15, CLASSES)), r"fails on images of shape \[1, 4, 4\] \("),
    "plain": (
        lambda: chain(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, CLASSES)),
        "has 0 nonlinearities between its layers 1 and 3; put one NormActivation or Nonlinearity",
    ),
    "twice": (
        lambda: chain(nn.Linear(16, 8), relu(), relu(), nn.Linear(8, CLASSES)),
        "has 2 nonlinearities between its layers 1 and 4",
    ),
    "before": (lambda: chain(relu(), nn.Linear(16, CLASSES)), "before its first layer, 2"),
    "behind": (lambda: chain(nn.Linear(16, CLASSES), relu()), "behind its last layer, 1"),
    "shared": (Shared, "calls its layer again 2 times in a pass"),
    "aside": (Aside, "has a layer, first, on which the logits do not depend"),
    "backwards": (lambda: Backwards(units=False), "runs its layer first before second"),
    "units": (lambda: Backwards(units=True), "defines its nonlinearities in another order"),
}


class FromOutside(Model):
    """Whatever a test has it build."""

    spatial = False
    built: Any = None

    def build(self, config: Config, shape: tuple[int, int, int], classes: int) -> Any:  # noqa: ARG002
        return self.built()


@pytest.fixture
def config() -> Iterator[Config]:
    FromOutside.values_of = "mlp"
    MODELS.add("outside", FromOutside)
    try:
        yield compose([*TINY[:-3], "model=outside", "norm=bn"])
    finally:
        MODELS.remove("outside")


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_network_is_to_be(config: Config, name: str) -> None:
    build, message = NETWORKS[name]
    model = config.model.model_copy(update={"built": build})
    config = config.model_copy(update={"model": model})
    state = torch.get_rng_state()
    if not message:
        assert weight_layers(build_model(config, SHAPE, CLASSES, torch.Generator()))
        assert torch.equal(torch.get_rng_state(), state)
        return
    with pytest.raises(ConfigError, match=message) as caught:
        build_model(config, SHAPE, CLASSES, torch.Generator())
    assert str(caught.value).startswith("model=outside norm=bn: ")
    assert "\n" not in str(caught.value)


def test_statistics_are_as_before_the_look() -> None:
    class Odd(Norm):
        label = "odd"

        def build(self, channels: int, *, spatial: bool) -> nn.Module:  # noqa: ARG002
            return nn.BatchNorm1d(channels)

    NORMS.add("odd", Odd)
    try:
        network = build_model(compose([*TINY, "norm=odd"]), SHAPE, CLASSES, torch.Generator())
    finally:
        NORMS.remove("odd")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    assert len(norms) == 3
    assert all(norm.num_batches_tracked == 0 and not norm.running_mean.any() for norm in norms)


@pytest.mark.parametrize("padding", [0.0, 0.5])
def test_a_norm_from_outside_normalizes_the_tokens_of_an_encoder(padding: float) -> None:
    class Halved(Norm):
        label = "halved"

        def build(self, channels: int, *, spatial: bool) -> nn.Module:  # noqa: ARG002
            return nn.LayerNorm(channels)

    NORMS.add("halved", Halved)
    overrides = [*TINY[:-3], "model=encoder", "model.depth=2", f"data.padding={padding}"]
    shape = (SHAPE[0] + bool(padding), *SHAPE[1:])
    try:
        config = compose([*overrides, "norm=halved"])
        network = build_model(config, shape, CLASSES, torch.Generator())
    finally:
        NORMS.remove("halved")
    assert len([m for m in network.modules() if isinstance(m, nn.LayerNorm)]) == 5
    assert len(weight_layers(network)) == 14


def test_a_norm_that_builds_nothing_says_so() -> None:
    class Nothing(Norm):
        label = "nothing"

        def build(self, channels: int, *, spatial: bool) -> Any:  # noqa: ARG002
            return None

    NORMS.add("nothing", Nothing)
    try:
        with pytest.raises(ConfigError, match="norm=nothing: fails on images of shape"):
            build_model(compose([*TINY, "norm=nothing"]), SHAPE, CLASSES, torch.Generator())
    finally:
        NORMS.remove("nothing")
