"""What a part of each kind is, and the registries that hold them.

A part that a config chooses (a norm, a model, …) is a pydantic class: its fields are the keys of
its YAML file, its methods say how it is built, and its class variables hold what else is known of
it. Modules with parts import PyTorch within functions only: reading a config needs none of it.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from normlab.config.numbers import Count, NonNegative
from normlab.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from normlab.config.schema import Config

    # What parts make is defined further down the house, for readers of types alone.
    from normlab.data import Dataset
    from normlab.training import ParameterGroup

    Values = NDArray[np.float64]


class Settings(BaseModel):
    """Some keys of a config: unknown ones are refused, nothing is converted, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Part(Settings):
    """What a config group chooses by its `name`."""

    name: str

    def check(self, config: "Config") -> None:
        """Raise ValueError, `dotted.key=value: why; what instead`, where it cannot go with the
        rest of the config."""


P = TypeVar("P", bound=Part)


class Choices(Registry[type[P]], Generic[P]):
    """The registry of a config group: reads a group's mapping as the part that it names."""

    def read(self, values: Any) -> Any:
        """The part that a mapping names; pydantic calls it before it validates a config."""
        if isinstance(values, Part) or not isinstance(values, Mapping):
            return values
        if "name" not in values:
            raise PydanticCustomError("missing", "is missing")
        part = self.get(str(values["name"]))
        if part is None:
            raise PydanticCustomError(
                "unknown_part", "no such choice", {"name": values["name"], "choices": list(self)}
            )
        return part.model_validate(values)


@dataclass(frozen=True)
class OneOf:
    """Admit the names of a registry's parts: `Annotated[str, OneOf(NORMS)]`."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def check(self, name: str) -> str:
        """The name itself; raises what pydantic tells where there is no such part."""
        if name not in self.registry:
            choices = list(self.registry)
            raise PydanticCustomError("unknown_choice", "no such choice", {"choices": choices})
        return name


ACTIVATIONS: "Registry[Activation]" = Registry("model.activation", "normlab.networks.activations")
INITIALIZERS: "Registry[Initializer]" = Registry("model.init", "normlab.networks.initializers")
PROBES: "Registry[Probe]" = Registry("probe", "normlab.measurement.probes")


# ------------------------------------------------------------------------------- networks


class Norm(Part):
    """A normalization, of activations or of weights."""

    label: ClassVar[str]  # such as BatchNorm
    adjective: ClassVar[str | None] = None  # of a variant, as in `no-norm plain`; its name if none
    colour: ClassVar[str] = "#777777"  # in every picture
    # Whether activations are normalized; else mean-field theory of networks without norm holds.
    normalizes: ClassVar[bool] = True
    # Whether its statistics are of the batch, so that samples are coupled.
    over_batch: ClassVar[bool] = False

    @property
    def phrase(self) -> str:
        """How a run's description has it: `CNN-20 bn on digits`."""
        return self.name

    @property
    def before_activation(self) -> bool:
        """Whether it stands before the nonlinearity."""
        return True

    @property
    def erases_channel_means(self) -> bool:
        """Whether every sample's mean of a channel is the same behind it, as pooling then sees."""
        return False

    def check_images(self, config: "Config", sizes: Sequence[tuple[int, int]]) -> None:
        """Raise ConfigError where a network's feature maps, of these heights and widths from its
        first stage to its last, leave a single value to normalize."""

    def build(self, channels: int, *, spatial: bool) -> "nn.Module":
        """The module for outputs [B, C] of a linear layer, [B, C, H, W] if `spatial`."""
        raise NotImplementedError

    def reparametrize(self, layer: "nn.Linear | nn.Conv2d") -> None:
        """Change how a layer keeps its weight; most norms leave it as it is."""

    def gradient_factor(self, config: "Config") -> tuple[float, str] | None:
        """δ's factor per layer towards the input at initialization where a theorem gives it, and
        its source; None where none is known."""
        return None


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity φ.

    `function` is PyTorch's, as `module:name` or itself. `phi` and `slope` are φ and φ′ on arrays,
    for mean-field theory; where they are not given, its predictions are not known.
    """

    function: "str | Callable[[Tensor], Tensor]"
    phi: "Callable[[Values], Any] | None" = None
    slope: "Callable[[Values], Any] | None" = None
    odd_curvature: bool = False  # φ″(−x) = −φ″(x), so that E[φ″] = 0 over a centred Gaussian
    homogeneous: bool = False  # φ(ax) = aφ(x) for a > 0
    saturates: bool = False
    usual: bool = False  # a run's description does without its name


@dataclass(frozen=True)
class Initializer:
    """A scheme for a layer's weight W [n_out, n_in, …]; fan-in and fan-out count positions too.

    `fill(weight, gain, std, generator)` fills W in place; `std` is model.init_std.
    `hidden_variance(width, std)` is n·Var(W) of a square hidden layer before its gain, for
    mean-field theory; where it is not given, it is not known.
    """

    fill: "Callable[[Tensor, float, float | None, torch.Generator], None]"
    source: str  # its paper
    hidden_variance: Callable[[int, float | None], float] | None = None
    takes_std: bool = False  # needs model.init_std


class Model(Part):
    """A network."""

    depth: Annotated[int, Field(ge=1, le=1000)]
    width: Count
    activation: Annotated[str, OneOf(ACTIVATIONS)]
    residual: bool
    bias: bool
    init: Annotated[str, OneOf(INITIALIZERS)]
    init_gain: NonNegative
    init_std: NonNegative | None
    bias_std: NonNegative

    # Whether its layers keep height and width of an image; else each has one value a channel.
    spatial: ClassVar[bool]

    @property
    def family(self) -> str:
        """The kind of network, such as `ResNet`."""
        return self.name

    @property
    def title(self) -> str:
        """Such as `ResNet-56`, with its nonlinearity where that is an unusual one."""
        usual = ACTIVATIONS[self.activation].usual
        return f"{self.family}-{self.depth}{'' if usual else f' {self.activation}'}"

    @property
    def channels(self) -> tuple[int, ...]:
        """The different numbers of its hidden layers' channels or units, from the input."""
        return (self.width,)

    def build(self, config: "Config", shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """The network for images of a shape [C, H, W], with PyTorch's own initialization."""
        raise NotImplementedError

    def feature_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """Heights and widths of its feature maps, from the first stage to the last."""
        return []


# ----------------------------------------------------------------- data, training, running


class DataSet(Part):
    """Training and test images with labels."""

    @property
    def augmentation(self) -> tuple[int, bool]:
        """Zeros that a random crop pads with on each side, and whether images are mirrored."""
        return 0, False

    def load(self, device: "torch.device") -> "Dataset":
        """The data set found, downloaded or drawn, cut to size, standardized, on the device."""
        raise NotImplementedError

    @classmethod
    def locate(cls, root: str | None = None) -> "Path | None":
        """The folder or file that holds it, or None where it is not on this machine."""
        return None

    @classmethod
    def has_files(cls) -> bool:
        """Whether it lies in files; else it is drawn anew."""
        return False


class Optimizer(Part):
    """An update of the weights along their gradients."""

    lr: NonNegative
    weight_decay: NonNegative
    decay: Literal["all", "weights"]

    def remember(self, group: "ParameterGroup") -> None:
        """Give a group of parameters what the optimizer remembers before its first step."""

    def update(self, group: "ParameterGroup", gradients: "list[Tensor]", lr: float) -> None:
        """One step of a group's parameters, in place."""
        raise NotImplementedError


class Schedule(Part):
    """The learning rate as a pure function of the step."""

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by at training step `step` (from 0) of `steps`."""
        raise NotImplementedError


class Launcher(Part):
    """Where the runs of a sweep are made."""

    def launch(self, configs: "Sequence[Config]", *, force: bool) -> Generator[Any, None, None]:
        """Make runs and yield their outcomes as they end."""
        raise NotImplementedError


# --------------------------------------------------------------------------- measurements


@dataclass(frozen=True)
class Probe:
    """A measurement of every layer: a name, and a pure function of what the layer did.

    `measure` takes an `Observation` of a snapshot; None for what the training step measures of
    itself.
    """

    name: str
    label: str
    measure: Callable[[Any], "Tensor"] | None
    logarithmic: bool = False  # spans decades and is not negative
    gradient: bool = False  # the size of a gradient
    diagnosed: bool = False  # by it a vanishing gradient is told from an exploding one


NORMS: Choices[Norm] = Choices("norm", "normlab.networks.norms")
MODELS: Choices[Model] = Choices("model", "normlab.networks.models")
DATA_SETS: Choices[DataSet] = Choices(
    "data",
    *("normlab.data.digits", "normlab.data.idx", "normlab.data.cifar", "normlab.data.gaussian"),
)
OPTIMIZERS: Choices[Optimizer] = Choices("optimizer", "normlab.training.optimizers")
SCHEDULES: Choices[Schedule] = Choices("schedule", "normlab.training.schedules")
LAUNCHERS: Choices[Launcher] = Choices(
    "launcher",
    *("normlab.runs.launchers.local", "normlab.runs.launchers.ray"),
    "normlab.runs.launchers.slurm",
)
