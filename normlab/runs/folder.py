"""A run's folder: its name, whether it is finished, and what its files say.

`results/<experiment>/<run_id>/` holds config.yaml, environment.json, metrics.parquet,
layers.parquet and summary.json. Every file is written beside and renamed; summary.json comes last,
so a folder without one is an unfinished run.
"""

import contextlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from normlab.config import Config, from_yaml, run_id
from normlab.errors import BusyError, ConfigError, RecordError
from normlab.runs.locks import LOCK_FILE, RunLock
from normlab.runs.provenance import ENVIRONMENT_FILE, with_origin
from normlab.runs.summary import (
    SUMMARY_FILE,
    LaterVersionError,
    Summary,
    parse_summary,
    read_summary,
)
from normlab.text import first_line
from normlab.training import LAYER_COLUMNS, METRIC_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.parquet"
LAYERS_FILE = "layers.parquet"
WEIGHTS_FILE = "weights.pt"
CHECKPOINT_FILE = "checkpoint.pt"
# What every summary that normlab wrote has said.
SUMMARY_KEYS = ("run_id", "name", "status", "verdict", "steps", "seconds", "parameters", "device")


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


def lacks_weights(config: Config) -> bool:
    """Whether a config's run is finished but kept no weights, which the config asks for."""
    folder = run_folder(config)
    wanted = config.output.weights and not (folder / WEIGHTS_FILE).is_file()
    return wanted and is_final(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the lock and the checkpoint of a finished run whose process was killed just then."""
    # A folder that cannot be read or written, or that another process is at, stays as it is.
    with contextlib.suppress(OSError, BusyError):
        left = any((folder / name).exists() for name in (LOCK_FILE, CHECKPOINT_FILE))
        if (left or any(folder.glob(f".{LOCK_FILE}.*.tmp"))) and is_final(folder):
            lock = RunLock(folder)
            try:
                if is_final(folder):
                    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
            finally:
                lock.release()


def read_run(folder: Path) -> Run:
    """A run's files; raises RecordError where they are missing, damaged or unfinished."""
    from pandas import read_parquet
    from pyarrow import ArrowException

    if not folder.is_dir():
        raise RecordError(f"{folder}: no such run folder")
    file = folder / CONFIG_FILE
    try:
        config = from_yaml(file.read_text(encoding="utf-8"))
        file = folder / SUMMARY_FILE
        text = file.read_bytes()
        file = folder / ENVIRONMENT_FILE
        environment = json.loads(file.read_text(encoding="utf-8"))
        file = folder / METRICS_FILE
        metrics = read_parquet(file)
        file = folder / LAYERS_FILE
        layers = read_parquet(file)
    except FileNotFoundError as error:
        if file.name == SUMMARY_FILE:
            raise RecordError(f"{folder}: unfinished, it has no {SUMMARY_FILE} yet") from error
        raise RecordError(f"{folder}: not a whole run, {file.name} is missing") from error
    except (OSError, ValueError, ConfigError, ArrowException) as error:
        raise RecordError(
            f"{file}: damaged ({first_line(error)}); run it again with --force"
        ) from error
    try:
        summary = parse_summary(text)
    except LaterVersionError as error:
        raise RecordError(f"{folder}: {error}") from error
    except ValueError as error:
        raise RecordError(f"{folder}: {error}; run it again with --force") from error
    run = Run(folder, config, environment, metrics, layers, summary)
    _check_keys(run)
    return replace(run, summary=with_origin(summary, environment))


def _check_keys(run: Run) -> None:
    """Raise RecordError where a run's files lack what normlab writes into them."""
    lacking = not run.summary.model_fields_set.issuperset(SUMMARY_KEYS)
    if lacking or not isinstance(run.environment, dict) or "command" not in run.environment:
        raise RecordError(
            f"{run.folder}: its summary or environment is not normlab's; run it again with --force"
        )
    missing = [
        *(column for column in METRIC_COLUMNS if column not in run.metrics),
        *(column for column in LAYER_COLUMNS if column not in run.layers),
    ]
    if missing:
        raise RecordError(f"{run.folder}: its tables lack {', '.join(missing)}; not normlab's")


def read_table(folder: Path, name: Literal["metrics", "layers"]) -> "DataFrame":
    """One of a run's tables; raises RecordError where it is missing or damaged."""
    from pandas import read_parquet
    from pyarrow import ArrowException

    file = folder / f"{name}.parquet"
    try:
        return read_parquet(file)
    except (OSError, ValueError, ArrowException) as error:
        raise RecordError(
            f"{file}: cannot be read ({first_line(error)}); run it again with --force"
        ) from error


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
            f"{file}: damaged ({first_line(error)}); run it again with --force"
        ) from error
    return state
