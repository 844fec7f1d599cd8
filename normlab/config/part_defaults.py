"""Parts from outside that have no YAML as Hydra loads them: with the defaults of their fields."""

from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from pydantic_core import to_jsonable_python

from normlab.config.parts import Part
from normlab.config.schema import GROUPS


class PartDefaults(ConfigSource):
    """The choices that parts from outside are, searched behind every YAML."""

    @staticmethod
    def scheme() -> str:
        """What stands before :// in Hydra's search path."""
        return "normlab-parts"

    def load_config(self, config_path: str) -> ConfigResult:
        """A part's values: its fields' defaults over those of the choice that it names."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        part: type[Part] = GROUPS[group][name]
        values: dict[str, Any] = {"name": name}
        if part.values_of is not None:
            values = {"defaults": [part.values_of, "_self_"], **values}
        for key, field in part.model_fields.items():
            if not field.is_required():
                default = field.get_default(call_default_factory=True, validated_data={})
                values[key] = to_jsonable_python(default)
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://",
            config=OmegaConf.create(values),
            header={"package": None},
        )

    def is_group(self, config_path: str) -> bool:
        """Whether it is a group that parts are chosen in."""
        return config_path in GROUPS

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a part."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in GROUPS and name in GROUPS[group].outside

    def available(self) -> bool:
        """Always."""
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The groups, or the parts of one."""
        if results_filter is ObjectType.GROUP:
            return [] if config_path else list(GROUPS)
        return list(GROUPS[config_path].outside) if config_path in GROUPS else []


def search_path() -> str:
    """These parts as Hydra's search path takes them."""
    Plugins.instance().register(PartDefaults)
    return f"{PartDefaults.scheme()}://"
