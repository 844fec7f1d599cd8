"""The files of a run that is being made: tables every few seconds, checkpoints, the summary."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from normlab.config import Config, to_yaml
from normlab.errors import BusyError, NormlabError, RecordError
from normlab.runs.checkpoint import SavedRun, checkpoint_maker, save_tensors, write_checkpoint
from normlab.runs.environment import command_line, environment
from normlab.runs.files import unwritable, write_json, write_text
from normlab.runs.folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    Run,
    is_final,
    lacks_kept,
    run_folder,
)
from normlab.runs.holding import hold
from normlab.runs.locks import LOCK_FILE, read_lock
from normlab.runs.provenance import ENVIRONMENT_FILE, made_with
from normlab.runs.replacing import make_replacement, settle, working_folder
from normlab.runs.signals import deferred_signals
from normlab.runs.summary import SUMMARY_FILE, Summary, read_summary
from normlab.runs.tables import (
    NOTHING,
    TABLES,
    TableName,
    TableStream,
    columns_of,
    complete_table,
    stream_file,
    table_file,
)

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch.nn import Module

FLUSH_SECONDS = 5.0
# Rows that are not yet written, some ten megabytes.
MOST_ROWS = 20_000


class Recorder:
    """Collects one run's rows and writes them to its folder, every few seconds and at the end.

    Making one creates and locks the folder, removes an older summary, and writes config.yaml and
    environment.json; where a finished run is to be made again, all is written beside it. Raises
    RecordError where the folder cannot be written, and BusyError where another process is making
    the same run, or has finished it and `force` is not set. The rows that a `checkpoint` was made
    beside are the first.
    """

    def __init__(
        self,
        config: Config,
        *,
        device: str,
        command: Sequence[str],
        force: bool = False,
        checkpoint: SavedRun | None = None,
    ):
        self.folder = run_folder(config)
        self.config = config
        self.device = device
        self._flushed = time.monotonic()
        self._extended_from = checkpoint.extended_from if checkpoint else None
        self._frames: tuple[DataFrame, DataFrame] | None = None
        self._streams: dict[TableName, TableStream] = {}
        self.lock = hold(config)
        again = force or lacks_kept(config)
        self._place = working_folder(self.folder, force=again)
        try:
            if is_final(self.folder) and not again:
                raise BusyError(f"{self.folder}: finished already; --force runs it again")
            if self.replacing:
                make_replacement(self.folder)
            self._remove_older_files(checkpoint)
            self._open_streams(checkpoint)
            write_text(self._place / CONFIG_FILE, to_yaml(config))
            self.environment = environment(config, device, command)
            if self._extended_from is not None:
                self.environment["extended_from"] = dict(self._extended_from)
            write_json(self._place / ENVIRONMENT_FILE, self.environment)
        except BaseException:
            self._settle()
            self._close()
            raise

    @property
    def replacing(self) -> bool:
        """Whether a finished run lies in the folder, and stays there until this one is whole."""
        return self._place != self.folder

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """Keep a row of metrics.parquet."""
        self._add("metrics", [row])

    def add_layers(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows of layers.parquet."""
        self._add("layers", rows)

    def _add(self, table: TableName, rows: Sequence[Mapping[str, Any]]) -> None:
        self._frames = None
        self._streams[table].add(rows)
        due = time.monotonic() - self._flushed > FLUSH_SECONDS
        if due or sum(map(len, self._streams.values())) > MOST_ROWS:
            self.flush()

    def frames(self) -> tuple["DataFrame", "DataFrame"]:
        """The metrics and layers so far, with every column that the files have."""
        if self._frames is None:
            self._frames = self._streams["metrics"].frame(), self._streams["layers"].frame()
        return self._frames

    def flush(self) -> None:
        """Write the rows that are new; RecordError where another process took the run over."""
        self._check_lock()
        for stream in self._streams.values():
            stream.write()
        self._flushed = time.monotonic()

    def save_weights(self, model: "Module") -> None:
        """Write weights.pt: the state dict of the trained network, running statistics included."""
        state = {name: value.cpu() for name, value in model.state_dict().items()}
        self._check_lock()
        save_tensors(self._place / WEIGHTS_FILE, state)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write state.pt: what a finished run can be made longer from."""
        self._check_lock()
        maker = checkpoint_maker(self.config, self.device)
        save_tensors(self._place / STATE_FILE, {"maker": maker, "state": dict(state)})

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write checkpoint.pt: a training's state, and how many rows were measured until then."""
        self._check_lock()
        tables = {name: stream.write() for name, stream in self._streams.items()}
        maker = checkpoint_maker(self.config, self.device)
        write_checkpoint(self._place, SavedRun(state, tables, self._extended_from), maker)

    def finish(self, summary: Summary) -> None:
        """Write the tables, then the summary, which makes the run whole, and release the lock.

        A run with a result keeps no checkpoint. One that was to replace a finished run and has no
        result leaves that run as it is, and itself only a checkpoint to go on from.
        """
        try:
            self._check_lock()
            try:
                if self.replacing and not summary.final:
                    self.flush()
                else:
                    self._write_whole(summary)
            finally:
                self._settle()
        finally:
            self._close()

    def _write_whole(self, summary: Summary) -> None:
        checkpoint = self._place / CHECKPOINT_FILE
        for name, stream in self._streams.items():
            stream.save(table_file(self._place, name))
        if summary.final:
            checkpoint.unlink(missing_ok=True)
        if not checkpoint.exists():
            for name in TABLES:
                stream_file(self._place, name).unlink(missing_ok=True)
        write_json(self._place / SUMMARY_FILE, summary.to_plain())

    def _settle(self) -> None:
        if self.replacing:
            settle(self.folder)

    def finished_run(self, summary: Summary) -> Run:
        """What the files say of the run, without reading them."""
        metrics, layers = self.frames()
        return Run(self.folder, self.config, self.environment, metrics, layers, summary)

    def _open_streams(self, checkpoint: SavedRun | None) -> None:
        """Open both tables with the rows that a checkpoint was made beside, or brings along."""
        for name in TABLES:
            brought = checkpoint.rows if checkpoint else None
            start = checkpoint.tables[name] if checkpoint and brought is None else NOTHING
            columns = columns_of(self.config, name)
            self._streams[name] = TableStream(self._place, name, columns, start)
            if brought is not None:
                self._streams[name].add_frame(brought[name])

    def _remove_older_files(self, checkpoint: SavedRun | None) -> None:
        """Remove the result of an earlier start, and what a killed process left half written."""
        place = self._place
        older = [place / SUMMARY_FILE, place / WEIGHTS_FILE, place / STATE_FILE]
        older += [table_file(place, name) for name in TABLES]
        goes_on = checkpoint is not None and checkpoint.rows is None
        older += [] if goes_on else [place / CHECKPOINT_FILE]
        # Others may be asking for the lock.
        older += [f for f in place.glob(".*.tmp") if not f.name.startswith(f".{LOCK_FILE}")]
        for file in older:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(file, error) from error

    def _check_lock(self) -> None:
        if self.lock.lost:
            raise RecordError(f"{self.folder}: another process took this run over, or deleted it")

    def _close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self.lock.release()


def record_failure(config: Config, reason: str, seconds: float) -> None:
    """Leave a `failed` summary where a run died without one, beside what it had measured.

    A run that is finished, or that a live process is making, is left as it is.
    """
    folder, device = run_folder(config), config.runtime.device
    # How far the dead process has come, by its lock or by the summary that it wrote itself.
    lock, before = read_lock(folder), read_summary(folder)
    steps = (lock or {}).get("progress", {}).get("step", before.steps if before else 0)
    # Where nothing can be written, the outcome alone must say it.
    with contextlib.suppress(NormlabError, OSError), deferred_signals():
        held = hold(config)
        try:
            if is_final(folder):
                return
            known = environment(config, device, command_line())
            write_text(folder / CONFIG_FILE, to_yaml(config))
            write_json(folder / ENVIRONMENT_FILE, known)
            for name in TABLES:
                complete_table(folder, name, columns_of(config, name))
                if not (folder / CHECKPOINT_FILE).exists():
                    stream_file(folder, name).unlink(missing_ok=True)
            summary = Summary.pending(
                config,
                "failed",
                reason=reason,
                steps=steps if isinstance(steps, int) else None,
                seconds=seconds,
                **made_with(known),
            )
            write_json(folder / SUMMARY_FILE, summary.to_plain())
        finally:
            held.release()
