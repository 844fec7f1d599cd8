"""How a value is written for a person: numbers, shares, durations, plurals; each in one place."""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from normlab.errors import NormlabError

T = TypeVar("T")


def number(value: float) -> str:
    """A figure of three significant digits, or of two and a power of ten, in little room."""
    if value != value:
        return "–"
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 999.5:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:.1e}"


def brief(value: float) -> str:
    """A figure of two significant digits in less room: `0.023`, `650`, `1.7e-5`."""
    if value == 0 or not math.isfinite(value):
        return number(value)
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    if -4 < int(exponent) < 4:
        return f"{float(f'{value:.1e}'):.{max(0, 1 - int(exponent))}f}"
    return f"{mantissa}e{int(exponent)}"


def factor(value: float) -> str:
    """How many times as much, in two digits, three about 1, and `>999` beyond 999."""
    if value > 999:
        return ">999"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if f"{value:.2g}" == "1" else f"{value:.2g}"


def percent(share: float) -> str:
    """A share of 1 as `12.3%`."""
    return f"{100 * share:.1f}%"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def listed(words: Sequence[str]) -> str:
    """`8`, `8 and 20`, `8, 20 and 56`."""
    *others, last = words or [""]
    return f"{', '.join(others)} and {last}" if others else last


def plural(count: int, word: str) -> str:
    """`1 run`, `24 runs`, `10,008 runs`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def some_of(texts: Sequence[str], most: int = 6) -> str:
    """The first few of a list, with commas, and how many more there are."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return f"{', '.join(texts[:most])}{more}"


def capitalized(sentence: str) -> str:
    """A sentence with a capital first letter, all others as they are."""
    return sentence[:1].upper() + sentence[1:]


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def error_line(error: BaseException) -> str:
    """An error in a line: `kind: first line`, or its kind where it has no message; one of normlab's
    own, which is a sentence, without its kind."""
    if isinstance(error, NormlabError):
        return str(error)
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def printable(value: T) -> T:
    """A text, or all texts in lists and mappings, without what would control a terminal.

    Control characters, marks of direction and halves of characters are written as in source code:
    `\\x1b`. Any other value is as it was.
    """
    shown: Any = value
    if isinstance(value, str):
        if not value.isprintable():
            shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value)
    elif isinstance(value, Mapping):
        shown = {printable(key): printable(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        shown = type(value)(printable(item) for item in value)
    return cast("T", shown)


def did_you_mean(word: str, choices: Sequence[str]) -> str:
    """`; did you mean norm?`, or nothing where no choice is near."""
    near = nearest(word, choices)
    return f"; did you mean {near}?" if near else ""


def nearest(word: str, choices: Sequence[str]) -> str | None:
    """The choice that is most like a word, case and hyphens aside; None where none is near."""
    plain = {_letters(choice): choice for choice in reversed(choices)}
    near = difflib.get_close_matches(_letters(word), list(plain), n=1, cutoff=0.75)
    return plain[near[0]] if near else None


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))
