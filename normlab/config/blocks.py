"""An experiment's `sweep:` block as grids, and what overrides beside it replace of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from normlab.config.axes import Axis, Grid, axes_of, refuse_repeated, together
from normlab.errors import ConfigError


def block_grids(block: Any, given: Grid, config_dir: Path | None) -> list[Grid]:
    """The grids of a block, a mapping of keys to values or a list of such, with those given.

    An override replaces the block's own values of its key. Of settings that vary together it
    chooses the points with its values. Raises ConfigError.
    """
    if block is None or isinstance(block, Mapping):
        block = [block or {}]
    if not isinstance(block, Sequence) or not all(isinstance(grid, Mapping) for grid in block):
        raise ConfigError(f"must be a list of mappings of keys to values, not {literal(block)}")
    found = []
    for grid in block or [{}]:
        own = _block_axes(grid, config_dir)
        refuse_repeated(own, config_dir)
        if any("experiment" in axis.keys for axis in own):
            raise ConfigError("experiment: a sweep takes one experiment")
        found.append(_merged(own, given))
        refuse_repeated(found[-1], config_dir)
    return found


def _block_axes(grid: Mapping[Any, Any], config_dir: Path | None) -> Grid:
    axes = axes_of([_override(key, v) for key, v in grid.items() if key != "zip"], config_dir)
    zipped = grid.get("zip")
    if zipped is not None and not isinstance(zipped, Mapping):
        raise ConfigError(f"zip must be a mapping of keys to lists, not {literal(zipped)}")
    if zipped:
        texts = [_override(key, value) for key, value in zipped.items()]
        axes.append(together(texts, config_dir))
    return axes


def _override(key: Any, value: Any) -> str:
    """A key and its values as an override: text is in the grammar itself, a list is of values."""
    if isinstance(value, str):
        return f"{key}={value}"
    if isinstance(value, Sequence):
        if not value:
            raise ConfigError(f"{key}=[]: no value, so the sweep is empty")
        return f"{key}={','.join(map(literal, value))}"
    return f"{key}={literal(value)}"


def literal(value: Any) -> str:
    """A plain value in the grammar of overrides."""
    from hydra.core.override_parser.types import Quote, QuotedString

    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_][\w.-]*", value, re.ASCII)
        word = plain and value.lower() not in ("null", "true", "false", "nan", "inf")
        return value if word else QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{literal(k)}:{literal(v)}' for k, v in value.items())}}}"
    if isinstance(value, Sequence):
        return f"[{','.join(map(literal, value))}]"
    return str(value)


def _merged(own: Grid, given: Grid) -> Grid:
    """The axes of a block without what the given ones replace, and those that are given."""
    kept: Grid = []
    chosen: set[str] = set()  # keys whose given values choose points of a zip
    for axis in own:
        replaced = [other for other in given if other.keys & axis.keys]
        left = axis.keys - {key for other in replaced for key in other.keys}
        if not replaced:
            kept.append(axis)
        elif left:
            kept.append(_points_with(axis, replaced, left))
            chosen |= axis.keys - left
    return [*kept, *(axis for axis in given if not axis.keys & chosen)]


def _points_with(axis: Axis, given: Sequence[Axis], left: set[str]) -> Axis:
    """The points of settings that vary together that have the given values of some of them."""
    points = list(axis.points)
    for other in given:
        key = next(iter(other.keys & axis.keys))
        wanted = [setting.value for point in other.points for setting in point]
        has = [next(s.value for s in point if s.key == key) for point in axis.points]
        if len(other.keys) > 1 or any(value not in has for value in wanted):
            together = "; ".join(" ".join(s.text for s in point) for point in axis.points)
            raise ConfigError(
                f"{other.text}: varies together with {', '.join(sorted(left))} ({together}); "
                f"give one of these values, or {', '.join(sorted(left))} too"
            )
        points = [p for p in points if any(s.key == key and s.value in wanted for s in p)]
    if not points:
        texts = " ".join(other.text for other in given)
        raise ConfigError(f"{texts}: no point of {axis.text} has both, so the sweep is empty")
    return Axis(axis.text, tuple(points), sweeps=True)
