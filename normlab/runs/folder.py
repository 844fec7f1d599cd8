"""A run's folder: its name, whether it is finished, and what its files say.

`results/<experiment>/<run_id>/` holds config.yaml, environment.json, metrics.parquet,
layers.parquet and summary.json. Every file is written beside and renamed; summary.json comes last,
so a folder without one is an unfinished run.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.bounded_files import open_regular, read_bounded
from normlab.config import Config, from_yaml_or_watched, run_id
from normlab.errors import ConfigError, RecordError
from normlab.runs.provenance import ENVIRONMENT_BYTES, ENVIRONMENT_FILE, with_origin
from normlab.runs.summary import (
    SUMMARY_FILE,
    LaterVersionError,
    Summary,
    parse_summary,
    read_summary,
)
from normlab.runs.tables import TableName, read_rows, table_file
from normlab.text import first_line, printable

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

CONFIG_FILE = "config.yaml"
WEIGHTS_FILE = "weights.pt"
STATE_FILE = "state.pt"  # what a finished run is made longer from
CHECKPOINT_FILE = "checkpoint.pt"
TENSOR_BYTES = 1 << 36  # of a network's weights and its optimizer's memory
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


@dataclass(frozen=True)
class WatchedRun:
    """The folder of a training that somebody else's loop made, read: a run without a config."""

    folder: Path
    environment: dict[str, Any]
    metrics: "DataFrame"
    layers: "DataFrame"
    summary: Summary


def run_folder(config: Config) -> Path:
    """Where a config's files go: results/<experiment>/<run_id>."""
    return Path(config.output.root) / config.output.experiment / run_id(config)


def place_of(folder: Path) -> tuple[Path, str]:
    """The results folder and the experiment that a run's folder lies in, which its config does not
    know once the folder was moved."""
    whole = folder if len(folder.parts) > 2 else folder.absolute()
    return whole.parent.parent, whole.parent.name


def is_final(folder: Path) -> bool:
    """Whether a folder holds a run that need not run again."""
    summary = read_summary(folder)
    return summary is not None and summary.final


def lacks_kept(config: Config) -> bool:
    """Whether a config's run has ended but kept no weights, or no state to be made longer from,
    which the config asks for."""
    folder, output = run_folder(config), config.output
    without_weights = output.weights and not (folder / WEIGHTS_FILE).is_file()
    without_state = output.keep and not (folder / STATE_FILE).is_file()
    if not (without_weights or without_state):
        return False
    summary = read_summary(folder)
    if summary is None or not summary.final:
        return False
    return without_weights or summary.status == "finished"  # no other keeps a state


def read_run(folder: Path) -> Run:
    """A run's files; raises RecordError where they are missing, damaged or unfinished, or of a
    training that was only watched."""
    return made_run(read_any_run(folder))


def made_run(found: Run | WatchedRun) -> Run:
    """A run that normlab made; raises RecordError for a training that it only watched."""
    if isinstance(found, WatchedRun):
        raise RecordError(
            f"{found.folder}: a training that normlab only watched; it has no config to make it by"
        )
    return found


def read_any_run(folder: Path) -> Run | WatchedRun:
    """The files of a run or of a training that was watched; raises RecordError as `read_run`."""
    if not folder.is_dir():
        raise RecordError(f"{folder}: no such run folder")
    file = folder / CONFIG_FILE
    try:
        config = from_yaml_or_watched(read_bounded(file).decode())
        file = folder / SUMMARY_FILE
        text = read_bounded(file)
        file = folder / ENVIRONMENT_FILE
        environment = parse_environment(read_bounded(file, ENVIRONMENT_BYTES))
        file = table_file(folder, "metrics")
        metrics = read_rows(folder, "metrics")
        file = table_file(folder, "layers")
        layers = read_rows(folder, "layers")
    except FileNotFoundError as error:
        if file.name == SUMMARY_FILE:
            raise RecordError(f"{folder}: unfinished, it has no {SUMMARY_FILE} yet") from error
        raise RecordError(f"{folder}: not a whole run, {file.name} is missing") from error
    except (OSError, ValueError, RecursionError, ConfigError) as error:
        raise RecordError(
            f"{file}: damaged ({first_line(error)}); run it again with --force"
        ) from error
    try:
        summary = parse_summary(text)
    except LaterVersionError as error:
        raise RecordError(f"{folder}: {error}") from error
    except ValueError as error:
        raise RecordError(f"{folder}: {error}; run it again with --force") from error
    if not summary.model_fields_set.issuperset(SUMMARY_KEYS):
        raise RecordError(f"{folder}: its summary is not normlab's; run it again with --force")
    summary = with_origin(summary, environment)
    if not isinstance(config, Config):
        return WatchedRun(folder, environment, metrics, layers, summary)
    return Run(folder, config, environment, metrics, layers, summary)


def parse_environment(text: bytes) -> dict[str, Any]:
    """What environment.json says, its command a list of words; raises ValueError."""
    found = json.loads(text)
    if not isinstance(found, dict) or not isinstance(found.get("command"), list):
        raise ValueError(f"{ENVIRONMENT_FILE} is not normlab's")
    return {**printable(found), "command": [printable(str(word)) for word in found["command"]]}


def read_table(folder: Path, name: TableName) -> "DataFrame":
    """One of a run's tables; raises RecordError where it is missing or damaged."""
    try:
        return read_rows(folder, name)
    except (OSError, ValueError) as error:
        file = table_file(folder, name)
        raise RecordError(
            f"{file}: cannot be read ({first_line(error)}); run it again with --force"
        ) from error


def read_weights(folder: Path) -> "dict[str, Tensor]":
    """The state dict that a run with `output.weights` kept; RecordError where there is none."""
    import torch

    file = folder / WEIGHTS_FILE
    try:
        with open_regular(file, TENSOR_BYTES) as opened:
            state: dict[str, Tensor] = torch.load(opened, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RecordError(
            f"{folder}: {WEIGHTS_FILE} is missing; run it again with output.weights=true --force"
        ) from error
    except Exception as error:  # torch.load names no kinds of its own
        raise RecordError(
            f"{file}: damaged ({first_line(error)}); run it again with --force"
        ) from error
    return state
