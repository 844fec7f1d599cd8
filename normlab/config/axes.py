"""Overrides to grids of settings: Hydra's sweep grammar, and settings that vary together."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.config.files import check_config_dir, group_choices
from normlab.errors import ConfigError
from normlab.text import did_you_mean

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override, RangeSweep


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
    groups = group_choices(config_dir)
    axes = []
    for text in overrides:
        inner = re.fullmatch(r"zip\((.*)\)", text.strip(), re.DOTALL)
        if inner is None:
            axes.append(_axis(text, groups))
        else:
            axes.append(_zip([_axis(part, groups) for part in inner[1].split(";")], text))
    return axes


def _axis(text: str, groups: Mapping[str, Sequence[str]]) -> Axis:
    text = text.strip()
    override = _parsed(text)
    key = override.key_or_group
    is_group = key in groups and not override.is_delete()
    if is_group and override.package is not None:
        raise ConfigError(f"{text}: {key} takes one of {', '.join(groups[key])}")
    sweeps = override.is_sweep_override()
    if sweeps:
        values, texts = _swept_values(override, text, groups)
        patches = not (is_group or override.is_add() or "${" in text)
    else:
        values, texts = [None if override.is_delete() else override.value()], [text]
        patches = not (
            is_group
            or override.is_delete()
            or override.is_add()
            or isinstance(values[0], dict)
            or "${" in text
        )
    if is_group:
        _check_choices(text, key, values, groups[key])
    points = tuple(
        (Setting(text, key, value, patches),) for text, value in zip(texts, values, strict=True)
    )
    return Axis(text, points, sweeps)


def _parsed(text: str) -> "Override":
    """One override by Hydra's parser; ConfigError for what is none, or asks its surroundings."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
        if not override.key_or_group:
            raise HydraException("no key")
    except HydraException as error:
        raise ConfigError(
            f"{text}: not an override; write key=value without spaces, and quote values that hold "
            "spaces, commas or brackets, as in 'key=\"a, b\"'"
        ) from error
    if re.search(r"\$\{[^}]*:", text):
        raise ConfigError(
            f"{text}: only other keys can be interpolated, as in ${{model.depth}}, "
            "so that a config means the same everywhere"
        )
    return override


def _swept_values(
    override: "Override", text: str, groups: Mapping[str, Sequence[str]]
) -> tuple[list[Any], list[str]]:
    """The values of a sweep, and each as an override of its own."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, QuotedString, RangeSweep, Sweep

    key, swept = override.key_or_group, override._value
    if not override.is_discrete_sweep():
        raise ConfigError(f"{text}: has no list of values; use choice(), range() or a,b,c")
    if isinstance(swept, ChoiceSweep) and any(isinstance(value, Sweep) for value in swept.list):
        raise ConfigError(f"{text}: give values or one range, not ranges in a list")
    if isinstance(swept, RangeSweep):
        _check_range(swept, text)
    values: list[Any]
    if isinstance(swept, Glob):
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
                f"{did_you_mean(value, choices)}"
            )


# Of one range; it is held in memory, and no grid is meant to be larger.
MOST_VALUES = 1_000_000


def _check_range(swept: "RangeSweep", text: str) -> None:
    """Refuse a range that would take all the time and memory there is, or never end."""
    assert swept.start is not None
    assert swept.stop is not None
    try:
        values = (swept.stop - swept.start) / swept.step
    except (ZeroDivisionError, OverflowError):
        values = math.inf
    if not values <= MOST_VALUES:  # NaN too
        raise ConfigError(f"{text}: its range must have an end, and at most {MOST_VALUES:,} values")


def _zip(parts: Sequence[Axis], text: str) -> Axis:
    """Axes of equal length as one."""
    lengths = [len(axis.points) for axis in parts]
    if len(set(lengths)) > 1:
        raise ConfigError(
            f"{text}: its lists have {', '.join(map(str, lengths))} values, not as many"
        )
    points = zip(*(axis.points for axis in parts), strict=True)
    return Axis(text, tuple(tuple(s for part in point for s in part) for point in points), True)
