"""checkpoint.pt: what an unfinished run goes on from."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from normlab.bounded_files import open_regular
from normlab.config import Config, run_id
from normlab.runs.environment import git_state, processor, versions
from normlab.runs.files import write_whole
from normlab.runs.folder import CHECKPOINT_FILE, TENSOR_BYTES
from normlab.runs.tables import TABLES, Position, TableName, holds, stream_file
from normlab.text import first_line

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class SavedRun:
    """The state of a training at a step, and how much of both tables was measured until then."""

    state: Mapping[str, Any]  # as training yields it: tensors and numbers
    tables: Mapping[TableName, Position]
    # Of a run that goes on from another's end: that run's id, its last step, and what it was made
    # with that is otherwise here.
    extended_from: Mapping[str, Any] | None = None
    # The rows themselves, where they are not yet in the run's own files.
    rows: "Mapping[TableName, DataFrame] | None" = None

    @property
    def step(self) -> int:
        """The step that training goes on from."""
        step: int = self.state["step"]
        return step

    @property
    def seconds(self) -> float:
        """The time that training has taken until then."""
        seconds: float = self.state["seconds"]
        return seconds

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> Self:
        """What a file's content says, its maker aside; raises ValueError or KeyError."""
        state, tables = content["state"], content["tables"]
        check_state(state)
        positions = {name: Position.from_content(tables[name]) for name in TABLES}
        return cls(state, positions, content.get("extended_from"))


def check_state(state: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError where it is none of a training at a step."""
    kinds = {"step": int, "seconds": float, "batch_loss": float, "clip_factor": float}
    if any(type(state[key]) is not kind for key, kind in kinds.items()) or state["step"] < 1:
        raise ValueError("its state has no step")


def write_checkpoint(folder: Path, saved: SavedRun, maker: Mapping[str, Any]) -> None:
    """Write checkpoint.pt whole; raises RecordError where it cannot be written."""
    content = {
        "maker": dict(maker),
        "state": dict(saved.state),
        "tables": {name: tuple(position) for name, position in saved.tables.items()},
    }
    if saved.extended_from is not None:
        content["extended_from"] = dict(saved.extended_from)
    save_tensors(folder / CHECKPOINT_FILE, content)


def read_checkpoint(folder: Path, config: Config, device: str) -> tuple[SavedRun | None, str]:
    """A folder's checkpoint of a config's run, or None, and words about one that cannot be used on
    such a device."""
    file = folder / CHECKPOINT_FILE
    if not os.path.lexists(file):
        return None, ""
    try:
        content = load_tensors(file)
    except Exception as error:  # torch.load names no kinds of its own
        return None, f"{file}: damaged ({first_line(error)[:80]}); the run starts over"
    known = {"maker", "state", "tables"}
    if not isinstance(content, dict) or set(content) - {"extended_from"} != known:
        return None, f"{file}: not of this version; the run starts over"
    if other := unlike(content["maker"], checkpoint_maker(config, device)):
        return None, f"{file}: made with another {', '.join(other)}; the run starts over"
    try:
        saved = SavedRun.from_content(content)
    except (TypeError, ValueError, LookupError):
        return None, f"{file}: not normlab's; the run starts over"
    for name in TABLES:
        if not holds(folder, name, saved.tables[name]):
            return None, f"{stream_file(folder, name)}: lacks rows; the run starts over"
    return saved, ""


def load_tensors(file: Path) -> Any:
    """A file's content; raises whatever is wrong with it."""
    import torch

    with open_regular(file, TENSOR_BYTES) as opened:
        with zipfile.ZipFile(opened) as archive:  # torch.load does not look at its checksums
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("compressed, as none of normlab's is")
            if broken := archive.testzip():
                raise ValueError(f"checksum of {broken}")
        opened.seek(0)
        return torch.load(opened, map_location="cpu", weights_only=True)


def checkpoint_maker(config: Config, device: str) -> dict[str, Any]:
    """All that decides a run's bits: half of one and half of another would be neither's run."""
    return {
        "run": run_id(config),
        "version": json.dumps(versions()),
        "commit": json.dumps(git_state()),
        "device": device.partition(":")[0],  # any of a machine's equal GPUs
        "processor": processor(device),
        "threads": config.runtime.threads,
        "deterministic": config.runtime.deterministic,
        "graph": config.runtime.graph,
        "channels_last": config.in_channels_last,
        "data_sha256": config.data.content(),
    }


def unlike(maker: Any, here: Mapping[str, Any]) -> list[str]:
    """In what a maker is another one than the one here."""
    if not isinstance(maker, dict):
        return list(here)
    known = {"channels_last": False, **maker}  # older ones had no other order
    return [key for key in here if known.get(key) != here[key]]


def save_tensors(file: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and what they belong to whole; raises RecordError where it cannot be."""
    write_whole(file, lambda beside: _save(content, beside))


def _save(content: Mapping[str, Any], path: Path) -> None:
    import torch

    # Into Python's own file: torch's words about a full disk name neither file nor reason.
    with path.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
