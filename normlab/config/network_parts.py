"""What a norm, an activation, an initializer, a model and a probe are, and their registries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from normlab.config.numbers import Count, NonNegative, NonNegativeOrAuto
from normlab.config.parts import Choices, OneOf, Part
from normlab.errors import ConfigError
from normlab.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from normlab.config.schema import Config

    Values = NDArray[np.float64]

ACTIVATIONS: "Registry[Activation]" = Registry("model.activation", "normlab.networks.activations")
INITIALIZERS: "Registry[Initializer]" = Registry("model.init", "normlab.networks.initializers")
PROBES: "Registry[Probe]" = Registry(
    "probe",
    "normlab.measurement.probes",
    "normlab.measurement.sample_probes",
    "normlab.measurement.move_probes",
    "normlab.measurement.token_probes",
)


class Norm(Part):
    """A normalization, of activations or of weights."""

    label: ClassVar[str]  # such as BatchNorm
    adjective: ClassVar[str | None] = None  # of a variant, as in `no-norm plain`; its name if none
    colour: ClassVar[str] = "#777777"  # in every picture
    # Whether activations are normalized; else mean-field theory of networks without norm holds.
    normalizes: ClassVar[bool] = True
    # Whether its statistics are of the batch, so that samples are coupled.
    over_batch: ClassVar[bool] = False
    # Whether it gives layers' weights another form.
    of_weights: ClassVar[bool] = False
    # Whether `runtime.channels_last` is for it: a convolutional network is faster so, and its
    # module takes that order at the cost of its sums' last digits, no more.
    channels_last: ClassVar[bool] = False

    @property
    def phrase(self) -> str:
        """How a run's description has it: `CNN-20 bn on digits`."""
        return self.name

    @property
    def sees_padding(self) -> bool:
        """Whether what lies in padding changes how real tokens are normalized."""
        return self.over_batch

    @property
    def before_activation(self) -> bool:
        """Whether it stands before the nonlinearity."""
        return True

    @property
    def has_gamma(self) -> bool:
        """Whether it learns a factor for each channel, `weight`, that begins as 1."""
        return False

    def share_of_start(self, steps: int) -> float:
        """The share that running statistics, as eval mode uses them, still have of the values they
        began with, after so many training steps; 0 where there are none."""
        return 0.0

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

    def build_masked(self, channels: int) -> "nn.Module | None":
        """The module for rows [N, C], called with them and with which are real, [N], or None where
        all are; None of a norm that does not ask which are, whose module `build` gives."""
        return None

    def reparametrize(self, layer: "nn.Linear | nn.Conv2d") -> None:
        """Change how a layer keeps its weight; most norms leave it as it is."""

    def gradient_factor(self, config: "Config") -> tuple[float, str] | None:
        """δ's factor per layer towards the input at initialization where a theorem gives it, and
        its source; None where none is known."""
        return None


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity φ.

    `function` is PyTorch's, as `module:name` or itself; where a number of it is learned, it takes
    that, a tensor [1], behind its input, and `learned` is what it begins with. `phi` and `slope`
    are φ and φ′ on arrays, for mean-field theory; where they are not given, its predictions are not
    known.
    """

    function: "str | Callable[..., Tensor]"
    phi: "Callable[[Values], Any] | None" = None
    slope: "Callable[[Values], Any] | None" = None
    odd_curvature: bool = False  # φ″(−x) = −φ″(x), so that E[φ″] = 0 over a centred Gaussian
    homogeneous: bool = False  # φ(ax) = aφ(x) for a > 0
    saturates: bool = False
    # The factor of δ² per layer towards the input behind BatchNorm at initialization, without skips
    # and at large batches (Yang et al. 2019); None: not known.
    batch_norm_growth: float | None = None
    learned: float | None = None
    usual: bool = False  # a run's description does without its name


@dataclass(frozen=True)
class Initializer:
    """A scheme for a layer's weight W [n_out, n_in, …]; fan-in and fan-out count positions too.

    `fill(weight, gain, std, generator)` fills W in place; `std` is model.init_std.
    `variance(fan_in, fan_out, gain, std)` is fan_in·Var(W), for mean-field theory; where it is not
    given, it is not known.
    """

    fill: "Callable[[Tensor, float, float | None, torch.Generator], None]"
    source: str  # its paper
    variance: Callable[[int, int, float, float | None], float] | None = None
    takes_std: bool = False  # needs model.init_std
    leaves_zeros: bool = False  # a unit's weights may all be 0
    # The bound b of biases ~ U[−b, b] by fan-in; None where they are N(0, model.bias_std²).
    bias_bound: Callable[[int], float] | None = None


class Model(Part):
    """A network."""

    depth: Annotated[int, Field(ge=1, le=10_000)]
    width: Count
    activation: Annotated[str, OneOf(ACTIVATIONS)]
    residual: bool
    bias: bool
    init: Annotated[str, OneOf(INITIALIZERS)]
    init_gain: NonNegativeOrAuto
    init_std: NonNegative | None
    bias_std: NonNegative

    # Whether its layers keep height and width of an image; else each has one value a channel.
    spatial: ClassVar[bool]
    # Whether `runtime.channels_last` is for it, as for convolutional networks.
    channels_last: ClassVar[bool] = False
    # Whether it is the MLP that mean-field theory is of: equal layers, each of the one before it.
    in_theory: ClassVar[bool] = False
    # Whether its layers see several tokens of a sample, in blocks whose layers have roles.
    of_tokens: ClassVar[bool] = False
    # Whether it leaves out what the last channel of padded images says is padding.
    takes_padding: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check_init(self) -> Self:
        scheme = INITIALIZERS.get(self.init)
        if scheme is None:  # of a plugin that is not here
            return self
        takes_std = scheme.takes_std
        if takes_std and self.init_std is None:
            raise ValueError(
                f"model.init={self.init}: needs a standard deviation; add model.init_std=0.01"
            )
        if not takes_std and self.init_std is not None:
            raise ValueError(
                f"model.init_std={self.init_std}: only model.init=normal has one; "
                f"scale {self.init} with model.init_gain"
            )
        if self.init_gain == "auto":
            self._check_auto(scheme)
        if self.bias_std and not self.bias:
            raise ValueError(
                f"model.bias_std={self.bias_std}: there are no biases; add model.bias=true"
            )
        if self.bias_std and scheme.bias_bound is not None:
            raise ValueError(
                f"model.bias_std={self.bias_std}: model.init={self.init} draws biases by itself; "
                "use model.bias_std=0"
            )
        return self

    def _check_auto(self, scheme: Initializer) -> None:
        activation, named = ACTIVATIONS.get(self.activation), "model.init_gain=auto"
        if scheme.takes_std or scheme.variance is None:
            raise ValueError(
                f"{named}: model.init={self.init} does not scale weights by their layer's size; "
                "use model.init=lecun_normal, or a number"
            )
        if activation is not None and activation.phi is None:
            raise ValueError(
                f"{named}: φ of model.activation={self.activation} is not known on arrays; give a "
                "number"
            )
        if self.bias_std or (self.bias and scheme.bias_bound is not None):
            why = f"bias_std={self.bias_std}" if self.bias_std else f"init={self.init}"
            raise ValueError(
                f"{named}: is computed for biases that begin as 0, and model.{why} draws them; "
                "give a number"
            )

    @property
    def family(self) -> str:
        """The kind of network, such as `ResNet`."""
        return self.name

    @property
    def title(self) -> str:
        """Such as `ResNet-56`, with its nonlinearity where that is an unusual one."""
        activation = ACTIVATIONS.get(self.activation)
        usual = activation is not None and activation.usual
        return f"{self.family}-{self.depth}{'' if usual else f' {self.activation}'}"

    @property
    def uses_norm(self) -> bool:
        """Whether the norm of its config stands anywhere in it."""
        return True

    @property
    def weights_are_drawn(self) -> bool:
        """Whether its layers' weights are what `init` draws, independently of each other."""
        return True

    @property
    def channels(self) -> tuple[int, ...]:
        """The different numbers of its hidden layers' channels or units, from the input."""
        return (self.width,)

    @property
    def hidden_layers(self) -> int:
        """How many layers stand one after the other before the output layer."""
        return self.depth - 1

    def build(self, config: "Config", shape: tuple[int, int, int], classes: int) -> "nn.Module":
        """The network for images of a shape [C, H, W], with PyTorch's own initialization."""
        raise NotImplementedError

    def initialize_beside_layers(self, network: "nn.Module", generator: "torch.Generator") -> None:
        """What is to be done to a network whose layers' weights and biases have been drawn."""

    def rate_shares(self, network: "nn.Module") -> "dict[nn.Parameter, float]":
        """What the learning rates of a network's parameters are over that of the others, where they
        are not the same."""
        return {}

    def build_shift(self) -> "nn.Module | None":
        """What stands before every nonlinearity, and before every layer behind one, if anything."""
        return None

    @property
    def is_silent_at_start(self) -> bool:
        """Whether its output layer begins as 0, by design, so that other layers get no gradient at
        initialization."""
        return False

    @property
    def excludes_norms(self) -> bool:
        """Whether its way of scaling branches goes without any norm."""
        return False

    def reparametrize(self, network: "nn.Module") -> None:
        """Change how a network whose initialization is done keeps its weights."""

    def feature_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """Heights and widths of its feature maps, from the first stage to the last, or how its
        tokens lie; none where each layer has one value a unit."""
        return []


@dataclass(frozen=True)
class InParts:
    """How a measurement is made of parts of a batch whose samples do not depend on each other.

    `gather(seen)` of an `Observation` of a part, `join` of what two parts gave, and `finish` of
    what all gave together. ∂L/∂z is always of the whole batch's loss.
    """

    gather: "Callable[[Any], tuple[Tensor, ...]]"
    join: "Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Tensor, ...]]"
    finish: "Callable[[tuple[Tensor, ...]], Tensor]"


@dataclass(frozen=True)
class Probe:
    """A measurement of every layer, or of a block's tokens: a name, and a pure function.

    `measure` takes an `Observation` of a snapshot, with `role` the `Tokens` of a block, with
    `of_moves` the `Moves` of a layer; None for what the training step measures of itself. Without
    `parts` an `Observation` is of the whole batch at once.
    """

    name: str
    label: str
    measure: Callable[[Any], "Tensor"] | None
    logarithmic: bool = False  # spans decades and is not negative
    gradient: bool = False  # the size of a gradient
    diagnosed: bool = False  # by it a vanishing gradient is told from an exploding one
    parts: InParts | None = None
    role: str | None = None  # of a block's layer, in whose row stands what its tokens show
    short: str = ""  # its label where room is scarce; without, the label itself
    of_moves: bool = False  # of how gradients change as the weights move
    replaces_padding: bool = False  # looks at `Tokens.replaced`

    @property
    def key(self) -> str:
        """The setting that has it measured."""
        return "probes.measure" if self.role is None else "probes.tokens"

    def __post_init__(self) -> None:
        if self.role is not None and self.parts is None:
            raise ConfigError(f"probe {self.name}: of tokens, needs parts=InParts(…)")


NORMS: Choices[Norm] = Choices("norm", Norm, "normlab.networks.norms")
MODELS: Choices[Model] = Choices("model", Model, "normlab.networks.models")
