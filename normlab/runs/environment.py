"""What a run is made with: versions, git commit, machine and command line."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normlab import __version__, plugins
from normlab.config import Config


def environment(config: Config, device: str, command: Sequence[str]) -> dict[str, Any]:
    """What a run is made with: versions, git commit, device, host, command line, start time."""
    return {
        **versions(),
        **git_state(),
        "device": device,
        "processor": processor(device),
        **gpu_versions(device),
        **({} if device == "cpu" else _on_gpu(config)),
        "threads": config.runtime.threads,
        "channels_last": config.in_channels_last,
        "data_sha256": config.data.content(),
        **_plugins_of(config),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "command": list(command),
        # So exact that the runs of a sweep differ: the latest one is found by it.
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _plugins_of(config: Config) -> dict[str, Any]:
    """Of each plugin that a config uses its version and its place, which no id depends on."""
    used = [plugin for plugin in plugins.loaded() if plugin.name in config.plugins]
    told = {p.name: {"version": p.version, "place": str(p.place)} for p in used}
    return {"plugins": told} if told else {}


@functools.cache
def versions() -> dict[str, str]:
    """The versions of normlab, Python and the packages that decide a run's numbers."""
    packages = ["torch", "numpy", "pandas", "hydra-core", "pydantic", "scikit-learn"]
    if importlib.util.find_spec("PIL") is not None:  # which decodes images of people's own
        packages.append("pillow")
    return {
        "normlab": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


@functools.cache  # a worker asks it for every run
def git_state() -> dict[str, Any]:
    """The commit of normlab's own checkout and whether its files have changed; None outside of one.

    A file of no commit, such as notes or results, is no change.
    """
    here = Path(__file__).parent
    git = ("git", "-C", str(here))
    try:
        tracked = subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=5
        )
        if tracked.returncode:  # installed somewhere inside another project's repository
            return {"git_commit": None, "git_dirty": None}
        commit, status = (
            subprocess.run([*git, *args], capture_output=True, text=True, timeout=5, check=True)
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": commit.stdout.strip(), "git_dirty": bool(status.stdout.strip())}


@functools.cache
def processor(device: str) -> str | None:
    """The model of a device's GPU or of the CPU, on which the last bits of sums depend; None where
    it is not known."""
    if device != "cpu":
        torch = sys.modules.get("torch")  # where it is not loaded nothing was computed
        on_gpu = device.startswith("cuda") and torch is not None and torch.cuda.is_available()
        return str(torch.cuda.get_device_name(device)) if torch and on_gpu else None
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or None


def _on_gpu(config: Config) -> dict[str, Any]:
    """How steps are made on a GPU, on which last bits depend."""
    return {"deterministic": config.runtime.deterministic, "graph": config.runtime.graph}


@functools.cache
def gpu_versions(device: str) -> dict[str, str | None]:
    """The versions of an NVIDIA GPU's driver, CUDA and cuDNN; empty of another device."""
    torch = sys.modules.get("torch")
    if torch is None or not device.startswith("cuda"):
        return {}
    driver = None
    with contextlib.suppress(OSError):
        told = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
        driver = next(iter(re.findall(r"\b\d{3,}\.[\d.]+\b", told)), None)
    return {
        "driver": driver,
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()),
    }


def command_line() -> list[str]:
    """The command that started this process, its program by name alone."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
