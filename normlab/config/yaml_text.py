"""YAML as plain values, from files that others may have written.

A few lines can stand for more than any memory holds, by anchors that are repeated or keys that
refer to each other; both are counted before anything is unfolded.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.bounded_files import SMALL_BYTES, read_bounded
from normlab.errors import ConfigError
from normlab.text import first_line

if TYPE_CHECKING:
    from yaml import Node

# Characters and nodes that a file may stand for once its anchors are repeated.
MOST_SIZE = 500_000
# Each may repeat what two others are, and so on: twenty stand for a thousand times a file's text.
MOST_INTERPOLATIONS = 20
ONLY_KEYS = (
    "only other keys can be interpolated, as in ${model.depth}, so that a config means the same "
    "everywhere"
)


def read_yaml(file: Path, most_bytes: int = SMALL_BYTES) -> Any:
    """The content of a YAML file of a person's own, as plain values; raises ConfigError."""
    return parse_yaml(read_text(file, most_bytes), str(file))


def read_text(file: Path, most_bytes: int = SMALL_BYTES) -> str:
    """The text of a person's own file; raises ConfigError."""
    try:
        return read_bounded(file, most_bytes).decode()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not valid YAML (it is not written in UTF-8)") from error
    except ValueError as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from error


def parse_yaml(text: str, what: str) -> Any:
    """YAML as plain values, no interpolation resolved; raises ConfigError that begins so."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import (  # of OmegaConf's own parser
        MarkedYAMLError,
        SafeLoader,
        ScalarNode,
        YAMLError,
        compose,
    )

    try:
        node = compose(text, Loader=SafeLoader)
        if node is not None and _size(node, {}) > MOST_SIZE:
            raise ConfigError(f"{what}: its anchors stand for more than {MOST_SIZE:,} characters")
        if isinstance(node, ScalarNode):
            return node.value or None
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{what}: not valid YAML ({line}{error.problem})") from error
    except RecursionError as error:
        raise ConfigError(f"{what}: not valid YAML (too deep)") from error
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{what}: not valid YAML ({first_line(error)})") from error


def _size(node: "Node", known: "dict[int, int]") -> int:
    """Characters and nodes of a node, each alias counted as what it repeats."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_SIZE + 1  # as long as it is within itself, which never ends
    parts = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
    size = 1 + sum(1 if isinstance(part, str) else _size(part, known) for part in parts)
    known[id(node)] = size
    return size


def strings(value: Any) -> Iterator[str]:
    """Every text within plain values, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(key)
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def resolves(text: str) -> bool:
    """Whether a text interpolates what is no other key, such as `${oc.env:HOME}`."""
    depth = 0
    for token in re.findall(r"\$\{|\}|:", text):
        if token == ":" and depth:
            return True
        depth = max(0, depth + {"${": 1, "}": -1, ":": 0}[token])
    return False


def check_interpolations(values: Any, what: str) -> None:
    """Raise ConfigError where values interpolate too much, or what is no other key."""
    texts = list(strings(values))
    for text in texts:
        if resolves(text):
            raise ConfigError(f"{what}: {text}: {ONLY_KEYS}")
    if sum(text.count("${") for text in texts) > MOST_INTERPOLATIONS:
        raise ConfigError(f"{what}: has more than {MOST_INTERPOLATIONS} interpolations ${{…}}")
