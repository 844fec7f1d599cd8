"""A claim from its YAML file, normlab's own as anybody's; what is wrong is said in one line."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError, model_validator

from normlab.claims.catalogue import CLAIMS
from normlab.claims.claim import (
    Claim,
    Experiment,
    Expression,
    Gate,
    Measure,
    Part,
    Protocol,
    Scale,
    Statistic,
)
from normlab.claims.messages import as_mapping, one_line
from normlab.config import read_yaml
from normlab.errors import ConfigError


def _named(value: Any) -> Any:
    """A single metric or gate is that of the metric `metric`."""
    return as_mapping(value if isinstance(value, dict) else {"metric": value}, "of names")


class ShortClaim(Part):
    """A claim of a person's own in few words: a metric or several by name, each with its gate."""

    id: str | None = None
    statement: str
    source: str | None = None
    experiment: Experiment
    metric: Annotated[dict[str, Expression], BeforeValidator(_named)]
    gate: Annotated[dict[str, Gate], BeforeValidator(_named)]
    statistic: Statistic = "mean"

    @model_validator(mode="before")
    @classmethod
    def _check_gates(cls, values: Any) -> Any:
        metrics, gates = values.get("metric"), values.get("gate")
        if isinstance(metrics, dict) and gates is not None:
            if not isinstance(gates, dict):
                raise ValueError("gate: must be a mapping of the metrics' names to [low, high]")
        elif isinstance(gates, dict):
            metrics = {"metric": metrics}
        for name in gates if isinstance(gates, dict) else ():
            if isinstance(metrics, dict) and name not in metrics:
                choices = ", ".join(map(str, metrics))
                raise ValueError(f"gate {name}: there is no such metric; choices: {choices}")
        return values

    def full(self, file: Path) -> dict[str, Any]:
        """The same claim in the full form."""
        given = self.experiment
        return {
            "id": self.id or file.stem,
            "title": self.statement,
            "statement": self.statement,
            "source": self.source or str(file),
            "compares": "; ".join(self.metric.values()),
            "small": {
                "about": f"the runs of {given}" if isinstance(given, str) else "its own runs",
                "experiment": given,
                "seconds": None,
                "measures": [
                    {
                        "name": name,
                        "value": expression,
                        "gate": self.gate.get(name),
                        "statistic": self.statistic,
                    }
                    for name, expression in self.metric.items()
                ],
            },
        }


def parse_claim(file: Path) -> Claim:
    """A claim from a YAML file in the full or the short form; raises ConfigError, one line."""
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{file}: must be a mapping with statement, experiment, metric and gate, or of a "
            f"claim's whole form: {', '.join(Claim.model_fields)}"
        )
    short = not {"small", "paper"} & set(values)
    try:
        values = as_mapping(values, "of keys")
        if short:
            values = ShortClaim.model_validate(values).full(file)
        else:
            values = {"id": file.stem, **values}
            for scale in ("small", "paper"):
                if isinstance(values.get(scale), dict):
                    values[scale] = _with_shared_measures(values[scale], scale)
        claim = Claim.model_validate(values)
    except ValidationError as error:
        owner = ShortClaim if short else None
        raise ConfigError(f"{file}: {one_line(error, lambda at: owner or _owner(at))}") from error
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{file}: {error}") from error
    return claim


def _owner(place: Sequence[int | str]) -> type[BaseModel]:
    if len(place) == 1:
        return Claim
    return Measure if "measures" in place[1:-1] else Protocol


def _with_shared_measures(protocol: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """A protocol whose entries `claim: ID` and lists are replaced by the measures they stand for.

    `claim: C15` are the measures of C15 at the same scale; a list is one of the file's own that an
    alias repeats.
    """

    def flat(entries: list[Any]) -> Iterator[Any]:
        for entry in entries:
            if isinstance(entry, list):
                yield from flat(entry)
            elif isinstance(entry, dict) and set(entry) == {"claim"}:
                yield from _claim(str(entry["claim"])).protocol(scale).measures
            else:
                yield entry

    measures = protocol.get("measures")
    return (
        {**protocol, "measures": list(flat(measures))} if isinstance(measures, list) else protocol
    )


def _claim(identity: str) -> Claim:
    """One of normlab's own; raises ConfigError with the choices."""
    if identity.upper() not in CLAIMS:
        raise ConfigError(
            f"{identity}: no such claim; choices: {', '.join(CLAIMS)}, or a YAML file of your own"
        )
    return CLAIMS[identity.upper()]


def read_claim(file: Path) -> Claim:
    """A claim of a person's own; raises ConfigError, one line, where it is not one."""
    claim = parse_claim(file)
    if claim.id.upper() in CLAIMS or not re.fullmatch(r"[\w.+-]{1,60}", claim.id):
        raise ConfigError(
            f"{file}: id={claim.id}: must be letters, digits, . + _ or -, and no id of normlab's "
            "own"
        )
    return claim.kept_in(file)


def find_claims(names: Sequence[str]) -> list[Claim]:
    """The claims that a person names by id or by a YAML file; raises ConfigError for others."""
    found = [
        read_claim(Path(name)) if name.endswith((".yaml", ".yml")) else _claim(name)
        for name in names
    ]
    several = {claim.id: claim for claim in found}
    for claim in found:
        if several[claim.id] != claim:
            raise ConfigError(
                f"{claim.file}: has the id {claim.id} of another claim; give it its own"
            )
    return list(several.values())
