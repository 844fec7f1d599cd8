"""What a claim is, read from YAML: normlab's own in configs/claim/ and a person's in any file.

Gates were calibrated (C06 to C10) or fixed before the final runs, and are never widened. Pilots,
which a claim quotes, were on seeds 100–102, which the final runs do not use; C09's paper scale had
none.
"""

import functools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from normlab.claims.expressions import check_expression, evaluate
from normlab.claims.registries import MEASURES, BySeed
from normlab.config import OneOf, config_folder, error_sentence, read_yaml
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from normlab.claims.evidence import Evidence

Scale = Literal["small", "paper"]
Statistic = Literal["mean", "geomean", "median", "min", "max"]
Bound = int | float
Form = Literal["number", "points", "times", "count"]  # points: of percent


def _open_ends(gate: Any) -> Any:
    """[low, high] with null for an open end, as numbers."""
    if gate is None:
        return None
    numbers = isinstance(gate, list | tuple) and len(gate) == 2
    if not numbers or not all(
        g is None or (isinstance(g, int | float) and not isinstance(g, bool)) for g in gate
    ):
        raise PydanticCustomError("gate", "must be [low, high], with null for an open end")
    low = -math.inf if gate[0] is None else gate[0]
    high = math.inf if gate[1] is None else gate[1]
    if not low <= high:
        raise PydanticCustomError("gate", "low is above high")
    return low, high


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Measure(_Settings):
    """A figure for every seed, with its gate: low ≤ statistic over the seeds ≤ high.

    The figure is the `value` of an expression over runs, a `figure` of the claim's demonstration,
    or a registered `measure` with arguments. Without a gate it is only reported.
    """

    name: str
    value: str | None = None
    figure: str | None = None
    measure: Annotated[str, OneOf(MEASURES)] | None = None
    arguments: Mapping[str, Any] = Field({}, alias="with")
    gate: Annotated[tuple[Bound, Bound] | None, BeforeValidator(_open_ends)] = None
    statistic: Statistic = "mean"
    form: Form = "number"
    confounds: bool = False  # outside its gate, what the others show has another explanation

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if sum(source is not None for source in (self.value, self.figure, self.measure)) != 1:
            raise PydanticCustomError("source", "needs one of value, figure and measure")
        if self.value is not None:
            check_expression(self.value)
        return self

    def by_seed(self, evidence: "Evidence") -> BySeed:
        """The figure of every seed; raises NormlabError where the evidence lacks a part of it."""
        if self.value is not None:
            return evaluate(self.value, evidence)
        if self.figure is not None:
            return {seed: found[self.figure] for seed, found in evidence.figures.items()}
        assert self.measure is not None
        return MEASURES[self.measure](evidence, **self.arguments)


class Protocol(_Settings):
    """How a claim is put to the test at one scale."""

    about: str  # what is run
    measures: tuple[Measure, ...] = Field(strict=False)
    # A config's name, or overrides; None: no runs.
    experiment: str | Annotated[tuple[str, ...], Field(strict=False)] | None = None
    demonstration: str | None = None  # what is shown without training
    seconds: float | None = 1.0  # on 2 CPU cores; None where it is meant for a GPU
    diverging: bool = False  # whether a run that diverges is a result like any other
    # Claims whose measures say whether this comparison means what it should.
    measures_of: tuple[str, ...] = Field((), strict=False)


class Claim(_Settings):
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
    file: Path | None = None  # of a person's own claim

    def protocol(self, scale: Scale) -> Protocol:
        """Raises ConfigError where the claim has none of this scale."""
        protocol = self.small if scale == "small" else self.paper
        if protocol is None:
            raise ConfigError(f"{self.id}: has no protocol at --scale {scale}; leave --scale out")
        return protocol


# -------------------------------------------------------------------------------- reading


def claim_ids() -> list[str]:
    """The ids of normlab's own claims, by the names of their files."""
    return sorted(file.stem for file in (config_folder() / "claim").glob("*.yaml"))


def read_claim(file: Path) -> Claim:
    """A person's own claim; raises ConfigError, one line, where it is not one.

    The file has the keys of `Claim`, or the short form: `statement`, `experiment` (a config's name,
    or a list of overrides), `metric` (an expression, or several by name), `gate` ([low, high], null
    for an open end, or several by name), and, if wanted, `id` (else the file's name), `source` and
    `statistic`.
    """
    claim = _read(file)
    if claim.id.upper() in claim_ids() or not re.fullmatch(r"[\w.+-]{1,60}", claim.id):
        raise ConfigError(
            f"{file}: id={claim.id}: must be letters, digits, . + _ or -, and no id of normlab's "
            "own"
        )
    return claim.model_copy(update={"file": file})


@functools.cache
def own_claim(name: str) -> Claim:
    """One of normlab's own claims."""
    return _read(config_folder() / "claim" / f"{name}.yaml")


def _read(file: Path) -> Claim:
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: must be a mapping with statement, experiment, metric and gate")
    values = {"id": file.stem, "source": str(file), **values}
    try:
        if "small" not in values:
            values = _full_form(values)
        for scale in ("small", "paper"):
            if scale in values:
                values[scale] = _with_measures_of_others(values[scale])
        return Claim.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{file}: {_in_a_line(error)}") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error


def _with_measures_of_others(protocol: Any) -> Any:
    """A protocol with the measures of the claims that it names."""
    if not isinstance(protocol, dict) or not protocol.get("measures_of"):
        return protocol
    others = [m for name in protocol["measures_of"] for m in own_claim(name).small.measures]
    return {**protocol, "measures": [*protocol.get("measures", []), *others]}


def _in_a_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if first["type"] == "missing":
        return f"{'.'.join(map(str, first['loc']))} is missing"
    # The short form knows of no scales and no list of measures.
    return re.sub(r"^small\.measures\.\d+\.", "", error_sentence(first))


_SHORT = ("id", "statement", "source", "experiment", "metric", "gate", "statistic")
_NEEDED = ("statement", "experiment", "metric", "gate")


def _full_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """A short claim as a full one."""
    for key in values:
        if key not in _SHORT:
            raise ConfigError(f"{key}: no such key; choices: {', '.join(_SHORT)}")
    for key in _NEEDED:
        if key not in values:
            raise ConfigError(f"{key} is missing; a claim has {', '.join(_NEEDED)}")
    metrics, gates, experiment = values["metric"], values["gate"], values["experiment"]
    if not isinstance(metrics, dict):
        metrics = {"metric": metrics}
        gates = gates if isinstance(gates, dict) else {"metric": gates}
    if not isinstance(gates, dict):
        raise ConfigError("gate: must be a mapping of the metrics' names to [low, high]")
    for name in gates:
        if name not in metrics:
            raise ConfigError(
                f"gate {name}: there is no such metric; choices: {', '.join(map(str, metrics))}"
            )
        try:
            _open_ends(gates[name])
        except PydanticCustomError as error:
            raise ConfigError(f"gate {name}={gates[name]}: {error}") from error
    for name, expression in metrics.items():
        if not isinstance(expression, str):
            raise ConfigError(f"metric {name}={expression}: must be an expression")
    if not isinstance(experiment, str | list):
        raise ConfigError(
            f"experiment={experiment}: must be a config's name or a list of overrides"
        )
    named = isinstance(experiment, str)
    statistic = {"statistic": values["statistic"]} if "statistic" in values else {}
    return {
        "id": str(values["id"]),
        "title": str(values["statement"]),
        "statement": str(values["statement"]),
        "source": str(values["source"]),
        "compares": "; ".join(map(str, metrics.values())),
        "small": {
            "about": f"the runs of {experiment}" if named else "its own runs",
            "experiment": experiment if named else list(map(str, experiment)),
            "seconds": None,
            "measures": [
                {"name": str(name), "value": value, "gate": gates.get(name), **statistic}
                for name, value in metrics.items()
            ],
        },
    }
