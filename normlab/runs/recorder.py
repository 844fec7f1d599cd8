"""The files of a run that is being made: tables every few seconds, checkpoints, the summary."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from normlab.config import Config, to_yaml
from normlab.errors import BusyError, NormlabError, RecordError
from normlab.runs.checkpoint import SavedRun, checkpoint_maker, save_tensors, write_checkpoint
from normlab.runs.environment import command_line, environment
from normlab.runs.files import unwritable, write_json, write_text, write_whole
from normlab.runs.folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    LAYERS_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    Run,
    is_final,
    lacks_weights,
    run_folder,
)
from normlab.runs.locks import LOCK_FILE, RunLock, read_lock
from normlab.runs.provenance import ENVIRONMENT_FILE, made_with
from normlab.runs.signals import deferred_signals
from normlab.runs.summary import SUMMARY_FILE, Summary, read_summary
from normlab.training import LAYER_COLUMNS, METRIC_COLUMNS

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch.nn import Module

FLUSH_SECONDS = 5.0


class Recorder:
    """Collects one run's rows and writes them to its folder, every few seconds and at the end.

    Making one creates and locks the folder, removes an older summary, and writes config.yaml and
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
        checkpoint: SavedRun | None = None,
    ):
        self.folder = run_folder(config)
        self.config = config
        self.device = device
        self.metrics: list[dict[str, Any]] = list(checkpoint.metrics) if checkpoint else []
        self.layers: list[dict[str, Any]] = list(checkpoint.layers) if checkpoint else []
        self._flushed = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.lock = RunLock(self.folder)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            if is_final(self.folder) and not force and not lacks_weights(config):
                raise BusyError(f"{self.folder}: finished already; --force runs it again")
            self._remove_older_files(force=force)
            write_text(self.folder / CONFIG_FILE, to_yaml(config))
            self.environment = environment(config, device, command)
            write_json(self.folder / ENVIRONMENT_FILE, self.environment)
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
        for name, table in zip((METRICS_FILE, LAYERS_FILE), self.frames(), strict=True):
            write_whole(self.folder / name, partial(table.to_parquet, index=False))
        self._flushed = time.monotonic()

    def save_weights(self, model: "Module") -> None:
        """Write weights.pt: the state dict of the trained network, running statistics included."""
        state = {name: value.cpu() for name, value in model.state_dict().items()}
        self._check_lock()
        save_tensors(self.folder / WEIGHTS_FILE, state)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write checkpoint.pt: a training's state with the rows measured until then."""
        self._check_lock()
        saved = SavedRun(state, self.metrics, self.layers)
        write_checkpoint(self.folder, saved, checkpoint_maker(self.config, self.device))

    def finish(self, summary: Summary, *, keep_tables: bool = False) -> None:
        """Write the tables, then the summary, which makes the run whole, and release the lock.

        A run with a result keeps no checkpoint. With `keep_tables` those that the folder has
        already stay.
        """
        tables = (METRICS_FILE, LAYERS_FILE)
        try:
            if not (keep_tables and all((self.folder / name).exists() for name in tables)):
                self.flush()
            write_json(self.folder / SUMMARY_FILE, summary.to_plain())
            if summary.final:
                (self.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        finally:
            self.lock.release()

    def finished_run(self, summary: Summary) -> Run:
        """What the files say of the run, without reading them."""
        metrics, layers = self.frames()
        return Run(self.folder, self.config, self.environment, metrics, layers, summary)

    def _remove_older_files(self, *, force: bool) -> None:
        """Remove the result of an earlier start, and what a killed process left half written."""
        for name in (SUMMARY_FILE, WEIGHTS_FILE, *([CHECKPOINT_FILE] if force else [])):
            (self.folder / name).unlink(missing_ok=True)
        for left in self.folder.glob(".*.tmp"):
            if not left.name.startswith(f".{LOCK_FILE}"):  # others may be asking for the lock
                left.unlink(missing_ok=True)

    def _check_lock(self) -> None:
        if self.lock.lost:
            raise RecordError(f"{self.folder}: another process took this run over, or deleted it")

    def _flush_when_due(self) -> None:
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()


def record_failure(config: Config, reason: str, seconds: float) -> None:
    """Leave a `failed` summary where a run died without one, beside what it had measured.

    A run that is finished, or that a live process is making, is left as it is.
    """
    # How far the dead process has come, by its lock or by the summary that it wrote itself.
    lock, before = read_lock(run_folder(config)) or {}, read_summary(run_folder(config))
    steps = lock.get("progress", {}).get("step", before.steps if before else 0)
    device = config.runtime.device
    # Where nothing can be written, the outcome alone must say it.
    with contextlib.suppress(NormlabError), deferred_signals():
        recorder = Recorder(config, device=device, command=command_line())
        known = made_with(recorder.environment)
        summary = Summary.pending(
            config, "failed", reason=reason, steps=steps, seconds=seconds, **known
        )
        recorder.finish(summary, keep_tables=True)
