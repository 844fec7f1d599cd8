"""One run's folder: write it, read it, and tell whether it is finished.

`results/<experiment>/<run_id>/` holds config.yaml, environment.json, metrics.parquet,
layers.parquet and summary.json. Every file is written beside and renamed; summary.json comes last,
so a folder without one is an unfinished run.
"""

import contextlib
import functools
import importlib.metadata
import json
import math
import os
import platform
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normlab import __version__
from normlab.config import Config, from_yaml, run_id, to_yaml
from normlab.errors import BusyError, ConfigError, RecordError
from normlab.runs.locks import LOCK_FILE, RunLock
from normlab.runs.summary import SUMMARY_FILE, Summary, parse_summary, read_summary

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor
    from torch.nn import Module

FLUSH_SECONDS = 5.0
WEIGHTS_FILE = "weights.pt"
CHECKPOINT_FILE = "checkpoint.pt"
METRIC_COLUMNS = (
    "step",
    "epoch",
    "train_loss",
    "train_acc",
    "test_loss",
    "test_acc",
    "batch_loss",
    "lr",
    "seconds",
)
# What a reader of a summary may count on.
SUMMARY_KEYS = ("run_id", "name", "status", "verdict", "steps", "seconds", "parameters", "device")
LAYER_COLUMNS = ("step", "layer", "name", "kind")


@dataclass(frozen=True)
class Run:
    """A run's folder, read."""

    folder: Path
    config: Config
    environment: dict[str, Any]
    metrics: "DataFrame"
    layers: "DataFrame"
    summary: Summary


def run_folder(config: Config) -> Path:
    """Where a config's files go: results/<experiment>/<run_id>."""
    return Path(config.output.root) / config.output.experiment / run_id(config)


def is_final(folder: Path) -> bool:
    """Whether a folder holds a run that need not run again."""
    summary = read_summary(folder)
    return summary is not None and summary.final


def tidy(folder: Path) -> None:
    """Take away what a process left that was killed between a run's summary and its own end."""
    # A folder that cannot be read or written, or that another process is at, stays as it is.
    with contextlib.suppress(OSError, BusyError):
        left = any((folder / name).exists() for name in (LOCK_FILE, CHECKPOINT_FILE))
        if left and is_final(folder):
            lock = RunLock(folder)
            try:
                if is_final(folder):
                    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
            finally:
                lock.release()


class Recorder:
    """Collects one run's rows and writes them to its folder, every few seconds and at the end.

    Making one creates and locks the folder, takes an older summary away, and writes config.yaml and
    environment.json. Raises RecordError where the folder cannot be written, and BusyError where
    another process is making the same run, or has finished it and `force` is not set. The rows of
    a `checkpoint` are the first.
    """

    def __init__(
        self,
        config: Config,
        *,
        device: str,
        command: Sequence[str],
        force: bool = False,
        checkpoint: Mapping[str, Any] | None = None,
    ):
        self.folder = run_folder(config)
        self.config = config
        self.device = device
        self.metrics: list[dict[str, Any]] = list(checkpoint["metrics"]) if checkpoint else []
        self.layers: list[dict[str, Any]] = list(checkpoint["layers"]) if checkpoint else []
        self._flushed = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = RunLock(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            if is_final(self.folder) and not force:
                raise BusyError(f"{self.folder}: finished already; --force runs it again")
            (self.folder / "summary.json").unlink(missing_ok=True)
            (self.folder / WEIGHTS_FILE).unlink(missing_ok=True)
            if force:
                (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
            for left in self.folder.glob(".*.tmp"):  # of a process that was killed while it wrote
                if not left.name.startswith(f".{LOCK_FILE}"):  # others may be asking for the lock
                    left.unlink(missing_ok=True)
            write_whole(
                self.folder / "config.yaml", lambda path: _write_text(path, to_yaml(config))
            )
            _write_json(self.folder / "environment.json", environment(device, command))
        except BaseException:
            self.lock.release()
            raise

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """Keep a row of metrics.parquet."""
        self.metrics.append(dict(row))
        self._flush_when_due()

    def add_layers(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows of layers.parquet."""
        self.layers.extend(dict(row) for row in rows)
        self._flush_when_due()

    def frames(self) -> tuple["DataFrame", "DataFrame"]:
        """The metrics and layers kept so far, with every column that the files have."""
        from pandas import DataFrame

        layer_columns = [*LAYER_COLUMNS, *self.config.probes.measure]
        return (
            DataFrame(self.metrics, columns=list(METRIC_COLUMNS)),
            DataFrame(self.layers, columns=layer_columns),
        )

    def flush(self) -> None:
        """Write the tables as they stand; RecordError where another process took the run over."""
        self._check_lock()
        metrics, layers = self.frames()
        write_whole(
            self.folder / "metrics.parquet", lambda path: metrics.to_parquet(path, index=False)
        )
        write_whole(
            self.folder / "layers.parquet", lambda path: layers.to_parquet(path, index=False)
        )
        self._flushed = time.monotonic()

    def save_weights(self, model: "Module") -> None:
        """Write weights.pt: the state dict of the trained network, running statistics included."""
        state = {name: value.cpu() for name, value in model.state_dict().items()}
        self._check_lock()
        write_whole(self.folder / WEIGHTS_FILE, lambda path: _save(state, path))

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write checkpoint.pt: a training's state with the rows measured until then."""
        content = {
            "maker": _maker(self.config, self.device),
            "state": dict(state),
            "metrics": self.metrics,
            "layers": self.layers,
        }
        self._check_lock()
        write_whole(self.folder / CHECKPOINT_FILE, lambda path: _save(content, path))

    def finish(self, summary: Summary, *, keep_tables: bool = False) -> None:
        """Write the tables, then the summary, which makes the run whole; give the folder free.

        A run with a result keeps no checkpoint.

        With `keep_tables` those that the folder has already stay.
        """
        tables = ("metrics.parquet", "layers.parquet")
        try:
            if not (keep_tables and all((self.folder / name).exists() for name in tables)):
                self.flush()
            _write_json(self.folder / SUMMARY_FILE, summary.to_plain())
            if summary.final:
                (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        finally:
            self.lock.release()

    def _check_lock(self) -> None:
        if self.lock.lost:
            raise RecordError(f"{self.folder}: another process took this run over, or deleted it")

    def _flush_when_due(self) -> None:
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()


def read_checkpoint(config: Config, device: str) -> tuple[dict[str, Any] | None, str]:
    """A run's checkpoint, or None, and words about one that cannot be used on such a device."""
    import torch

    file = run_folder(config) / CHECKPOINT_FILE
    if not file.exists():
        return None, ""
    try:
        with zipfile.ZipFile(file) as archive:  # torch.load does not look at its checksums
            if broken := archive.testzip():
                raise ValueError(f"checksum of {broken}")
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load names no kinds of its own
        return None, f"{file}: damaged ({_first_line(error)[:80]}); the run starts over"
    if not isinstance(content, dict) or set(content) != {"maker", "state", "metrics", "layers"}:
        return None, f"{file}: not normlab's; the run starts over"
    here, maker = _maker(config, device), content["maker"]
    other = [key for key in here if not isinstance(maker, dict) or maker.get(key) != here[key]]
    if other:
        return None, f"{file}: made with another {', '.join(other)}; the run starts over"
    return content, ""


def _maker(config: Config, device: str) -> dict[str, Any]:
    """What has a part in a run's bits: half of one and half of another would be neither's run."""
    return {
        "run": run_id(config),
        "version": json.dumps(versions()),
        "commit": json.dumps(git_state()),
        "device": device.partition(":")[0],  # any of a machine's equal GPUs
        "threads": config.runtime.threads,
    }


def _save(content: Any, path: Path) -> None:
    import torch

    # Into Python's own file: torch's words about a full disk name neither file nor reason.
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def read_run(folder: Path) -> Run:
    """A run's files; raises RecordError where they are missing, damaged or unfinished."""
    from pandas import read_parquet
    from pyarrow import ArrowException

    if not folder.is_dir():
        raise RecordError(f"{folder}: no such run folder")
    file = folder / "config.yaml"
    try:
        config = from_yaml(file.read_text(encoding="utf-8"))
        file = folder / SUMMARY_FILE
        text = file.read_bytes()
        file = folder / "environment.json"
        versions = json.loads(file.read_text(encoding="utf-8"))
        file = folder / "metrics.parquet"
        metrics = read_parquet(file)
        file = folder / "layers.parquet"
        layers = read_parquet(file)
    except FileNotFoundError as error:
        if file.name == SUMMARY_FILE:
            raise RecordError(f"{folder}: unfinished, it has no summary.json yet") from error
        raise RecordError(f"{folder}: not a whole run, {file.name} is missing") from error
    except (OSError, ValueError, ConfigError, ArrowException) as error:
        raise RecordError(
            f"{file}: damaged ({_first_line(error)}); run it again with --force"
        ) from error
    try:
        summary = parse_summary(text)
    except ValueError as error:
        raise RecordError(f"{folder}: {error}; run it again with --force") from error
    lacking = not summary.model_fields_set.issuperset(SUMMARY_KEYS)
    if lacking or not isinstance(versions, dict) or "command" not in versions:
        raise RecordError(
            f"{folder}: its summary or environment is not normlab's; run it again with --force"
        )
    missing = [c for c in METRIC_COLUMNS if c not in metrics] + [
        c for c in LAYER_COLUMNS if c not in layers
    ]
    if missing:
        raise RecordError(f"{folder}: its tables lack {', '.join(missing)}; not normlab's")
    return Run(folder, config, versions, metrics, layers, summary)


def read_table(folder: Path, name: Literal["metrics", "layers"]) -> "DataFrame":
    """One of a run's tables; raises RecordError where it is missing or damaged."""
    from pandas import read_parquet
    from pyarrow import ArrowException

    file = folder / f"{name}.parquet"
    try:
        return read_parquet(file)
    except (OSError, ValueError, ArrowException) as error:
        raise RecordError(
            f"{file}: cannot be read ({_first_line(error)}); run it again with --force"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def read_weights(folder: Path) -> "dict[str, Tensor]":
    """The state dict that a run with `output.weights` kept; RecordError where there is none."""
    import torch

    file = folder / WEIGHTS_FILE
    try:
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RecordError(
            f"{folder}: {WEIGHTS_FILE} is missing; run it again with output.weights=true --force"
        ) from error
    except Exception as error:  # torch.load names no kinds of its own
        raise RecordError(
            f"{file}: damaged ({_first_line(error)}); run it again with --force"
        ) from error
    return state


def find_run(name: str | None, root: Path) -> Path:
    """The folder that a person means by a path or the start of a run id; the latest for None.

    Raises RecordError where there is none or more than one.
    """
    if name is None:
        ended = list(root.glob("*/*/summary.json"))
        if not ended:
            raise RecordError(f"{root.resolve()}: no run is here yet; normlab run makes one")
        return max(ended, key=lambda file: file.stat().st_mtime_ns).parent
    with contextlib.suppress(OSError):  # a name too long for a path is none
        if (Path(name) / "config.yaml").is_file():
            return Path(name)
    found = sorted(
        file.parent
        for file in root.glob("*/*/config.yaml")
        if file.parent.name.startswith(name) and name
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise RecordError(
            f"{name}: no such run; give a run's folder or the start of its id in {root.resolve()}"
        )
    raise RecordError(f"{name}: {len(found)} runs begin so: {', '.join(map(str, found[:4]))}")


# -------------------------------------------------------------------------- environment


def environment(device: str, command: Sequence[str]) -> dict[str, Any]:
    """What a run was made with: versions, git commit, device, host, command line, start time."""
    return {
        **versions(),
        **git_state(),
        "device": device,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def versions() -> dict[str, str]:
    """The versions of normlab, Python and the packages that decide a run's numbers."""
    packages = ("torch", "numpy", "pandas", "hydra-core", "pydantic", "scikit-learn")
    return {
        "normlab": __version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


@functools.cache  # a worker asks it for every run
def git_state() -> dict[str, Any]:
    """The commit of normlab's own checkout and whether it has changes; None outside of one."""
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
            for args in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": None, "git_dirty": None}
    return {"git_commit": commit.stdout.strip(), "git_dirty": bool(status.stdout.strip())}


# ------------------------------------------------------------------------ atomic writes


def to_json(values: Mapping[str, Any]) -> str:
    """Strict JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(values), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    write_whole(path, lambda beside: _write_text(beside, to_json(values) + "\n"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, push it to the disk, and rename it: whole or not there.

    Raises RecordError where it cannot be written.
    """
    # Process numbers are not enough: several machines may write into one folder.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write(beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: OSError) -> RecordError:
    """The one line for a file or folder that the system refuses to write."""
    # Arrow's own words are about itself.
    reason = os.strerror(error.errno) if error.errno else _first_line(error)
    return RecordError(
        f"{path}: cannot be written ({reason}); choose another folder, for runs with output.root=…"
    )


def command_line() -> list[str]:
    """The command that started this process, its program by name alone."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
