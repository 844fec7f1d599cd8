"""What a part is: settings that a config group chooses by name, and the registry that holds them.

A part (a norm, a model, …) is a pydantic class: its fields are the keys of its YAML file, its
methods say how it is built, and its class variables hold what else is known of it. Modules with
parts import PyTorch within functions only: reading a config needs none of it.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from normlab.registry import Registry, is_own

if TYPE_CHECKING:
    from normlab.config.schema import Config


class Settings(BaseModel):
    """Some keys of a config: unknown ones are refused, nothing is converted, nothing changes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        defer_build=True,  # of some sixty classes a config has eleven
    )

    @field_validator("*")
    @classmethod
    def _without_negative_zero(cls, value: Any) -> Any:
        # Equal to 0.0, but written otherwise, which would be another run.
        if isinstance(value, tuple):
            return tuple(map(cls._without_negative_zero, value))
        return 0.0 if isinstance(value, float) and value == 0 else value


class Part(Settings):
    """What a config group chooses by its `name`.

    A part from outside needs no YAML: its choice then has the defaults of its fields, and of those
    without one the values of another choice, `values_of`.
    """

    name: str

    values_of: ClassVar[str | None] = None  # such as mlp

    @classmethod
    def meant_by(cls, value: str) -> tuple[str, ...]:
        """The overrides that a person means who names as the group's choice what is none of it;
        none where it is nothing of this part."""
        return ()

    def check(self, config: "Config") -> None:
        """Raise ValueError, `dotted.key=value: why; what instead`, where it cannot go with the
        rest of the config."""


P = TypeVar("P", bound=Part)

# What validates the config of a run that was made with a plugin which is not here, or is another
# version of it: what cannot be read as a part is kept as it is.
WITHOUT_PLUGIN = "without plugin"


def is_without_plugin(info: ValidationInfo) -> bool:
    """Whether a config is read whose plugin is not here."""
    return info.context == WITHOUT_PLUGIN


class Choices(Registry[type[P]], Generic[P]):
    """The registry of a config group: reads a group's mapping as the part that it names."""

    def __init__(self, kind: str, base: type[P], *modules: str):
        super().__init__(kind, *modules)
        self._base = base

    def _enter(self, name: str, part: type[P], module: str) -> None:
        # Of a part from outside, a key that cannot be is told where its class is defined.
        if not is_own(module) and isinstance(part, type) and issubclass(part, Settings):
            part.model_rebuild(raise_errors=False)
        super()._enter(name, part, module)

    def read(self, values: Any, info: ValidationInfo) -> Any:
        """The part that a mapping names; pydantic calls it before it validates a config."""
        if isinstance(values, Part) or not isinstance(values, Mapping):
            return values
        if "name" not in values:
            raise PydanticCustomError("missing", "is missing")
        part = self.get(str(values["name"]))
        if is_without_plugin(info):
            if part is not None:
                with contextlib.suppress(ValidationError):
                    return part.model_validate(values, context=info.context)
            return self._absent.model_validate(values, context=info.context)
        if part is None:
            raise PydanticCustomError(
                "unknown_part", "no such choice", {"name": values["name"], "choices": list(self)}
            )
        return part.model_validate(values)

    @functools.cached_property
    def _absent(self) -> type[P]:
        """A part whose class is not here: its keys are as they were written, and it does nothing
        that its kind does not do by itself."""
        bases: Any = (self._base, Absent)  # the last one's configuration counts
        found: type[P] = create_model(f"Absent{self._base.__name__}", __base__=bases)
        return found


class Absent(Part):
    """A part of a plugin that is not here, as a run's files tell of it."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class OneOf:
    """Admit the names of a registry's parts: `Annotated[str, OneOf(NORMS)]`.

    With `only` those of the parts of which it is true.
    """

    registry: Registry[Any]
    only: Callable[[Any], bool] = lambda _: True

    @property
    def names(self) -> list[str]:
        """What is admitted."""
        return [name for name, part in self.registry.items() if self.only(part)]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self.check, handler(source))

    def check(self, name: str, info: ValidationInfo) -> str:
        """The name itself; raises what pydantic tells where there is no such part."""
        part = self.registry.get(name)
        if not is_without_plugin(info) and (part is None or not self.only(part)):
            raise PydanticCustomError("unknown_choice", "no such choice", {"choices": self.names})
        return name
