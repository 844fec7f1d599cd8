"""What a claim is, as its YAML file has it, and how it fared."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from normlab.claims.messages import one_line
from normlab.errors import ConfigError
from normlab.registry import Registry

if TYPE_CHECKING:
    from normlab.analysis import Mixed

Scale = Literal["small", "paper"]
Statistic = Literal["mean", "geomean", "median", "min", "max"]
Form = Literal["number", "points", "times", "count"]  # points: of percent

PASS, FAIL, CONFOUNDED, REPORTED, INCOMPLETE = (
    "PASS",
    "FAIL",
    "CONFOUNDED",
    "REPORTED",
    "INCOMPLETE",
)
VERDICTS = (PASS, FAIL, CONFOUNDED, REPORTED, INCOMPLETE)

# Functions of Evidence and named arguments, to a figure for every seed.
MEASURES: Registry[Callable[..., dict[int, float]]] = Registry("measure", "normlab.claims.measures")
# Functions of a seed, to named figures.
DEMONSTRATIONS: Registry[Callable[[int], dict[str, float]]] = Registry(
    "demonstration",
    *("normlab.claims.demonstrations", "normlab.claims.attention"),
    *("normlab.claims.residual_branches", "normlab.claims.first_update"),
)


def _expression(value: Any) -> str:
    from normlab.claims.expressions import check_expression

    if not isinstance(value, str):
        raise PydanticCustomError("expression", "must be an expression")
    try:
        check_expression(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return value


def _gate(value: Any) -> tuple[float, float]:
    numbers = isinstance(value, list | tuple) and len(value) == 2
    if not numbers or not all(
        g is None or (isinstance(g, int | float) and not isinstance(g, bool)) for g in value
    ):
        raise PydanticCustomError("gate", "must be [low, high], with null for an open end")
    low = -math.inf if value[0] is None else value[0]
    high = math.inf if value[1] is None else value[1]
    if not low <= high:
        raise PydanticCustomError("gate", "low is above high")
    return low, high


def _experiment(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    if not isinstance(value, str):
        raise PydanticCustomError("experiment", "must be a config's name or a list of overrides")
    return value


def _seconds(value: Any) -> Any:
    return math.nan if value is None else value


Expression = Annotated[str, BeforeValidator(_expression)]
Gate = Annotated[tuple[int | float, int | float], BeforeValidator(_gate)]
Experiment = Annotated[str | tuple[str, ...], BeforeValidator(_experiment)]


class Part(BaseModel):
    """A part of a claim's file: unknown keys are refused, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Measure(Part):
    """A figure with its gate: low ≤ statistic over the seeds ≤ high; none is only reported.

    The figure is an expression over runs, or a function of MEASURES, whose arguments stand in the
    file beside the other keys.
    """

    name: str
    value: Expression | None = None
    measure: str | None = None
    arguments: Mapping[str, Any] = {}
    gate: Gate | None = None
    statistic: Statistic = "mean"
    form: Form = "number"
    confounds: bool = False  # outside its gate, what the others show has another explanation

    @model_validator(mode="before")
    @classmethod
    def _gather_arguments(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "measure" not in values:
            return values
        own = {key: value for key, value in values.items() if key in cls.model_fields}
        if not isinstance(own.get("arguments", {}), dict):
            raise PydanticCustomError("arguments", "arguments stand beside the other keys")
        others = {str(key): value for key, value in values.items() if key not in own}
        return {**own, "arguments": {**own.get("arguments", {}), **others}}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.value is None) == (self.measure is None):
            raise ValueError(f"{self.name}: must have either a value, an expression, or a measure")
        if self.measure is not None:
            try:
                read_arguments(self.measure, self.arguments)
            except ConfigError as error:
                raise ValueError(f"{self.name}: {error}") from error
        return self


def read_arguments(measure: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in the types of a function of MEASURES; raises ConfigError for others."""
    model = _arguments_of(MEASURES[measure])
    try:
        return dict(model.model_validate(dict(arguments)))
    except ValidationError as error:
        raise ConfigError(f"measure={measure}: {one_line(error, lambda _: model)}") from error


@functools.cache
def _arguments_of(function: Callable[..., Any]) -> type[BaseModel]:
    """The arguments beside the evidence that a measure's function takes."""
    _, *parameters = inspect.signature(function).parameters.values()
    fields: dict[str, Any] = {
        p.name: (p.annotation, ... if p.default is p.empty else p.default) for p in parameters
    }
    return create_model("Arguments", __base__=Part, **fields)


class Protocol(Part):
    """How a claim is put to the test at one scale: runs of an experiment, or a demonstration."""

    about: str  # what is run
    experiment: Experiment | None = None  # a config's name, or overrides
    demonstration: str | None = None  # a name of DEMONSTRATIONS
    # On 2 CPU cores; NaN, null in the file, where it is meant for a GPU.
    seconds: Annotated[float, BeforeValidator(_seconds)] = 1.0
    diverging: bool = False  # whether a run that diverges is a result like any other
    measures: tuple[Measure, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.experiment is None) == (self.demonstration is None):
            raise ValueError("a protocol must have either an experiment or a demonstration")
        if not self.measures:
            raise ValueError("measures: a protocol must measure something")
        named: dict[str, Measure] = {}
        for measure in self.measures:
            if self.demonstration is not None and measure.value is not None:
                raise ValueError(
                    f"{measure.name}: value={measure.value}: a demonstration has no runs; write "
                    "measure: demonstrated and the figure's name"
                )
            # Verdicts are kept by the measures' names.
            if named.setdefault(measure.name, measure) != measure:
                raise ValueError(f"name={measure.name}: another measure has it; give it its own")
        return self


class Claim(Part):
    """A statement with its source, and how it is tested."""

    id: str
    title: str
    statement: str
    source: str
    found: str = ""  # by the source
    compares: str = ""
    trap: str = ""
    arm: str = ""  # the command of a single arm
    pilot: str = ""  # what was seen before the gate was frozen
    small: Protocol
    paper: Protocol | None = None
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """Where a person's own claim stands; None for normlab's."""
        return self._file

    def kept_in(self, file: Path) -> Self:
        """The same claim as a person's own that stands in a file."""
        copy = self.model_copy()
        copy._file = file
        return copy

    def at(self, scale: Scale) -> Protocol | None:
        """Its protocol of a scale, if it has one."""
        return self.small if scale == "small" else self.paper

    def protocol(self, scale: Scale) -> Protocol:
        """Raises ConfigError where the claim has none of this scale."""
        protocol = self.at(scale)
        if protocol is None:
            raise ConfigError(f"{self.id}: has no protocol at --scale {scale}; leave --scale out")
        return protocol


@dataclass(frozen=True)
class Measured:
    """A measure's figure: its statistic over n seeds, with the spread low to high."""

    measure: Measure
    value: float
    low: float
    high: float
    n: int
    missing: int = 0  # of the seeds

    @property
    def holds(self) -> bool:
        """Whether the figure lies within the gate."""
        gate = self.measure.gate
        return gate is None or gate[0] <= self.value <= gate[1]


@dataclass(frozen=True)
class Verdict:
    """How a claim fared."""

    claim: Claim
    scale: Scale
    verdict: str
    measured: tuple[Measured, ...] = ()
    reason: str = ""  # of INCOMPLETE
    folders: tuple[Path, ...] = ()  # of the runs that it is judged by
    unlike: "tuple[Mixed, ...]" = ()  # what these were not all made alike with
    evidence: str = ""  # a digest of what it rests on, as that was when it was judged

    @property
    def n(self) -> int:
        """The least number of seeds behind a figure."""
        return min((part.n for part in self.measured), default=0)
