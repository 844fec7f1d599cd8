"""What makes a run the run that it is: its id, its words, its config as YAML."""

import functools
import hashlib
import json
from typing import Any

from normlab.config.files import config_folder, read_yaml
from normlab.config.messages import validate
from normlab.config.schema import Config
from normlab.errors import ConfigError
from normlab.text import first_line

# What cannot change a run's outcome.
_OUTSIDE_IDENTITY: dict[str, Any] = {
    "runtime": True,
    "launcher": True,
    "output": True,
    "data": {"root"},
}


def run_id(config: Config) -> str:
    """Ten hexadecimal digits that name a run: a hash of all that can change its outcome."""
    identity = config.model_dump(mode="json", exclude=_OUTSIDE_IDENTITY)
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def describe(config: Config) -> str:
    """A run in a few words, such as `ResNet-56 bn on digits`."""
    return f"{config.model.title} {config.norm.phrase} on {config.data.name}"


def to_yaml(config: Config) -> str:
    """The resolved config as YAML that `from_yaml` loads back to an equal Config."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(config.model_dump(mode="json")))


def from_yaml(text: str) -> Config:
    """A Config from `to_yaml`'s text; raises ConfigError where it is not one."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # of OmegaConf's own parser

    try:
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"not a config: {first_line(error)}") from error
    return from_plain(values)


def from_plain(values: Any) -> Config:
    """A Config from `model_dump(mode="json")`, such as a summary holds; raises ConfigError.

    A setting of `runtime` that an older version did not have gets its default of today, as none is
    part of a run's identity.
    """
    if isinstance(values, dict) and isinstance(values.get("runtime"), dict):
        values = {**values, "runtime": {**_runtime_defaults(), **values["runtime"]}}
    return validate(values)


@functools.cache
def _runtime_defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = read_yaml(config_folder() / "runtime" / "default.yaml")
    return defaults
