"""Parts of one's own brought in."""

from pathlib import Path
from typing import Any

# Each of these loads what it needs when it is first asked for it.
from normlab import config, plugins


def load_plugin(plugin: str | Path) -> "plugins.Plugin":
    """Load norms, models, data sets, … of one's own: FILE.py, FOLDER with `__init__.py` or MODULE.

    A path has a slash or ends in .py. Installed plugins need no loading. Raises ConfigError where
    it cannot be loaded, has no parts, or a name of them is taken.
    """
    found = plugins.load(plugin)
    config.plugin_folders()  # raises where a YAML of it is none
    return found


def info_of_plugins() -> dict[str, dict[str, Any]]:
    """Of each plugin, installed or loaded, its version, place and parts; or why it is left out."""
    config.load_installed_plugins()
    found: dict[str, dict[str, Any]] = {
        plugin.name: {
            "version": plugin.version,
            "sha256": plugin.sha256,
            "place": str(plugin.place),
            "parts": [f"{kind}={name}" for kind, name in plugins.parts_of(plugin)],
        }
        for plugin in plugins.loaded()
    }
    return found | {name: {"error": reason} for name, reason in plugins.broken().items()}
