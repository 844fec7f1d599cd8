"""Which runs are meant: `--where` expressions such as `norm=bn,ln` and `model.depth>=20`."""

import ast
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pandas import DataFrame
from pandas.api.types import is_bool_dtype, is_integer_dtype, is_numeric_dtype

from normlab.analysis.keys import known_key, label, rank
from normlab.errors import ConfigError
from normlab.text import did_you_mean
from normlab.vocabulary import CAUSES, DIAGNOSES, METRICS, STATUSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Chosen = NDArray[np.bool_]  # one a run

_EXPRESSION = re.compile(r"\s*([\w.]+)\s*(==|!=|>=|<=|=|>|<)\s*(.*?)\s*")
_QUOTES = ("'", '"')
_BRACKETS = {"[": "]", "{": "}"}
_ABSENT = ("null", "none", "")
_ORDERS = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
_MOST_CHOICES = 12


class Condition(NamedTuple):
    """A `where` expression in its parts."""

    expression: str
    key: str
    operator: str
    value: str


def check_where(expression: str) -> Condition:
    """The parts of a `where` expression; raises ConfigError where it has no such form."""
    matched = _EXPRESSION.fullmatch(expression)
    if matched is None:
        raise ConfigError(
            f"--where {expression!r}: must be KEY=VALUE with one of =, !=, >=, <=, >, <, "
            "as in 'model.depth>=20' or 'norm=bn,ln'"
        )
    condition = Condition(expression, *matched.groups())
    split_at_commas(condition.value, f"--where {expression!r}")
    return condition


def split_at_commas(text: str, subject: str) -> list[str]:
    """The parts of a text between its commas, but for commas in brackets, braces and quotes.

    Raises ConfigError, beginning with the subject, where one of those is not closed.
    """
    parts = [""]
    awaited: list[str] = []  # what closes the brackets that are open
    for sign in text:
        quote = parts[-1].strip() == "" and sign in _QUOTES  # else an apostrophe
        if awaited and sign == awaited[-1]:
            awaited.pop()
        elif awaited and awaited[-1] in _QUOTES:
            pass
        elif quote or sign in _BRACKETS:
            awaited.append(_BRACKETS.get(sign, sign))
        elif sign in _BRACKETS.values():
            raise ConfigError(f"{subject}: {sign} closes nothing; put a text with it in quotes")
        elif sign == "," and not awaited:
            parts.append("")
            continue
        parts[-1] += sign
    if awaited:
        raise ConfigError(f"{subject}: lacks a closing {awaited[-1]}")
    return [part.strip() for part in parts]


def where(frame: DataFrame, expressions: Sequence[str]) -> DataFrame:
    """The runs that fulfil every expression: `norm=bn,ln`, `model.depth>=20`, `verdict!=trains`.

    Raises ConfigError where an expression has no such form, key or type of value, or where no run
    has the setting that it asks for. That no run came to such an end, as with `status=failed`, is
    an answer: no runs.
    """
    for expression in expressions:
        condition = check_where(expression)
        column = frame[known_key(frame, condition.key)]
        chosen = _fulfilling(column, condition)
        if len(frame) and not chosen.any() and not _is_of_an_end(column, condition):
            raise ConfigError(_none_has_it(column, condition))
        frame = frame[chosen]
    return frame


def _fulfilling(column: Any, condition: Condition) -> "Chosen":
    """Which values of a column fulfil a condition."""
    expression, operator = condition.expression, condition.operator
    if operator in _ORDERS:
        if is_bool_dtype(column) or not is_numeric_dtype(column):
            raise ConfigError(f"--where {expression!r}: {column.name} is not a number; use = or !=")
        bound = _to_number(condition.value, expression, column.name)
        ordered: Chosen = _ORDERS[operator](column.to_numpy(dtype=np.float64), bound)
        return ordered
    equal = np.zeros(len(column), dtype=bool)
    for text in split_at_commas(condition.value, f"--where {expression!r}"):
        equal |= _equals(column, text, expression)
    return ~equal if operator == "!=" else equal


def _equals(column: Any, text: str, expression: str) -> "Chosen":
    """Which values of a column are what a text says, by the column's type."""
    equal: Chosen
    is_word = text in (_words_of(str(column.name)) or ())  # a cause may be none
    if text.lower() in _ABSENT and not is_word and not (column == text).any():
        equal = column.isna().to_numpy()
        return equal
    present = column.dropna()
    if len(present) and all(isinstance(v, bool | np.bool_) for v in present.unique()):
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"--where {expression!r}: {column.name} must be true or false")
        equal = (column == (text.lower() == "true")).fillna(False).to_numpy(dtype=bool)
    elif is_integer_dtype(column) and re.fullmatch(r"[+-]?\d{1,18}", text):
        equal = (column == int(text)).to_numpy(dtype=bool)  # a seed may be longer than a float is
    elif is_numeric_dtype(column):
        equal = column.to_numpy(dtype=np.float64) == _to_number(text, expression, column.name)
    else:
        asked = _read(text)
        values = {kept for kept in set(present.astype(str)) if kept == text or _read(kept) == asked}
        equal = column.astype(str).isin(values).to_numpy(dtype=bool)
    return equal


def _read(text: str) -> Any:
    """What a text in quotes, a number or a list in brackets says, however it is written: [.5, 1],
    [0.5,1]."""
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text):  # beside which other runs may have a word
        return float(text)
    if not text.startswith(("[", "{", *_QUOTES)):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # of names, [grad_norm, act_std]
        return re.sub(r"\s*([\[\],])\s*", r"\1", text)


def _to_number(text: str, expression: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--where {expression!r}: {key} must be a number") from None


def _is_of_an_end(column: Any, condition: Condition) -> bool:
    """Whether a condition is one that runs may fail to fulfil: on figures, or on words for what
    became of a run, of which there are only so many."""
    key = str(column.name)
    words = _words_of(key)
    if words is None:
        return key in METRICS
    asked = split_at_commas(condition.value, f"--where {condition.expression!r}")
    return all(word in words or word.lower() in _ABSENT for word in asked)


def _words_of(key: str) -> Collection[str] | None:
    """The words for what became of a run, of which a column has one; None for any other column."""
    if key.startswith("verdict"):
        return DIAGNOSES
    words: dict[str, Collection[str]] = {"status": STATUSES, "cause": CAUSES}
    return words.get(key)


def _none_has_it(column: Any, condition: Condition) -> str:
    """That no run has a value, and which ones there are."""
    values = sorted(column.unique(), key=rank)
    choices = list(dict.fromkeys("null" if v != v or v is None else label("", v) for v in values))
    shown = f"{', '.join(choices[:_MOST_CHOICES])}{', …' if len(choices) > _MOST_CHOICES else ''}"
    return (
        f"--where {condition.expression!r}: no run has it; {column.name} has {shown}"
        f"{did_you_mean(condition.value, choices)}"
    )
