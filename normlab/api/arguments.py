"""What a script gives to a function: refused in one line, and named as a script names it."""

import functools
import inspect
import re
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from normlab.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")

_OPTION = re.compile(r"(?<![\w-])--(?=[a-z])")


def takes_texts(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of texts, such as `run(*overrides)`, raise ConfigError for a list of them and
    for a keyword that it does not have, such as `model="mlp"` instead of `"model=mlp"`."""
    return _checked(function, (str,), "a text")


def takes_folders(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of folders raise ConfigError for a list of them and for a keyword that it does
    not have."""
    return _checked(function, (str, Path), "a path")


def _checked(function: Callable[P, R], types: tuple[type, ...], each: str) -> Callable[P, R]:
    parameters = inspect.signature(function).parameters
    names, call = list(parameters), function.__name__
    many = next(name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL)
    place = names.index(many)
    others = names[place + 1 :]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for given in args[place:]:
            if not isinstance(given, types):
                unpacked = f"; write {call}(*{many})" if isinstance(given, list | tuple) else ""
                raise ConfigError(
                    f"{call}: each of {many} is {each}, not {reprlib.repr(given)}{unpacked}"
                )
        for name, value in kwargs.items():
            if name == many or name not in parameters:
                written = f'; a setting is a text, "{name}={value}"' if types == (str,) else ""
                choices = f"; choices: {', '.join(others)}" if others else ""
                raise ConfigError(f"{call}({name}=…): no such argument{written}{choices}")
        return function(*args, **kwargs)

    return checked


def names_in(text: str | Sequence[str] | None) -> list[str] | None:
    """Names given as one text, with commas between them, or as several; None stays."""
    if text is None:
        return None
    parts = text.split(",") if isinstance(text, str) else text
    return [part.strip() for part in parts if part.strip()]


def named_as_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let the ConfigErrors of a function name options as arguments: `where`, not `--where`."""

    @functools.wraps(function)
    def renaming(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ConfigError as error:
            error.args = (_OPTION.sub("", str(error)),)
            raise

    return renaming
