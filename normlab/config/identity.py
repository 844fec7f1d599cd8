"""What makes a run the run that it is: its id, its words, its config as YAML."""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from normlab import plugins
from normlab.config.files import config_folder, own_choices
from normlab.config.messages import validate
from normlab.config.migrations import completed, named_as_before
from normlab.config.parts import WITHOUT_PLUGIN
from normlab.config.schema import GROUPS, Config
from normlab.config.training_parts import DATA_SETS
from normlab.config.yaml_text import parse_yaml, read_yaml

# What cannot change a run's outcome, beside what a data set says of its own settings.
_OUTSIDE_IDENTITY: dict[str, Any] = {
    "runtime": True,
    "launcher": True,
    "output": True,
    # A run that is out of time is no result, and goes on with a larger limit.
    "training": {"max_seconds"},
}
# Where their defaults lie, in configs/.
_OUTSIDE_FILES = {
    "runtime": "runtime/default.yaml",
    "launcher": "launcher/{name}.yaml",
    "output": "config.yaml",
}

# A key of config.yaml of a training that normlab only watches, and cannot make.
WATCHED = "watched"

# What is part of a run's identity, as it changes what is measured or when, and leaves the training
# as it is, bit for bit.
_BESIDE_TRAINING: dict[str, Any] = {"probes": True, "training": {"evaluate_every_epochs"}}


def run_id(config: Config) -> str:
    """Ten hexadecimal digits that name a run: a hash of all that can change its outcome.

    A key that was added later names no run anew that does as all did before it (`migrations`).
    """
    outside = {**_OUTSIDE_IDENTITY, "data": set(config.data.outside_identity)}
    if not config.model.of_tokens:
        outside["probes"] = {"tokens"}
    identity = config.model_dump(mode="json", exclude=outside)
    text = json.dumps(named_as_before(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def decides_id(key: str) -> bool:
    """Whether a dotted key, or a whole group, is part of what a run's id is the hash of."""
    group, _, setting = key.partition(".")
    if group == "data" and setting:
        parts = [part for _, part in DATA_SETS.items() if setting in part.model_fields]
        return not parts or any(setting not in part.outside_identity for part in parts)
    return not _is_among(_OUTSIDE_IDENTITY, key)


def decides_training(key: str) -> bool:
    """Whether a dotted key, or a whole group, can change the weights that a training ends with."""
    return decides_id(key) and not _is_among(_BESIDE_TRAINING, key)


def _is_among(keys: Mapping[str, Any], key: str) -> bool:
    group, _, setting = key.partition(".")
    chosen = keys.get(group, ())
    return chosen is True or setting in chosen


def describe(config: Config) -> str:
    """A run in a few words, such as `ResNet-56 bn on digits`."""
    norm = config.norm.phrase if config.model.uses_norm else "without norm"
    padded = "padded " if config.data.is_padded else ""
    return f"{config.model.title} {norm} on {padded}{config.data.title}"


def to_yaml(config: Config) -> str:
    """The resolved config as YAML that `from_yaml` loads back to an equal Config."""
    return _yaml(config.model_dump(mode="json"))


def watched_to_yaml(settings: Mapping[str, Any]) -> str:
    """What is known of a watched training, as YAML that `from_yaml_or_watched` loads back."""
    return _yaml({WATCHED: True, **settings})


def _yaml(values: Mapping[str, Any]) -> str:
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dict(values)))
    # It leaves such a line break as it is, to be read as a space; JSON is YAML, too.
    return json.dumps(values, indent=2) + "\n" if "\x85" in text else text


def from_yaml_or_watched(text: str) -> Config | dict[str, Any]:
    """What `to_yaml` or `watched_to_yaml` wrote: a Config, or what a watched training's says."""
    values = parse_yaml(text, "not a config")
    if isinstance(values, dict) and values.get(WATCHED) is True:
        return {key: value for key, value in values.items() if key != WATCHED}
    return from_plain(values)


def from_yaml(text: str) -> Config:
    """A Config from `to_yaml`'s text; raises ConfigError where it is not one."""
    return from_plain(parse_yaml(text, "not a config"))


def from_plain(values: Any) -> Config:
    """A Config from `model_dump(mode="json")`, such as a summary holds; raises ConfigError.

    What a run lacks that an older version wrote has the value that it behaved as (`migrations`);
    what is outside its identity, which cannot have changed its outcome, has today's default. Of a
    plugin that is not loaded here, or with another source, the parts are kept as they are written.
    """
    context = None
    if isinstance(values, dict):
        values = dict(completed(values))
        used = values.setdefault("plugins", {})  # as the files say, not by what is loaded here
        if isinstance(used, dict) and not plugins.are_loaded(used):
            context = WITHOUT_PLUGIN
        for group in _OUTSIDE_FILES:
            part = values.get(group)
            if isinstance(part, dict):
                values[group] = {**_defaults(group, str(part.get("name"))), **part}
    return validate(values, context)


@functools.cache
def _defaults(group: str, name: str) -> dict[str, Any]:
    """What a group outside of identity has by default, a launcher of this name."""
    if group in GROUPS and name not in own_choices()[group]:  # from outside, or there is none
        return {}
    found = read_yaml(config_folder() / _OUTSIDE_FILES[group].format(name=name))
    defaults: dict[str, Any] = found.get(group, found)
    return defaults
