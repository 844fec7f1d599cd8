"""Kinds of numbers that settings have, with their ranges."""

from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

Count = Annotated[int, Field(ge=1, le=10**9)]
Whole = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
OpenFraction = Annotated[float, Field(ge=0, lt=1)]


class _OrAuto:
    """A number of at least 0, or `auto`: pydantic's own union would tell of both what is wrong."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(value: Any, number: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if isinstance(value, str) and value != "auto":
                raise PydanticCustomError("number_or_auto", "must be a number or auto")
            return value if value == "auto" else number(value)

        return core_schema.no_info_wrap_validator_function(
            validate,
            handler.generate_schema(NonNegative),
            serialization=core_schema.simple_ser_schema("any"),
        )


NonNegativeOrAuto = Annotated[float | Literal["auto"], _OrAuto()]
