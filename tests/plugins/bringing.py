"""Plugins written for a test, and taken out behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from normlab.plugins import loading
from normlab.plugins.entered import known

NORM = """
from torch import nn

from normlab.parts import NORMS, Norm


@NORMS.register("{name}")
class Mine(Norm):
    label = "{name} of mine"
    colour = "#135724"
    share: float = 0.5

    def build(self, channels, *, spatial):
        return nn.Identity()
"""


def write_plugin(file: Path, name: str = "centre", *more: str) -> Path:
    """A file that brings a norm."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([NORM.format(name=name), *more]), encoding="utf-8")
    return file


def install(site: Path, package: str, text: str, entry: str = "", version: str = "1.2") -> Path:
    """A package with an entry point as pip leaves it in a folder of site-packages."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").write_text(text, encoding="utf-8")
    info = site / f"{package}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[normlab.plugins]\n{package} = {entry or package}\n")
    return site / package


def install_norm(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package, minepkg, that brings the norm `theirs` and is found from now on."""
    install(site, "minepkg", NORM.format(name="theirs"))
    monkeypatch.syspath_prepend(site)
    forget_installed()


def forget_installed() -> None:
    """Look for installed plugins anew."""
    loading._installed.cache_clear()
    loading._installed_are_loaded = False
    loading._broken.clear()


def unload_all() -> None:
    """No plugin is loaded any longer, and none of their modules is imported."""
    for plugin in list(known.values()):
        loading._unload(plugin)
        loading._forget_modules(plugin)
    forget_installed()


@pytest.fixture
def _without_plugins() -> Iterator[None]:
    """Before a test and behind it no plugin is loaded."""
    unload_all()
    yield
    unload_all()
