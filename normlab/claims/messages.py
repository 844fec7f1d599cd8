"""What is wrong with a claim's file, in one line: `key=value: what is wrong; choices`."""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ValidationError

from normlab.config import error_sentence

# The model that a key, by its place in the file, is or would be a field of.
Owner = Callable[[tuple[int | str, ...]], type[BaseModel]]


def one_line(error: ValidationError, owner: Owner) -> str:
    """The first error; an unknown key before all others, as it explains what else is missing."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(map(str, first["loc"]))
    fields = owner(first["loc"]).model_fields
    match first["type"]:
        case "extra_forbidden":
            return f"{key}: no such key; choices: {', '.join(fields)}"
        case "missing":
            needed = [name for name, field in fields.items() if field.is_required()]
            return f"{key} is missing; needed: {', '.join(needed)}"
    return error_sentence(first)


def as_mapping(values: Any, what: str) -> dict[str, Any]:
    """A mapping with text for keys; raises ValueError for anything else."""
    if not isinstance(values, dict):
        raise ValueError(f"must be a mapping {what}")
    return {str(key): value for key, value in values.items()}
