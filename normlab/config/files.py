"""Where configs lie: the folder of the YAML groups, and their choices."""

from pathlib import Path

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


def group_choices(config_dir: Path | None = None) -> dict[str, list[str]]:
    """The config groups and their choices, read from the folders alone."""
    choices: dict[str, set[str]] = {}
    for folder in filter(None, (config_folder(), config_dir)):
        for file in yaml_files(folder):
            if file.parent.name in _NO_GROUPS:
                continue
            choices.setdefault(file.parent.name, set()).add(file.stem)
    return {group: sorted(choices[group]) for group in sorted(choices)}


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files in the folders of a folder."""
    return sorted(file for suffix in SUFFIXES for file in folder.glob(f"*/*{suffix}"))


def check_config_dir(config_dir: Path | None) -> None:
    if config_dir is None:
        return
    if not config_dir.is_dir():
        raise ConfigError(f"--config-dir={config_dir}: no such folder")
    groups = group_choices()
    for file in yaml_files(config_dir):
        if file.stem in groups.get(file.parent.name, ()):
            raise ConfigError(
                f"--config-dir={config_dir}: {file.parent.name}/{file.name} has the name of one of "
                "normlab's own; give it another"
            )
    for folder in sorted({file.parent for file in yaml_files(config_dir)}):
        if folder.name not in groups:
            raise ConfigError(
                f"--config-dir={config_dir}: no such group {folder.name!r}; "
                f"choices: {', '.join(groups)}{did_you_mean(folder.name, list(groups))}"
            )
