"""Hydra's compose over normlab's YAML and a person's own.

Hydra and OmegaConf are imported where they are needed alone: `--help` and shell completion stay
fast.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.config.files import config_folder, own_choices, own_values, plugin_folders
from normlab.config.schema import GROUPS
from normlab.config.yaml_text import check_interpolations
from normlab.errors import ConfigError
from normlab.text import first_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

Load = Callable[[Sequence[str]], "DictConfig"]


@contextmanager
def hydra_in(config_dir: Path | None) -> Iterator[Load]:
    """A function that composes overrides, with quiet, local state; it raises ConfigError."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError, YAMLError  # of OmegaConf's own parser

    paths = _search_paths(config_dir)
    extra = [f"hydra.searchpath=[{','.join(map(_quoted, paths))}]"] if paths else []

    def load(overrides: Sequence[str]) -> "DictConfig":
        try:
            return hydra_compose("config", overrides=[*overrides, *extra])
        except ConfigError:
            raise
        except MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{mark.name}, line {mark.line + 1}: " if mark else ""
            raise ConfigError(f"{where}not valid YAML ({error.problem})") from error
        except (UnicodeDecodeError, RecursionError) as error:
            where = f"--config-dir={config_dir}: " if config_dir else ""
            raise ConfigError(f"{where}a YAML cannot be read ({first_line(error)})") from error
        except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError) as error:
            raise ConfigError(first_line(error)) from error
        except Exception as error:  # Hydra meets odd input with errors of any kind
            raise ConfigError(
                f"{' '.join(overrides)}: not understood ({first_line(error)})"
            ) from error

    with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        yield load


def has_others(config_dir: Path | None) -> bool:
    """Whether there is YAML beside normlab's own: plugins', a person's, or of parts without any."""
    return bool(_search_paths(config_dir))


def _search_paths(config_dir: Path | None) -> list[str]:
    """What is searched behind normlab's own YAML: plugins', a person's, and parts without any."""
    folders = [*plugin_folders(), *([config_dir] if config_dir else [])]
    paths = []
    if folders:
        from normlab.config import own_files

        paths = [own_files.search_path(folder) for folder in folders]
    if any(registry.outside for registry in GROUPS.values()):
        from normlab.config import part_defaults

        paths.append(part_defaults.search_path())
    return paths


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"


def plain(composed: "DictConfig") -> Any:
    """What Hydra composed as plain dicts and values, interpolations of other keys resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    # Only other keys: what would read its surroundings is refused where it is loaded.
    check_interpolations(OmegaConf.to_container(composed, resolve=False), "the config")
    try:
        return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(f"{key}{first_line(error)}") from error


def settings_in(composed: "DictConfig") -> Any:
    """What was composed without an experiment's `sweep:`, which says which runs to make and is part
    of none, and without what parts from outside have from normlab's own YAML and have no use for.

    Raises ConfigError for `plugins`, which what is loaded says.
    """
    found = plain(composed)
    if "plugins" in found:
        raise ConfigError("plugins: no such key; normlab --plugin FILE_OR_MODULE … loads one")
    values = {key: value for key, value in found.items() if key != "sweep"}
    for group, registry in GROUPS.items():
        part = values.get(group)
        if isinstance(part, dict) and part.get("name") in registry.outside:
            values[group] = _without_unused(group, part)
    return values


def _without_unused(group: str, values: dict[str, Any]) -> dict[str, Any]:
    """A part's values without keys that it has not where one of normlab's own choices has the same,
    as of `defaults: [mlp, _self_]`: such a choice may get keys with every version."""
    fields = GROUPS[group][str(values["name"])].model_fields
    own = [own_values(group, name) for name in own_choices()[group]]

    def is_inherited(key: str) -> bool:
        return any(key in choice and choice[key] == values[key] for choice in own)

    return {key: v for key, v in values.items() if key in fields or not is_inherited(key)}
