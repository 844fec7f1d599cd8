"""Overrides to grids of settings: Hydra's sweep grammar, and settings that vary together."""

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from normlab import plugins
from normlab.config.files import check_config_dir, group_choices
from normlab.config.messages import NOT_A_PLUGINS
from normlab.config.schema import GROUPS
from normlab.config.yaml_text import ONLY_KEYS, resolves
from normlab.errors import ConfigError
from normlab.text import did_you_mean, nearest

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override, RangeSweep

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """One override with one value: Hydra's text, and the key and value that it sets."""

    text: str
    key: str
    value: Any
    patches: bool  # sets a scalar or list of the composed config, so that Hydra need not compose


@dataclass(frozen=True)
class Axis:
    """The points of one override, or of several that vary together: what a grid multiplies."""

    text: str
    points: tuple[tuple[Setting, ...], ...]
    sweeps: bool  # whether it was written as a sweep, if only over one value

    @property
    def keys(self) -> set[str]:
        """The keys that it sets."""
        return {setting.key for setting in self.points[0]}


Grid = list[Axis]


def axes_of(overrides: Sequence[str], config_dir: Path | None) -> Grid:
    """Parse overrides; refuse in our own words what Hydra would refuse in its own."""
    check_config_dir(config_dir)
    for text in overrides:
        if len(text) > MOST_CHARACTERS:
            raise ConfigError(
                f"{text[:40]}…: an override has at most {MOST_CHARACTERS:,} characters; write many "
                "values as a range"
            )
    return _with_choices(
        lambda groups: [_axis_or_zip(text, groups) for text in overrides], overrides, config_dir
    )


def together(overrides: Sequence[str], config_dir: Path | None) -> Axis:
    """Overrides of equally many values as one axis, on which they vary together."""
    text = f"zip({'; '.join(overrides)})"
    return _with_choices(
        lambda groups: _zip([_axis(part, groups) for part in overrides], text),
        overrides,
        config_dir,
    )


def _with_choices(
    parse: Callable[[Mapping[str, Sequence[str]]], T],
    overrides: Sequence[str],
    config_dir: Path | None,
) -> T:
    """What is parsed by the groups' choices; by those of installed plugins, too, where it asks for
    all of a group's, or for one that is not known without them."""
    if any("glob(" in text for text in overrides):
        plugins.load_installed()
    try:
        return parse(group_choices(config_dir))
    except ConfigError:
        plugins.load_installed()
    return parse(group_choices(config_dir))


def _axis_or_zip(text: str, groups: Mapping[str, Sequence[str]]) -> Axis:
    inner = re.fullmatch(r"zip\((.*)\)", text.strip(), re.DOTALL)
    if inner is None:
        return _axis(text, groups)
    return _zip([_axis(part, groups) for part in _split(inner[1])], text)


def refuse_repeated(axes: Sequence[Axis], config_dir: Path | None) -> None:
    """Raise ConfigError where two axes set one key: one of them would vanish."""
    groups, before = group_choices(config_dir), dict[str, str]()
    for axis in axes:
        for key in [setting.key for setting in axis.points[0]]:
            for other, text in before.items():
                if key == other or _within(key, other, groups) or _within(other, key, groups):
                    both = text if text == axis.text else f"{text} and {axis.text}"
                    raise ConfigError(f"{both}: {key} is set twice; give it once")
            before[key] = axis.text


def _within(key: str, mapping: str, groups: Mapping[str, Any]) -> bool:
    """Whether a key is one of a mapping's that is set as a whole; a group is chosen by name."""
    return key.startswith(f"{mapping}.") and mapping not in groups


def _split(text: str) -> list[str]:
    """A zip's overrides: what stands between the semicolons outside of quotes and brackets."""
    quoted = r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\""
    parts, depth = [""], 0
    for token in re.findall(rf"{quoted}|.", text, re.DOTALL):
        depth += (token in "([{") - (token in ")]}")
        if token == ";" and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _axis(text: str, groups: Mapping[str, Sequence[str]]) -> Axis:
    text, override = _parsed(text.strip())
    key = override.key_or_group
    is_group = key in groups and not override.is_delete()
    if is_group and override.package is not None:
        raise ConfigError(f"{text}: {key} takes one of {', '.join(groups[key])}")
    sweeps = override.is_sweep_override()
    if sweeps and override.is_delete():
        raise ConfigError(f"{text}: ~ takes a key out, of which there are no several values")
    values, texts = [None if override.is_delete() else override.value()], [text]
    if sweeps:
        values, texts = _swept_values(override, text, groups)
    if is_group:
        _check_choices(text, key, values, groups[key])
    patches = not (is_group or override.is_delete() or override.is_add() or "${" in text)
    points = tuple(
        (Setting(text, key, value, patches and not isinstance(value, dict)),)
        for text, value in zip(texts, values, strict=True)
    )
    return Axis(text, points, sweeps)


# What Hydra's grammar reads only in quotes, as paths have it: é, ~, #, a second =.
_BARE = re.compile(r"(?P<key>[+~]*[\w./@-]+)=(?P<values>[^()\[\]{}'\"\\$]+)", re.ASCII)


def _parsed(text: str) -> "tuple[str, Override]":
    """One override by Hydra's parser, and its text with the quotes that Hydra needs.

    Raises ConfigError for what is none, or asks its surroundings.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, bare = OverridesParser.create(), _BARE.fullmatch(text)
    try:
        try:
            override = parser.parse_override(text)
        except HydraException:
            if bare is None:
                raise
            # "#" begins no comment, and commas still stand between values.
            values = (f"'{value.strip()}'" for value in bare["values"].split(","))
            text = f"{bare['key']}={','.join(values)}"
            override = parser.parse_override(text)
        if not override.key_or_group:
            raise HydraException("no key")
    except HydraException as error:
        raise ConfigError(
            f"{text}: not an override; write key=value without spaces, and quote values that hold "
            "spaces, commas or brackets, as in 'key=\"a, b\"'"
        ) from error
    if resolves(text):
        raise ConfigError(f"{text}: {ONLY_KEYS}")
    return text, override


def _swept_values(
    override: "Override", text: str, groups: Mapping[str, Sequence[str]]
) -> tuple[list[Any], list[str]]:
    """The values of a sweep, and each as an override of its own."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString, RangeSweep, Sweep

    key, swept = override.key_or_group, override.value()
    if not override.is_discrete_sweep():
        raise ConfigError(f"{text}: has no list of values; use choice(), range() or a,b,c")
    if isinstance(swept, ChoiceSweep) and any(isinstance(value, Sweep) for value in swept.list):
        raise ConfigError(f"{text}: give values or one range, not ranges in a list")
    values: list[Any]
    if isinstance(swept, RangeSweep):
        values = _range_values(swept, text)
        texts = [f"{override.get_key_element()}={value}" for value in values]
    elif isinstance(swept, Glob):
        values = swept.filter(list(groups.get(key, ())))
        texts = [f"{key}={value}" for value in values]
    else:
        found = override.sweep_iterator()
        values = [v.text if isinstance(v, QuotedString) else v for v in found]
        texts = [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]
    if not values:
        choices = f"; choices: {', '.join(groups[key])}" if key in groups else ""
        raise ConfigError(f"{text}: no value, so the sweep is empty{choices}")
    return values, texts


def _check_choices(text: str, group: str, values: Sequence[Any], choices: Sequence[str]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise ConfigError(f"{text}: {group} takes one of {', '.join(choices)}")
        if value not in choices:
            raise ConfigError(
                f"{group}={value}: no such choice; choices: {', '.join(choices)}"
                f"{_meant(group, value, choices)}"
            )


def _meant(group: str, value: str, choices: Sequence[str]) -> str:
    """What a person may have meant by a choice that is none; of a group of parts, a plugin's."""
    for _, part in GROUPS[group].items() if group in GROUPS else ():
        if words := part.meant_by(value):
            return f"; write {' '.join(words)}"
    otherwise = NOT_A_PLUGINS if group in GROUPS else ""
    return did_you_mean(value, choices) or _named_otherwise(group, value) or otherwise


def _named_otherwise(group: str, value: str) -> str:
    """The choice whose part is called so in words, as bn is BatchNorm."""
    parts = GROUPS[group].items() if group in GROUPS else ()
    labels = {getattr(part, "label", part.__name__): name for name, part in parts}
    meant = nearest(value, list(labels))
    return f"; {group}={labels[meant]} is {meant}" if meant else ""


# Of one range; it is held in memory, and no grid is meant to be larger.
MOST_VALUES = 100_000
# Hydra's parser takes a second for so many.
MOST_CHARACTERS = 10_000


def _range_values(swept: "RangeSweep", text: str) -> list[int | float]:
    """start, start + step, … before stop, each as a person counts: 0.1, 0.2, 0.3.

    Raises ConfigError for one that would take all the time and memory there is, or never end.
    """
    given = (swept.start, swept.stop, swept.step)
    # As they were typed; sums of floats would drift, and reach the stop that is left out. Hydra
    # makes such sums itself to sort a range, whose last digits are then none that were typed.
    form = ".15g" if "sort(" in text else ""
    start, stop, step = (Decimal(format(number, form)) for number in given)
    try:
        count = math.ceil((stop - start) / step)
    except (ArithmeticError, ValueError):  # of 0, inf and nan
        count = MOST_VALUES + 1
    if count > MOST_VALUES:
        raise ConfigError(f"{text}: its range must have an end, and at most {MOST_VALUES:,} values")
    whole = all(isinstance(number, int) for number in given)
    kind: Callable[[Decimal], int | float] = int if whole else float
    values = [kind(start + i * step) for i in range(count)]
    if swept.shuffle:
        random.shuffle(values)
    return values


def _zip(parts: Sequence[Axis], text: str) -> Axis:
    """Axes of equal length as one."""
    lengths = [len(axis.points) for axis in parts]
    if len(set(lengths)) > 1:
        raise ConfigError(
            f"{text}: its lists have {', '.join(map(str, lengths))} values, not as many"
        )
    points = zip(*(axis.points for axis in parts), strict=True)
    return Axis(text, tuple(tuple(s for part in point for s in part) for point in points), True)
