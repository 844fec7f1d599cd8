"""A config that cannot be, in one line: dotted key, value, what is wrong, choices or range."""

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from normlab.config.schema import Config
from normlab.errors import ConfigError
from normlab.text import did_you_mean


def validate(values: Any, context: Any = None) -> Config:
    try:
        return Config.model_validate(values, context=context)
    except ValidationError as error:
        first, *others = (
            found
            for found in error.errors(include_url=False)
            if found["type"] != "default_factory_not_called"  # which follows from the others
        )
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigError(error_sentence(first) + more) from error


def error_sentence(error: ErrorDetails) -> str:
    """One pydantic error as `dotted.key=value: what is wrong; choices or range`."""
    place = [str(part) for part in error["loc"]]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    value = error["input"]
    if kind == "unknown_part":
        place.append("name")
        value = context["name"]
    key = ".".join(place)
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    if kind == "missing":
        return (
            f"{key}: is missing; a YAML of your own may begin with "
            "'defaults: [CHOICE, _self_]' to take another choice's values"
        )
    return f"{key}={shown}: {_wrong(error, value)}"


# Of a choice that is none, and like none.
NOT_A_PLUGINS = "; a plugin's is given with --plugin FILE_OR_MODULE"

# pydantic's kinds of errors in normlab's words; {ge} and the like come from their context.
_WORDS = {
    "extra_forbidden": "no such key",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a finite number",
    "float_parsing": "must be a finite number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; put it in quotes, as in 'key=\"123\"'",
    "tuple_type": "must be a list, as in [a,b]",
    "string_too_short": "must not be empty",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
}


def _wrong(error: ErrorDetails, value: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("unknown_part", "unknown_choice", "literal_error"):
        choices = context["choices"] if "choices" in context else _quoted(str(context["expected"]))
        listed = f"choices: {', '.join(choices)}"
        plugins = "" if kind == "literal_error" else NOT_A_PLUGINS
        return f"no such choice; {listed}{did_you_mean(str(value), choices) or plugins}"
    return _WORDS[kind].format(**context) if kind in _WORDS else error["msg"]


def _quoted(expected: str) -> list[str]:
    """The choices in pydantic's `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", expected)
