"""Where configs lie: the folders of the YAML groups, and their choices."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from normlab import plugins
from normlab.config.yaml_text import read_yaml
from normlab.errors import ConfigError
from normlab.text import did_you_mean


def config_folder() -> Path:
    """The folder of the YAML groups: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


SUFFIXES = (".yaml", ".yml")
# Folders of configs/ that are no groups of settings.
_NO_GROUPS = ("claim",)


def own_choices() -> dict[str, list[str]]:
    """normlab's own config groups and their choices, read from the folders alone."""
    return _choices_in([config_folder()])


@functools.cache
def own_values(group: str, name: str) -> dict[str, Any]:
    """The values of one of normlab's own choices in its YAML, without those that it inherits."""
    values: dict[str, Any] = read_yaml(config_folder() / group / f"{name}.yaml")
    return values


def group_choices(config_dir: Path | None = None) -> dict[str, list[str]]:
    """The config groups and their choices: YAML files, and parts from outside, which need none."""
    from normlab.config.schema import GROUPS  # which whoever asks for a folder alone does without

    folders = [config_folder(), *plugin_folders(), *([config_dir] if config_dir else [])]
    choices = _choices_in(folders)
    for group, registry in GROUPS.items():
        if registry.outside:
            choices[group] = sorted({*choices[group], *registry.outside})
    return choices


def _choices_in(folders: Iterable[Path]) -> dict[str, list[str]]:
    choices: dict[str, set[str]] = {}
    for folder in folders:
        for file in yaml_files(folder):
            if file.parent.name not in _NO_GROUPS:
                choices.setdefault(file.parent.name, set()).add(file.stem)
    return {group: sorted(choices[group]) for group in sorted(choices)}


def load_installed_plugins() -> None:
    """Load what is installed, without plugins whose code or YAML cannot be, which is told."""
    plugins.load_installed()
    plugin_folders()


def plugin_folders() -> list[Path]:
    """The folders of YAML groups that loaded plugins bring.

    Raises ConfigError for one that cannot be; that of an installed plugin is told and left out.
    """
    found: list[Path] = []
    for plugin in plugins.loaded():
        if plugin.configs is not None:
            try:
                _check_folder(plugin.configs, f"plugin {plugin.name}: {plugin.configs}", found)
            except ConfigError as error:
                plugins.reject(plugin, error)
            else:
                found.append(plugin.configs)
    return found


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files in the folders of a folder."""
    return sorted(file for suffix in SUFFIXES for file in folder.glob(f"*/*{suffix}"))


def check_config_dir(config_dir: Path | None) -> None:
    """Raise ConfigError where a person's folder of YAML groups is none."""
    if config_dir is None:
        return
    if not config_dir.is_dir():
        raise ConfigError(f"--config-dir={config_dir}: no such folder")
    plugins.load_installed()  # so that what a name means does not depend on what was asked before
    _check_folder(config_dir, f"--config-dir={config_dir}", plugin_folders())


def _check_folder(folder: Path, named: str, before: Iterable[Path]) -> None:
    """Raise ConfigError where a folder has a file that is called as one of those before it, or a
    folder that is no group."""
    groups = own_choices()
    others = _choices_in(before)
    for file in yaml_files(folder):
        group = file.parent.name
        own = file.stem in groups.get(group, ())
        if own or file.stem in others.get(group, ()):
            whose = "normlab's own" if own else "a plugin's"
            raise ConfigError(
                f"{named}: {group}/{file.name} has the name of one of {whose}; give it another"
            )
        if group not in groups:
            raise ConfigError(
                f"{named}: no such group {group!r}; "
                f"choices: {', '.join(groups)}{did_you_mean(group, list(groups))}"
            )
