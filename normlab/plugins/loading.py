"""Plugins loaded: by hand, as installed packages, and in the processes that make runs.

Loading runs a plugin's code. Only a person's word does that, or an installed package: never a file
that lies somewhere, nor what a results folder names.
"""

import contextlib
import functools
import importlib
import importlib.util
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from normlab.errors import ConfigError, MissingPluginError
from normlab.plugins.entered import known, parts_of, remove_parts_of
from normlab.plugins.sources import Plugin, find, in_packages, is_path, of_text
from normlab.text import error_line

GROUP = "normlab.plugins"

_loaded: dict[str, Plugin] = {}  # by name
_broken: dict[str, str] = {}  # installed ones: what is wrong, by the name of their entry point
_lock = threading.RLock()  # a thread that asks while another loads waits for it
_installed_are_loaded = False


def load(given: str | Path) -> Plugin:
    """Load a plugin, FILE.py, a FOLDER with `__init__.py` or MODULE, and enter its parts.

    What is loaded already is not loaded again; a file that has changed since replaces what it was.
    Raises ConfigError where it cannot be loaded, has no parts, or a name of them is taken.
    """
    with _lock:
        _installed()  # whose parts are theirs, whoever imports them
        return _load(find(os.fspath(given)))


def loaded() -> list[Plugin]:
    """The plugins that are loaded, in the order in which they were."""
    others = [p for p in known.values() if p.name not in _loaded and parts_of(p)]
    return [*_loaded.values(), *others]


def broken() -> Mapping[str, str]:
    """What is wrong with installed plugins that could not be loaded, by name."""
    return _broken


def load_installed() -> None:
    """Load the plugins of installed packages, once; one that cannot be is told and left out."""
    global _installed_are_loaded
    with _lock:
        if _installed_are_loaded:  # or one of them asks while it is loaded
            return
        _installed_are_loaded = True
        for name, plugin in _installed().items():
            try:
                _load(plugin)
            except ConfigError as error:
                _tell_broken(name, error)


def reject(plugin: Plugin, error: ConfigError) -> None:
    """Take a loaded plugin out whose YAML cannot be, told as one that cannot be loaded.

    Raises the error where the plugin was given by hand.
    """
    _unload(plugin)
    if _is_by_hand(plugin):
        raise error
    _tell_broken(plugin.name, error)


def _tell_broken(name: str, error: ConfigError) -> None:
    _broken[name] = str(error)
    logging.getLogger("normlab").warning("normlab: %s; it is left out", error)


@functools.cache
def _installed() -> dict[str, Plugin]:
    """The plugins that installed packages announce, by the name of their entry point."""
    from importlib.metadata import entry_points  # a tenth of the command line's start

    found: dict[str, Plugin] = {}
    for entry in entry_points(group=GROUP):
        try:
            version = entry.dist.version if entry.dist else None
            found[entry.name] = plugin = in_packages(entry.value.replace(" ", ""), version)
        except (ConfigError, OSError) as error:
            _tell_broken(entry.name, ConfigError(f"plugin {entry.name}: {error}"))
        else:
            known.setdefault(plugin.module, plugin)
    return found


def _is_by_hand(plugin: Plugin) -> bool:
    """Whether a plugin is here because a person gave it, and not as an installed one."""
    return all(plugin.given != other.given for other in _installed().values())


def _load(plugin: Plugin) -> Plugin:
    for same in _loaded.values():
        if same.sha256 == plugin.sha256:  # by whatever name and way
            return same
    other = _loaded.get(plugin.name)
    if other is not None:
        if other.place != plugin.place or not is_path(plugin.given):
            raise ConfigError(
                f"plugin {plugin.name}: {plugin.place} is called as {other.place}, which is "
                "another; give one of them another name"
            )
        _unload(other)
    imported = plugin.module in sys.modules
    known[plugin.module] = plugin
    try:
        with contextlib.redirect_stdout(sys.stderr):  # answers alone go to stdout
            _import(plugin)
        if not parts_of(plugin) and plugin.configs is None:
            why = (
                "was imported before it was loaded as a plugin, so that its parts are nobody's; "
                "load it first"
                if imported
                else "enters no part, as @NORMS.register('NAME') of normlab.parts does"
            )
            raise ConfigError(f"plugin {plugin.name}: {plugin.place} {why}")
    except (Exception, SystemExit) as error:
        _unload(plugin)
        raise ConfigError(_fault(plugin, error)) from error
    except BaseException:
        _unload(plugin)
        raise
    _loaded[plugin.name] = plugin
    return plugin


def _fault(plugin: Plugin, error: BaseException) -> str:
    """What is wrong with a plugin, and in which line of it."""
    if isinstance(error, ConfigError) and str(error).startswith("plugin "):
        return str(error)
    lines = [
        f"{frame.filename}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(plugin.place)
    ]
    return f"plugin {plugin.name} ({lines[-1] if lines else plugin.place}): {error_line(error)}"


def _import(plugin: Plugin) -> None:
    """Run a plugin's code."""
    if plugin.source is not None:
        # What was hashed is what is run: neither read again nor taken from a cache of bytecode.
        module = ModuleType(plugin.module)
        module.__file__ = str(plugin.place)
        sys.modules[plugin.module] = module
        exec(compile(plugin.source, str(plugin.place), "exec"), module.__dict__)
    elif is_path(plugin.given):
        start = plugin.place / "__init__.py"
        spec = importlib.util.spec_from_file_location(
            plugin.module, start, submodule_search_locations=[str(plugin.place)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[plugin.module] = module
        spec.loader.exec_module(module)
    else:
        name, _, function = plugin.given.partition(":")
        module = importlib.import_module(name)
        if function:
            getattr(module, function)()


def _unload(plugin: Plugin) -> None:
    """Take a plugin out, as far as it was loaded."""
    remove_parts_of(plugin)
    known.pop(plugin.module, None)
    if _loaded.get(plugin.name) == plugin:
        del _loaded[plugin.name]
    if is_path(plugin.given):  # Python keeps installed modules, which others may have imported
        _forget_modules(plugin)


def _forget_modules(plugin: Plugin) -> None:
    for name in list(sys.modules):
        if name == plugin.module or name.startswith(f"{plugin.module}."):
            del sys.modules[name]


def command() -> list[str]:
    """The words that a command of normlab begins with here: plugins given by hand are given again,
    a path as it is from the current folder."""
    words = ["normlab"]
    for plugin in _loaded.values():
        if _is_by_hand(plugin):
            words += ["--plugin", _from_here(plugin.given)]
    return words


def _from_here(given: str) -> str:
    if not is_path(given):
        return given
    here = os.path.relpath(given)
    return given if here.startswith("..") else here if is_path(here) else f"./{here}"


# ------------------------------------------------------------------------- runs made elsewhere


class Parcel(NamedTuple):
    """A plugin on its way to another process, which loads it before it reads a config."""

    given: str
    name: str
    sha256: str
    source: bytes | None  # of a file, which need not be there, and may have changed


def parcels() -> tuple[Parcel, ...]:
    """The plugins that are loaded here, for `load_parcels` elsewhere."""
    return tuple(Parcel(p.given, p.name, p.sha256, p.source) for p in loaded())


def load_parcels(parcels: Iterable[Parcel]) -> None:
    """Load the plugins of another process; raises ConfigError where one is not the same here."""
    with _lock:
        for parcel in parcels:
            _load_parcel(parcel)


def _load_parcel(parcel: Parcel) -> None:
    if parcel.source is not None:
        _load(of_text(Path(parcel.given), parcel.source))
        return
    plugin = find(parcel.given)
    if plugin.sha256 != parcel.sha256:
        raise ConfigError(
            f"plugin {parcel.name}: {plugin.place} is not what the runs were planned with, source "
            f"{plugin.sha256} in place of {parcel.sha256}"
        )
    _load(plugin)


def are_loaded(needed: Mapping[str, str]) -> bool:
    """Whether a run's plugins, each with the hash of its source, are loaded here."""
    return not needed or needed.items() <= _hashes(needed).items()


def check(needed: Mapping[str, str]) -> None:
    """Raise ConfigError where a run's plugins, each with its hash, are not those loaded here."""
    here = _hashes(needed)
    for name, sha256 in needed.items():
        if name not in here:
            raise MissingPluginError(
                f"this run needs the plugin {name} (source {sha256}), which is not loaded; give it "
                "before the command, as in normlab --plugin FILE_OR_MODULE"
            )
        if here[name] != sha256:
            raise ConfigError(
                f"this run was made with the plugin {name} of source {sha256}, and {here[name]} is "
                "loaded, another version of it; give that one, or make a new run by its settings"
            )


def _hashes(needed: Mapping[str, str]) -> dict[str, str]:
    """The hashes of the plugins that are loaded, with installed ones where those lack one."""
    here = {plugin.name: plugin.sha256 for plugin in loaded()}
    if needed.keys() <= here.keys():
        return here
    load_installed()
    return {plugin.name: plugin.sha256 for plugin in loaded()}
