"""What sets nets apart but depth and seed: a variant, such as BatchNorm with skips."""

import functools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pandas import DataFrame

from normlab.analysis.keys import DEPTH, NORM, RESIDUAL, label, layout, rank, short_names
from normlab.config import NORMS

# Keys whose value says by itself what it is; of others a name gives the key too, as `lr=0.1`.
_CLEAR_ALONE = ("model", RESIDUAL, "data")

# So many settings are all given where a sentence names a variant.
_MOST_WORDS = 3


@dataclass(frozen=True)
class Variant:
    """One of the nets that a frame compares, at any depth and seed."""

    settings: tuple[tuple[str, Any], ...]  # the keys that set it apart, and its values
    norm: str | None
    residual: bool | None

    @functools.cached_property
    def name(self) -> str:
        """As pictures name it, such as `bn residual`."""
        return self.named_by(range(len(self.settings)))

    def named_by(self, places: Collection[int]) -> str:
        """Its name by some of its settings."""
        names = short_names([key for key, _ in self.settings])
        words = (
            _word(key, name, value)
            for place, ((key, value), name) in enumerate(zip(self.settings, names, strict=True))
            if place in places and not (key == RESIDUAL and value is None)  # not known
        )
        return " ".join(words) or "every net"

    @property
    def rest(self) -> tuple[tuple[str, Any], ...]:
        """The settings but norm and skips."""
        return tuple(pair for pair in self.settings if pair[0] not in (NORM, RESIDUAL))


def variant_keys(frame: DataFrame) -> list[str]:
    """The keys that set variants apart: all that vary but depth and the seed."""
    keys, _ = layout(frame, None, [DEPTH])
    # Depth alone, or nothing, may vary.
    return [key for key in keys if key not in (DEPTH, "name")]


def variants_of(frame: DataFrame, keys: Sequence[str]) -> list[Variant]:
    """The variant of every run, set apart by the keys."""
    known: dict[tuple[Any, ...], Variant] = {}
    columns = [
        frame[key].tolist() if key in frame else [None] * len(frame)
        for key in (NORM, RESIDUAL, *keys)
    ]
    found = []
    for row in zip(*columns, strict=True):
        if row not in known:
            norm, residual, *values = (None if value != value else value for value in row)
            known[row] = Variant(
                tuple(zip(keys, values, strict=True)),
                None if norm is None else str(norm),
                None if residual is None else residual in (True, "true"),
            )
        found.append(known[row])
    return found


def brief_names(variants: Sequence[Variant]) -> dict[Variant, str]:
    """What sentences call the variants of one frame: norm, skips, and of the other settings so few
    as tell it from the others, where there are more than `_MOST_WORDS`."""
    distinct = list(dict.fromkeys(variants))
    return {variant: variant.named_by(_telling(variant, distinct)) for variant in distinct}


def _telling(variant: Variant, among: Sequence[Variant]) -> Collection[int]:
    """The places of the settings that tell a variant from others, each time the one that most of
    those differ in that are left."""
    places = range(len(variant.settings))
    if len(places) <= _MOST_WORDS:
        return places
    chosen = {place for place in places if variant.settings[place][0] in (NORM, RESIDUAL)}

    def alike(others: Sequence[Variant], places: Iterable[int]) -> list[Variant]:
        return [o for o in others if all(o.settings[i] == variant.settings[i] for i in places)]

    left = [other for other in alike(among, chosen) if other != variant]
    while left:
        told = {place: len(left) - len(alike(left, [place])) for place in places}
        chosen.add(best := max(places, key=told.__getitem__))
        left = alike(left, [best])
    return chosen


def _word(key: str, name: str, value: Any) -> str:
    """A key's value as one word of a variant's name, with the key's own short name."""
    if key == NORM:
        norm = NORMS.get(str(value))
        return (norm.adjective if norm else None) or str(value)
    text = label(key, value)
    return text if key in _CLEAR_ALONE else f"{name}={text}"


def with_looks(
    table: DataFrame, variants: Sequence[Variant], apart: Sequence[str] = ()
) -> DataFrame:
    """A table with its rows' variants, and what pictures draw them by, in further columns.

    `variant` is its name, `residual` whether it has skips, `hue` its norm, which gives its colour.
    `rest` counts the values of what else sets variants apart, from 0 in their order; `ordered`
    tells whether that is one key of numbers. The keys `apart` have no look.
    """
    rests = sorted({v.rest for v in variants}, key=lambda rest: [rank(value) for _, value in rest])
    place = {rest: index for index, rest in enumerate(rests)}
    numbers = [len(rest) == 1 and rank(rest[0][1])[0] == 0 for rest in rests]
    looks: dict[str, Any] = {
        "variant": [v.name for v in variants],
        "residual": [None if RESIDUAL in apart else v.residual for v in variants],
        "hue": [None if NORM in apart else v.norm for v in variants],
        "rest": [place[v.rest] for v in variants],
        "ordered": all(numbers),
    }
    return table.assign(**looks)
