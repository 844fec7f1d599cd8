"""Parts by name: norms, data sets, probes, pictures, …, those of normlab and those from outside.

A part is a class, function or object that holds all facts of one thing. It enters its registry
where it is defined; everybody else asks the registry, and nobody matches on a part's name.
"""

import importlib
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from typing import Any, Generic, TypeVar

from normlab import plugins
from normlab.errors import ConfigError
from normlab.text import did_you_mean

T = TypeVar("T")
Registered = TypeVar("Registered")

_REGISTRIES: "weakref.WeakSet[Registry[Any]]" = weakref.WeakSet()


class Registry(Generic[T]):
    """The parts of one kind, in the order in which they were registered.

    `modules` define normlab's own parts; they are imported at the first question, so that making a
    registry costs nothing. Before a name counts as unknown, installed plugins are loaded.
    """

    def __init__(self, kind: str, *modules: str):
        self.kind = kind
        self._modules = list(modules)
        self._parts: dict[str, T] = {}
        self._outside: dict[str, None] = {}  # the names of parts that are not normlab's own
        self._loading = False
        self._lock = threading.RLock()  # a thread that asks while another loads waits for it
        _REGISTRIES.add(self)

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Decorate a class or function to enter it under a name; ConfigError for a second one."""

        def enter(part: Registered) -> Registered:
            self._enter(name, part, _caller())  # type: ignore[arg-type]  # keeps the exact type
            return part

        return enter

    def add(self, name: str, part: T) -> None:
        """Enter a part; ConfigError where the name is taken."""
        self._enter(name, part, _caller())

    def remove(self, name: str) -> None:
        """Take a part out, as a test does with its own."""
        del self._parts[name]
        self._outside.pop(name, None)
        plugins.forget(self, name)

    @property
    def outside(self) -> tuple[str, ...]:
        """The names of the parts that are not normlab's own, in the order of entering."""
        return tuple(self._outside)

    @property
    def has_outside_parts(self) -> bool:
        """Whether any part was entered by a module that is neither normlab's nor a plugin's."""
        return any(self.plugin_of(name) is None for name in self._outside)

    def in_order(self, names: Collection[str]) -> tuple[str, ...]:
        """Those names, each once: normlab's own in their order, then others by the alphabet."""
        self._load()
        own = [name for name in self._parts if name in names and name not in self._outside]
        return (*own, *sorted(set(names).difference(own)))

    def plugin_of(self, name: str) -> plugins.Plugin | None:
        """The plugin that a part is of, None for normlab's own and for those a program adds."""
        return plugins.plugin_of(self, name) if name in self._outside else None

    def _enter(self, name: str, part: T, module: str) -> None:
        self._load()
        if name in self._parts:
            raise ConfigError(
                f"{self.kind}={name}: there is one already{self._whose(name)}; give it another name"
            )
        self._parts[name] = part
        if not is_own(module):
            self._outside[name] = None
            plugins.note(self, name)

    def _whose(self, name: str) -> str:
        if name not in self._outside:
            return ", one of normlab's own"
        plugin = self.plugin_of(name)
        return f", of the plugin {plugin.name} ({plugin.place})" if plugin else ""

    def __getitem__(self, name: str) -> T:
        """The part of a name; raises ConfigError with the choices."""
        if name not in self:
            raise ConfigError(
                f"{self.kind}={name}: no such choice; choices: {', '.join(self._parts)}"
                f"{did_you_mean(name, list(self._parts))}"
            )
        return self._parts[name]

    def get(self, name: str) -> T | None:
        """The part of a name, or None: what is asked of it is then not known."""
        return self._parts[name] if name in self else None

    def __contains__(self, name: object) -> bool:
        self._load()
        if name not in self._parts:
            plugins.load_installed()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(tuple(self._parts))

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and parts."""
        self._load()
        return iter(tuple(self._parts.items()))

    def _load(self) -> None:
        """Import normlab's own parts, in the order of their modules.

        Where one of the modules was imported by somebody else and is about to add its parts, those
        before it are, so that the order is always the same; the others follow at a later question.
        """
        if not self._modules:
            return
        with self._lock:
            if self._loading:  # by this thread, whose import asks
                return
            self._loading = True
            try:
                while self._modules and not _is_being_imported(self._modules[0]):
                    importlib.import_module(self._modules[0])
                    del self._modules[0]
            finally:
                self._loading = False


def has_outside_parts() -> bool:
    """Whether any registry has a part that neither normlab nor a plugin has entered."""
    return any(registry.has_outside_parts for registry in _REGISTRIES)


def is_own(module: str) -> bool:
    """Whether a module of this name is one of normlab's."""
    return module.split(".")[0] == __package__


def _caller() -> str:
    """The name of the module that calls the function which asks."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame and frame.f_back
    return str(frame.f_globals.get("__name__", "")) if frame else ""


def _is_being_imported(module: str) -> bool:
    # What importlib itself asks; without it only the order of choices would differ.
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))
