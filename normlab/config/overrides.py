"""A Config back to the overrides that make it, each a word of Hydra's grammar."""

import json
import re
from typing import Any

from normlab.config.composing import flatten, leaves
from normlab.config.files import group_choices
from normlab.config.schema import GROUPS, Config

# What Hydra's grammar reads as the same text without quotes, and as nothing else.
_BARE = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)
_OTHER_THAN_TEXT = ("true", "false", "null", "nan", "inf")


def override(key: str, value: Any) -> str:
    """`key=value` as an override that sets exactly this value."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and value.lower() not in _OTHER_THAN_TEXT:
        return value
    # A backslash is doubled only where it stands before a quote.
    quoted = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", quoted) + "'"


def overrides_of(config: Config) -> list[str]:
    """The overrides that make a run, those left out that repeat a default.

    Where it executes is told by its threads, its device and its results folder alone.
    """
    choices = group_choices()
    names = {group: getattr(config, group).name for group in GROUPS if group != "launcher"}
    usual = leaves()
    chosen = [
        override(group, name)
        for group, name in names.items()
        if name in choices[group] and name != usual[f"{group}.name"]
    ]
    defaults = leaves(groups=chosen)
    values = dict(flatten(config.model_dump(mode="json", exclude={"launcher", "plugins"})))
    del values["output.experiment"]
    for setting in config.data.told_by_files:
        del values[f"data.{setting}"]
    if values["training.steps"] is not None:
        del values["training.epochs"]  # which the steps replace
    changed = [
        override(key, value)
        for key, value in values.items()
        if key not in defaults or defaults[key] != value
    ]
    return [*chosen, *changed]
