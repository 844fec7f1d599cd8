"""Where a plugin's source lies, and its hash: a file, a folder, or the package of a module."""

import contextlib
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path

from normlab.bounded_files import read_bounded
from normlab.errors import ConfigError
from normlab.text import error_line, first_line

# Of one file.
SOURCE_BYTES = 1 << 24
# What a package's hash is of.
_HASHED = (".py", ".yaml", ".yml")
# Of the hash that names a source: enough that no two are alike by chance.
_DIGITS = 16


@dataclass(frozen=True)
class Plugin:
    """A plugin as it was found, whether it is loaded or not."""

    name: str  # of its file, folder or package
    module: str  # its name among Python's modules; of an installed one, its package's
    given: str  # what loads it: an absolute path, or MODULE or MODULE:FUNCTION
    place: Path  # the file or the folder of its source
    sha256: str  # of all its source, 16 digits
    configs: Path | None = None  # its folder of YAML groups
    version: str | None = None  # of an installed distribution
    source: bytes | None = field(default=None, repr=False)  # of a file given by its path


def find(given: str) -> Plugin:
    """The plugin of a FILE.py, a FOLDER with `__init__.py` or a MODULE; nothing of it is run.

    A path has a slash or ends in .py; all else is a module, which Python finds as any other. Raises
    ConfigError.
    """
    return in_files(given) if is_path(given) else in_packages(given)


def is_path(given: str) -> bool:
    """Whether what names a plugin is a path, not a module."""
    return "/" in given or os.sep in given or given.endswith(".py")


def in_files(given: str) -> Plugin:
    """The plugin of a path; raises ConfigError where it is none."""
    file = Path(given)
    with contextlib.suppress(RuntimeError):  # no such user: a folder that is called so
        file = file.expanduser()
    place = Path(os.path.abspath(file))  # noqa: PTH100  # .. taken out, links kept
    if place.is_dir():
        return _in_folder(place, given)
    if place.suffix != ".py":
        raise ConfigError(f"plugin {given}: neither FILE.py nor a folder with __init__.py")
    try:
        return of_text(place, read_bounded(place, SOURCE_BYTES))
    except FileNotFoundError as error:
        raise ConfigError(f"plugin {given}: no such file") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"plugin {given}: cannot be read ({first_line(error)})") from error


def of_text(place: Path, source: bytes) -> Plugin:
    """The plugin of a file's text."""
    sha256 = hashlib.sha256(source).hexdigest()[:_DIGITS]
    return Plugin(
        _key(place.stem), f"normlab_plugin_{sha256}", str(place), place, sha256, source=source
    )


def _in_folder(place: Path, given: str) -> Plugin:
    if not (place / "__init__.py").is_file():
        raise ConfigError(f"plugin {given}: a folder without __init__.py, which is no package")
    sha256 = _hash_of_tree(place)
    configs = _folder_or_none(place / "configs")
    return Plugin(
        _key(place.name), f"normlab_plugin_{sha256}", str(place), place, sha256, configs=configs
    )


def in_packages(given: str, version: str | None = None) -> Plugin:
    """The plugin of a MODULE or MODULE:FUNCTION; its source is the whole of the package.

    Raises ConfigError where there is no such module, or none with source files.
    """
    names = given.partition(":")[0].split(".")
    if not all(name.isidentifier() for name in names):
        raise ConfigError(f"plugin {given}: no module's name; a file is written ./NAME.py")
    package, spec = _first_with_source(names, given)
    place, configs = Path(spec.origin or ""), None
    if not place.is_file():  # built into Python
        raise ConfigError(f"plugin {given}: has no source file")
    if spec.submodule_search_locations is not None:
        place = place.parent
        below = place.joinpath(*names[package.count(".") + 1 :])
        configs = _folder_or_none((below if below.is_dir() else below.parent) / "configs")
    sha256 = _hash_of_tree(place) if place.is_dir() else _hash_of_file(place)
    if version is None:
        from importlib import metadata  # a tenth of the command line's start

        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(package)
    return Plugin(_key(package), package, given, place, sha256, configs, version)


def _first_with_source(names: Sequence[str], given: str) -> tuple[str, ModuleSpec]:
    """The outermost package of a module that is no mere holder of several distributions'."""
    for depth in range(1, len(names) + 1):
        package = ".".join(names[:depth])
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"plugin {given}: {error_line(error)}") from error
        if spec is None:
            hint = f"; a file is written ./{package}.py" if Path(f"{package}.py").exists() else ""
            raise ConfigError(f"plugin {given}: no module {package} is installed{hint}")
        if spec.origin is not None:
            return package, spec
    raise ConfigError(f"plugin {given}: has no source file")


def _key(name: str) -> str:
    """A name that can be a key of a config."""
    return re.sub(r"\W", "_", name)


def _folder_or_none(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _hash_of_file(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]


def _hash_of_tree(folder: Path) -> str:
    """Of each file's path and content, in the order of paths."""
    found = hashlib.sha256()
    for name, file in sorted(_files_below(folder)):
        content = file.read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:_DIGITS]


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place) / name
            if file.suffix in _HASHED and file.is_file():
                yield file.relative_to(folder).as_posix(), file
