"""Shell completion of overrides: config groups, their choices, keys and their values."""

from collections.abc import Sequence
from typing import Any

from normlab import plugins
from normlab.config.composing import leaves
from normlab.config.files import group_choices
from normlab.config.schema import value_choices
from normlab.errors import NormlabError


def complete_override(words: Sequence[str], incomplete: str) -> list[str]:
    """What an unfinished override such as `nor`, `norm=b` or `model.act` can become.

    `words` are the overrides before it. Bash takes `=` for a word of its own: `norm=b` arrives as
    the words `norm`, `=` and `b`, and `norm=` as `norm` and nothing. The answer is then the value
    alone, as bash expects.
    """
    plugins.load_installed()
    keys = _keys(words)
    if words and words[-1] == "=":
        return _with_commas(words[-2], incomplete, keys)
    if words and not incomplete and (words[-1] in keys or words[-1] in group_choices()):
        return _values(words[-1], keys)
    key, equals, start = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in _with_commas(key, start, keys)]
    branches = {f"{key.rpartition('.')[0]}." for key in keys if "." in key}
    top = [f"{key}=" for key in (*group_choices(), *keys) if "." not in key]
    below = [f"{key}=" for key in keys if "." in key] if "." in incomplete else sorted(branches)
    found = [word for word in (*top, *below) if word.startswith(incomplete)]
    # A shell puts a space behind an only answer, where more is to come: go on to what comes.
    if len(found) == 1 and found[0].endswith("."):
        found = [f"{key}=" for key in keys if key.startswith(found[0])]
    if len(found) == 1:
        found = [found[0] + value for value in _values(found[0][:-1], keys)]
    return found


def complete_key(incomplete: str) -> list[str]:
    """The keys and groups that begin so, such as `model.depth`."""
    keys = [key.removesuffix(".name") for key in leaves()]
    return [key for key in dict.fromkeys(keys) if key.startswith(incomplete)]


def _with_commas(key: str, start: str, keys: dict[str, Any]) -> list[str]:
    """The values of a key, behind those of a list that are there."""
    before, comma, last = start.rpartition(",")
    taken = ["", *before.split(",")] if comma else []
    values = [v for v in _values(key, keys) if v.startswith(last) and v not in taken]
    return [f"{before}{comma}{value}" for value in values]


def _values(key: str, keys: dict[str, Any]) -> list[str]:
    """The values that a key or group admits; nothing and the default where that is no list."""
    admitted = group_choices().get(key) or value_choices(key)
    if not admitted and key in keys:
        default = keys[key]
        return ["", "null" if default is None else str(default).replace(" ", "")]
    return admitted


def _keys(words: Sequence[str]) -> dict[str, Any]:
    """The keys under the groups chosen so far, with their defaults."""
    groups = group_choices()
    line = "\n".join(words).replace("\n=\n", "=").split("\n")
    pairs = [word.partition("=")[::2] for word in line]
    chosen = [f"{key}={choice}" for key, choice in pairs if choice in groups.get(key, ())]
    try:
        return leaves(groups=chosen)
    except NormlabError:
        return {}
