"""A person's own YAML files as Hydra loads them: read with bounds, and asking nothing of their
surroundings."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from normlab.config.files import SUFFIXES
from normlab.config.yaml_text import check_interpolations, parse_yaml, read_text, strings
from normlab.errors import ConfigError

# Of all files that one config takes; each entry may name a file with entries, and so on.
MOST_DEFAULTS = 24


class OwnFiles(ConfigSource):
    """A folder of YAML groups that is searched beside normlab's own."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._defaults = 0

    @staticmethod
    def scheme() -> str:
        """What stands before :// in Hydra's search path."""
        return "normlab"

    def load_config(self, config_path: str) -> ConfigResult:
        """One file; raises ConfigError."""
        file = self._file(config_path)
        text = read_text(file)
        values = parse_yaml(text, str(file))
        check_interpolations(values, str(file))
        if not isinstance(values, dict):
            raise ConfigError(f"{file}: must be a mapping of keys to values")
        self._check_defaults(values.get("defaults"), file)
        # An experiment's keys are those of the whole config, whether or not it says so.
        package = "_global_" if config_path.startswith("experiment/") else None
        stated = re.match(r"(?:\s*#.*\n)*?\s*#\s*@package\s+(\S+)", text)
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=OmegaConf.create(values),
            header={"package": stated[1] if stated else package},
        )

    def _check_defaults(self, defaults: Any, file: Path) -> None:
        for text in strings(defaults):
            if ".." in text or "//" in text:  # a file that is read without these bounds
                raise ConfigError(f"{file}: defaults name groups and choices, not {text}")
        self._defaults += len(defaults) if isinstance(defaults, Sequence) else 0
        if self._defaults > MOST_DEFAULTS:
            raise ConfigError(f"{file}: with it there are more than {MOST_DEFAULTS} defaults")

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder."""
        return (Path(self.path) / config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Whether there is such a file."""
        file = self._file(config_path)
        return file.exists() and not file.is_dir()

    def available(self) -> bool:
        """Whether the folder is there."""
        return self.is_group("")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names of the files in a folder."""
        folder = Path(self.path) / config_path
        if results_filter is ObjectType.GROUP:
            return sorted(file.name for file in folder.iterdir() if file.is_dir())
        return sorted({file.stem for file in folder.iterdir() if file.suffix in SUFFIXES})

    def _file(self, config_path: str) -> Path:
        place = Path(self.path) / config_path.removesuffix(".yaml")
        files = [place.with_name(f"{place.name}{suffix}") for suffix in SUFFIXES]
        return next((file for file in files if file.exists()), files[0])


def search_path(folder: Path) -> str:
    """A folder as Hydra's search path takes it."""
    Plugins.instance().register(OwnFiles)
    return f"{OwnFiles.scheme()}://{folder.resolve()}"
