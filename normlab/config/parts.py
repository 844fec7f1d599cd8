"""What a part is: settings that a config group chooses by name, and the registry that holds them.

A part (a norm, a model, …) is a pydantic class: its fields are the keys of its YAML file, its
methods say how it is built, and its class variables hold what else is known of it. Modules with
parts import PyTorch within functions only: reading a config needs none of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, field_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from normlab.registry import Registry

if TYPE_CHECKING:
    from normlab.config.schema import Config


class Settings(BaseModel):
    """Some keys of a config: unknown ones are refused, nothing is converted, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _without_negative_zero(cls, value: Any) -> Any:
        # Equal to 0.0, but written otherwise, which would be another run.
        if isinstance(value, tuple):
            return tuple(map(cls._without_negative_zero, value))
        return 0.0 if isinstance(value, float) and value == 0 else value


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
