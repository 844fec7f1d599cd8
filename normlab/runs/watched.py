"""The folder of a training that somebody else's loop makes: the same files as a run's.

Its config.yaml holds `watched: true` and what is known of the training in the groups of a config;
it is no config, as normlab cannot make the training again.
"""

import contextlib
import datetime
import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.config import watched_to_yaml
from normlab.errors import BusyError, RecordError
from normlab.runs.environment import command_line, processor, versions
from normlab.runs.files import unwritable, write_json, write_text
from normlab.runs.folder import CONFIG_FILE
from normlab.runs.locks import LOCK_FILE, RunLock, read_lock
from normlab.runs.provenance import ENVIRONMENT_FILE, read_environment
from normlab.runs.recorder import FLUSH_SECONDS
from normlab.runs.summary import SUMMARY_FILE, Summary
from normlab.runs.tables import (
    NOTHING,
    TABLES,
    TableName,
    TableStream,
    read_rows,
    stream_file,
    table_file,
)

if TYPE_CHECKING:
    import pyarrow
    from pandas import DataFrame


def watched_id(folder: Path) -> str:
    """Ten hexadecimal digits that name a watched training: a hash of where and when it began.

    Unlike a run's id it says nothing of its settings, of which too little is known.
    """
    told = f"{folder.resolve()} {read_environment(folder).get('started')}"
    return hashlib.sha256(told.encode()).hexdigest()[:10]


class WatchedFolder:
    """Collects the rows of a watched training, in a folder or, without one, until the end of the
    process.

    Making one creates and locks the folder and writes config.yaml and environment.json. Raises
    RecordError where it cannot be written or holds a run already, BusyError where another process
    writes into it.
    """

    def __init__(
        self,
        folder: Path | None,
        settings: Mapping[str, Any],
        columns: Mapping[TableName, Sequence[str]],
        *,
        device: str,
        overwrite: bool = False,
    ):
        self.folder = folder
        self.place = folder or Path(tempfile.mkdtemp(prefix="normlab-watch-"))
        self._lock: RunLock | None = None
        self._flushed = time.monotonic()
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.place, ignore_errors=True)
        else:
            self._lock = _prepared(folder, overwrite=overwrite)
        self.environment = {
            **versions(),
            "device": device,
            "processor": processor(device),
            "command": command_line(),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        }
        write_text(self.place / CONFIG_FILE, watched_to_yaml(settings))
        write_json(self.place / ENVIRONMENT_FILE, self.environment)
        self._streams = {
            name: TableStream(self.place, name, columns[name], NOTHING) for name in TABLES
        }

    @property
    def run_id(self) -> str:
        """The id that its summary has."""
        return watched_id(self.place)

    def add_layers(self, batch: "pyarrow.RecordBatch") -> None:
        """Write rows of layers.parquet."""
        self._streams["layers"].append(batch)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """Keep a row of metrics.parquet."""
        self._streams["metrics"].add([row])

    def flush(self) -> None:
        """Push what is new to the disk; RecordError where another process took the folder over."""
        if self._lock is not None and self._lock.lost:
            raise RecordError(f"{self.folder}: another process took it over")
        for stream in self._streams.values():
            stream.write()
        self._flushed = time.monotonic()

    def frame(self, name: TableName) -> "DataFrame":
        """One of the tables as it is now."""
        return self._streams[name].frame() if self._streams else read_rows(self.place, name)

    def finish(self, settings: Mapping[str, Any], summary: Summary) -> None:
        """Write the tables and the summary, which comes last, and let the folder go."""
        self.flush()
        write_text(self.place / CONFIG_FILE, watched_to_yaml(settings))
        for name, stream in self._streams.items():
            stream.save(table_file(self.place, name))
        write_json(self.place / SUMMARY_FILE, summary.to_plain())
        for name in TABLES:
            stream_file(self.place, name).unlink(missing_ok=True)

    def close(self) -> None:
        """Give back files and lock, of a folder that could not be finished, too."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _prepared(folder: Path, *, overwrite: bool) -> RunLock:
    """The lock of a folder that holds no run, or none any more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder)
    except OSError as error:
        if folder.exists() and not folder.is_dir():
            raise RecordError(f"out={folder}: is a file; name a folder") from error
        raise unwritable(folder, error) from error
    except BusyError as error:
        if (read_lock(folder) or {}).get("pid") == os.getpid():
            raise RecordError(
                f"out={folder}: another watch of this process writes there; close() it, or name "
                "another folder"
            ) from error
        raise
    try:
        here = [file.name for file in folder.iterdir() if file.name != LOCK_FILE]
        if CONFIG_FILE in here or SUMMARY_FILE in here:
            if not overwrite:
                raise RecordError(
                    f"out={folder}: holds a run already; name another folder, or give "
                    "overwrite=True to lose that one"
                )
            _remove_run(folder)
        elif any(not name.startswith(".") for name in here):
            raise RecordError(f"out={folder}: is not empty; name a folder for this training alone")
    except BaseException:
        lock.release()
        raise
    return lock


def _remove_run(folder: Path) -> None:
    # The summary first: what is left of a run is then never taken for a whole one.
    for name in (SUMMARY_FILE, *(f"{t}.{end}" for t in TABLES for end in ("parquet", "arrows"))):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
