"""Parts of one's own brought in."""

from pathlib import Path

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
