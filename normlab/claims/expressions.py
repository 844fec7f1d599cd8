"""Figures as arithmetic over runs: `train_acc("norm=bn") - train_acc("norm=ln")`.

Numbers, + − * / **, abs, log, exp, sqrt, min and max of two or more, and metrics of single runs
with filters as `--where` takes them. Nothing else is read, and no text is executed.
"""

import ast
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas

from normlab.analysis import check_where
from normlab.errors import ConfigError
from normlab.vocabulary import COMMON_METRICS, METRICS

# What is measured of one claim: a figure for every seed.
BySeed = dict[int, float]


class Runs(Protocol):
    """Whatever knows metrics by seed."""

    def metric_by_seed(self, metric: str, *filters: str) -> "pandas.Series[float]":
        """A metric of the runs that fulfil the filters, one run for each seed."""


class _Function(NamedTuple):
    call: Callable[..., Any]
    least: int = 1  # how many arguments it takes
    most: int | None = 1

    def arity(self) -> str:
        return "one argument" if self.most == 1 else f"{self.least} arguments or more"


FUNCTIONS = {
    "abs": _Function(np.abs),
    "log": _Function(np.log),
    "exp": _Function(np.exp),
    "sqrt": _Function(np.sqrt),
    # Two at a time: numpy would take a third argument for the array to write to.
    "min": _Function(lambda *values: functools.reduce(np.minimum, values), 2, None),
    "max": _Function(lambda *values: functools.reduce(np.maximum, values), 2, None),
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: _real(a**b, f"{a} ** {b}"),
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
}
_EXAMPLE = 'write such as \'train_acc("norm=bn") - train_acc("norm=ln")\''


def check_expression(expression: str) -> None:
    """Raise ConfigError where an expression cannot be read, whatever the runs will be."""
    evaluate_expression(expression, _AnyRuns())


def evaluate_expression(expression: str, runs: Runs) -> BySeed:
    """The value of an expression for each seed, NaN for a seed that lacks a part.

    Raises ConfigError, one line, for what is no such expression.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"metric {expression!r}: not an expression; {_EXAMPLE}") from error
    try:
        with np.errstate(all="ignore"):
            found = _value(tree, expression, runs)
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ConfigError(f"metric {expression!r}: {error}") from error
    if not isinstance(found, pandas.Series):
        raise ConfigError(f"metric {expression!r}: is a number, whatever the runs are")
    return {int(s): float(v) for s, v in zip(found.index, found, strict=True)}


def _value(node: ast.AST, expression: str, runs: Runs) -> Any:
    """A node's value: a number, or a Series by seed."""
    match node:
        case ast.Constant(value=int() | float() as constant) if not isinstance(constant, bool):
            return float(constant)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            values = (_value(part, expression, runs) for part in (left, right))
            return _OPERATORS[type(op)](*values)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand, expression, runs))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            function = FUNCTIONS[name]
            if len(args) < function.least or (function.most and len(args) > function.most):
                raise ValueError(f"{name}() takes {function.arity()}, not {len(args)}")
            return function.call(*(_value(part, expression, runs) for part in args))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            filters = [a.value for a in args if isinstance(a, ast.Constant)]
            if len(filters) == len(args) and all(isinstance(f, str) for f in filters):
                return runs.metric_by_seed(name, *map(str, filters))
        case ast.Name(id=name):
            return runs.metric_by_seed(name)
    raise ConfigError(f"metric {expression!r}: cannot read {ast.unparse(node)!r}; {_EXAMPLE}")


def _real(value: Any, text: str) -> Any:
    """A power, unless it is complex as Python's own of a negative number is."""
    if isinstance(value, complex):
        raise ValueError(f"{text} is not a real number")
    return value


class _AnyRuns:
    """Stands for runs that are still to be made."""

    def metric_by_seed(self, metric: str, *filters: str) -> "pandas.Series[float]":
        if metric not in METRICS:
            raise ConfigError(f"{metric}: no such metric; some are {', '.join(COMMON_METRICS)}")
        for text in filters:
            check_where(text)
        return pandas.Series([1.0], index=[0])
