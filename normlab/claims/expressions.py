"""Expressions over runs, such as `train_acc("norm=bn") - train_acc("norm=ln")`, by seed.

Numbers, + − * / **, abs, log, exp, sqrt, min, max, and metrics of single runs with filters as
`--where` takes them. They are parsed, never executed.
"""

import ast
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas
from pandas import DataFrame

from normlab.claims.evidence import Evidence
from normlab.claims.registries import BySeed
from normlab.errors import ConfigError
from normlab.results import check_where
from normlab.vocabulary import COMMON_METRICS, METRICS

_ADVICE = 'write such as \'train_acc("norm=bn") - train_acc("norm=ln")\''


class _Function(NamedTuple):
    function: Callable[..., Any]
    least: int  # arguments
    most: int | None  # None: as many as there are; the function takes two at a time


_FUNCTIONS: dict[str, _Function] = {
    "abs": _Function(np.abs, 1, 1),
    "log": _Function(np.log, 1, 1),
    "exp": _Function(np.exp, 1, 1),
    "sqrt": _Function(np.sqrt, 1, 1),
    "min": _Function(np.minimum, 2, None),
    "max": _Function(np.maximum, 2, None),
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: _power(a, b),
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
}


def _power(base: Any, exponent: Any) -> Any:
    """base**exponent; NaN, as NumPy has it, where Python's would be complex."""
    found = base**exponent
    return math.nan if isinstance(found, complex) else found


class _AnyRuns(Evidence):
    """Stands for runs that are still to be made, to check an expression before they are."""

    def metric(self, name: str, *filters: str) -> "pandas.Series[float]":
        if name not in METRICS:
            raise ConfigError(f"{name}: no such metric; some are {', '.join(COMMON_METRICS)}")
        for text in filters:
            check_where(text)
        return pandas.Series([1.0], index=[0])


def check_expression(expression: str) -> None:
    """Raise ConfigError where an expression cannot be read, whatever the runs will be."""
    evaluate(expression, _AnyRuns(DataFrame()))


def evaluate(expression: str, evidence: Evidence) -> BySeed:
    """The value of an expression for each seed, NaN for one that lacks a part; ConfigError."""
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"metric {expression!r}: not an expression; {_ADVICE}") from error
    try:
        with np.errstate(all="ignore"):
            found = _value(tree, expression, evidence)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(f"metric {expression!r}: {error}") from error
    if not isinstance(found, pandas.Series):
        raise ConfigError(f"metric {expression!r}: is a number, whatever the runs are")
    return {int(s): float(v) for s, v in zip(found.index, found, strict=True)}


def _value(node: ast.AST, expression: str, evidence: Evidence) -> Any:
    """A node's number, or its series by seed."""

    def value(part: ast.AST) -> Any:
        return _value(part, expression, evidence)

    match node:
        case ast.Constant(value=int() | float() as constant) if not isinstance(constant, bool):
            return float(constant)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](value(left), value(right))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](value(operand))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name in _FUNCTIONS:
                return _called(name, [value(part) for part in arguments], expression)
            filters = [part.value for part in arguments if isinstance(part, ast.Constant)]
            if len(filters) == len(arguments) and all(isinstance(f, str) for f in filters):
                return evidence.metric(name, *map(str, filters))
        case ast.Name(id=name):
            return evidence.metric(name)
    raise ConfigError(f"metric {expression!r}: cannot read {ast.unparse(node)!r}; {_ADVICE}")


def _called(name: str, arguments: list[Any], expression: str) -> Any:
    known = _FUNCTIONS[name]
    if len(arguments) < known.least or (known.most is not None and len(arguments) > known.most):
        wanted = f"{known.least}{'' if known.most is not None else ' or more'}"
        raise ConfigError(
            f"metric {expression!r}: {name}() takes {wanted} "
            f"argument{'' if wanted == '1' else 's'}, not {len(arguments)}"
        )
    if known.most is None:
        return functools.reduce(known.function, arguments)
    return known.function(*arguments)
