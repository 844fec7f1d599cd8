import ctypes
import sys
from importlib import metadata

import pytest

from normlab.runs.launchers.gpus import gpu_count


@pytest.mark.parametrize(
    ("version", "platform", "driver", "asks"),
    [
        ("2.13.0+cpu", "linux", True, False),
        ("2.13.0+cpu", "win32", True, False),
        ("2.13.0", "linux", False, False),
        ("2.13.0+cu130", "linux", False, False),
        ("2.13.0+cu130", "linux", True, True),
        ("2.13.0", "win32", False, True),
        ("2.13.0", "darwin", False, True),
        ("2.13.0+rocm7.1", "linux", False, True),
        (None, "linux", False, True),
    ],
)
def test_pytorch_is_asked_for_gpus_only_where_there_may_be_any(
    monkeypatch: pytest.MonkeyPatch, version: str | None, platform: str, driver: bool, asks: bool
) -> None:
    def installed(_: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError
        return version

    def load(_: str) -> None:
        if not driver:
            raise OSError

    monkeypatch.setattr(metadata, "version", installed)
    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    if asks:
        with pytest.raises(ImportError):
            gpu_count()
    else:
        assert gpu_count() == 0
