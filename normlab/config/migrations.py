"""Keys that the config got after runs had been made, and how those runs behaved without them.

To add a key: give its part the field and its YAML in configs/ the default, and write into `ADDED`
the value that the program had behaved as before. Runs made before then keep their ids, are not made
again, and stand in one cell with new runs of that value; any other value is another run. A line
stays for good, and keeps its value where the default changes later: without it every run renames
itself. Groups outside a run's identity (runtime, launcher, output) need none.
"""

from collections.abc import Mapping
from typing import Any

from normlab.config.parts import Settings
from normlab.config.schema import GROUPS, Config

# By dotted key, such as "norm.noise": 0.0, in the types of JSON. A key of a group means all parts
# of the group that have it.
ADDED: dict[str, Any] = {
    "data.label_noise": 0.0,
    "data.test_share": None,
    "data.padding": 0.0,
    "data.padding_content": "zeros",
    "norm.masked": True,
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
    for key, value in ADDED.items():
        group, _, field = key.rpartition(".")
        part = values.get(group) if group else values
        if isinstance(part, Mapping) and field not in part and _has_field(group, part, field):
            given = {**part, field: value}
            values = {**values, group: given} if group else given
    return values


def named_as_before(identity: dict[str, Any]) -> dict[str, Any]:
    """What a run's id is the hash of: its plain config without keys at the value before them."""
    for key, before in ADDED.items():
        group, _, field = key.rpartition(".")
        part = identity.get(group, {}) if group else identity
        if field in part and _same(part[field], before):
            kept = {name: value for name, value in part.items() if name != field}
            identity = {**identity, group: kept} if group else kept
    return identity


def _has_field(group: str, values: Mapping[str, Any], field: str) -> bool:
    """Whether a group's part, as these values choose it, has a key."""
    if not group:
        return field in Config.model_fields
    if group in GROUPS:
        part = GROUPS[group].get(str(values.get("name")))
        return part is not None and field in part.model_fields
    kind = Config.model_fields[group].annotation
    return isinstance(kind, type) and issubclass(kind, Settings) and field in kind.model_fields


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of one type, as 0, 0.0 and false are not."""
    return type(one) is type(other) and bool(one == other)
