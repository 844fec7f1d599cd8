"""Keys that the config got after runs had been made, and how those runs behaved without them.

To add a key: give its part the field and its YAML in configs/ the default, and write into `ADDED`
the value that the program had behaved as before. Runs made before then keep their ids, are not made
again, and stand in one cell with new runs of that value; any other value is another run. A line
stays for good, and keeps its value where the default changes later: without it every run renames
itself. Groups outside a run's identity (runtime, launcher, output) need none.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from normlab.config.parts import Settings
from normlab.config.schema import GROUPS, Config

# By dotted key, such as "norm.noise": 0.0, in the types of JSON. A key of a group means all parts
# of the group that have it; `model[mlp].block` those alone that are an MLP.
ADDED: dict[str, Any] = {
    "data.label_noise": 0.0,
    "data.test_share": None,
    "data.padding": 0.0,
    "data.padding_content": "zeros",
    "norm.masked": True,
    "model[mlp].block": "post",
    "model.branch_scale": "one",
    "model.branch_alpha": 0.2,
    "model.weight_standardization": "none",
    "training.label_smoothing": 0.0,
    "training.max_seconds": None,
    "training.stop_metric": None,
    "training.stop_value": None,
    "training.extends": None,
    "probes.tokens": ["token_cosine", "rank_one_distance", "logit_std", "attention_entropy"],
}


def completed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A plain config that an older version wrote, with the keys that it lacks; others as they are.

    The mapping itself is returned where nothing is lacking.
    """
    for added, value in ADDED.items():
        key = _read(added)
        part = values.get(key.group) if key.group else values
        if isinstance(part, Mapping) and key.field not in part and _has_field(key, part):
            given = {**part, key.field: value}
            values = {**values, key.group: given} if key.group else given
    return values


def named_as_before(identity: dict[str, Any]) -> dict[str, Any]:
    """What a run's id is the hash of: its plain config without keys at the value before them."""
    for added, before in ADDED.items():
        key = _read(added)
        part = identity.get(key.group, {}) if key.group else identity
        if key.field in part and _same(part[key.field], before) and _is_of(key, part):
            kept = {name: value for name, value in part.items() if name != key.field}
            identity = {**identity, key.group: kept} if key.group else kept
    return identity


class _Key(NamedTuple):
    group: str  # empty of a key of the whole config
    kind: str  # of which kind a group's part has to be; empty for all
    field: str


@functools.cache
def _read(added: str) -> _Key:
    group, _, field = added.rpartition(".")
    group, _, kind = group.removesuffix("]").partition("[")
    return _Key(group, kind, field)


def _is_of(key: _Key, values: Mapping[str, Any]) -> bool:
    """Whether a group's part, as these values choose it, is of the kind that a key is of."""
    if not key.kind:
        return True
    registry = GROUPS[key.group]
    part = registry.get(str(values.get("name")))
    return part is not None and issubclass(part, registry[key.kind])


def _has_field(key: _Key, values: Mapping[str, Any]) -> bool:
    """Whether a group's part, as these values choose it, has a key."""
    if not key.group:
        return key.field in Config.model_fields
    if key.group in GROUPS:
        part = GROUPS[key.group].get(str(values.get("name")))
        return part is not None and key.field in part.model_fields and _is_of(key, values)
    kind = Config.model_fields[key.group].annotation
    return isinstance(kind, type) and issubclass(kind, Settings) and key.field in kind.model_fields


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type, as 0, 0.0 and false are not."""
    return type(one) is type(other) and bool(one == other)
