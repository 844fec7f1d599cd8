"""Which parts from outside have been entered, and by the code of which plugin."""

import inspect
from typing import Protocol

from normlab.plugins.sources import Plugin


class Parts(Protocol):
    """A registry, which is defined above this package."""

    kind: str

    def remove(self, name: str) -> None:
        """Take a part out."""


# Plugins by the name of their module: those loaded, those being loaded, and those installed.
known: dict[str, Plugin] = {}
# The module of the plugin that a part is of, by its registry and name.
_entered: dict[tuple[int, str], tuple[Parts, str]] = {}


def note(registry: Parts, name: str) -> None:
    """Remember the plugin whose code is entering a part, now or at a later call of it."""
    plugin = _calling() if known else None
    if plugin is not None:
        _entered[id(registry), name] = registry, plugin.module


def forget(registry: Parts, name: str) -> None:
    """Forget a part that was taken out."""
    _entered.pop((id(registry), name), None)


def plugin_of(registry: Parts, name: str) -> Plugin | None:
    """The plugin that a part is of; None for normlab's own, and for those that a program adds."""
    _, module = _entered.get((id(registry), name), (None, ""))
    return known.get(module)


def parts_of(plugin: Plugin) -> list[tuple[str, str]]:
    """The kinds and names of a plugin's parts, in the order in which they were entered."""
    return [
        (registry.kind, name)
        for (_, name), (registry, module) in _entered.items()
        if module == plugin.module
    ]


def remove_parts_of(plugin: Plugin) -> None:
    """Take a plugin's parts out of their registries."""
    for (_, name), (registry, module) in list(_entered.items()):
        if module == plugin.module:
            registry.remove(name)


def _calling() -> Plugin | None:
    """The plugin whose code is nearest among those that are being run.

    By the code, not by what is being loaded: a plugin may import another, or add a part later.
    """
    frame = inspect.currentframe()
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        while module:
            if module in known:
                return known[module]
            module = module.rpartition(".")[0]
        frame = frame.f_back
    return None
