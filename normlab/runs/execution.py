"""One run from config to finished folder: training, records and diagnosis together."""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from normlab import plugins
from normlab.config import Config, run_id
from normlab.errors import (
    BusyError,
    ConfigError,
    DataError,
    NormlabError,
    RecordError,
    RunError,
)
from normlab.runs.checkpoint import SavedRun, read_checkpoint
from normlab.runs.conclusion import Conclusion, Ending, conclude
from normlab.runs.environment import command_line
from normlab.runs.extending import notes_on, start_of
from normlab.runs.folder import CHECKPOINT_FILE, Run, lacks_kept, run_folder
from normlab.runs.outcomes import Outcome, recorded_outcome
from normlab.runs.recorder import Recorder, record_failure
from normlab.runs.replacing import working_folder
from normlab.runs.signals import deferred_signals
from normlab.runs.summary import Summary
from normlab.text import error_line
from normlab.training import (
    PROGRESS_SECONDS,
    Checkpoint,
    Ended,
    Evaluation,
    Event,
    Measurement,
    Progress,
    Started,
    select_device,
    train,
)
from normlab.vocabulary import FINAL, METRICS


@dataclass(frozen=True)
class Finished:
    """The run's files are whole; `run` is what they say, none of which need be read again."""

    run: Run

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.run.folder

    @property
    def summary(self) -> Summary:
        """What summary.json says."""
        return self.run.summary


@dataclass(frozen=True)
class Note:
    """What a person should know of a run's start."""

    text: str


def execute(
    config: Config,
    *,
    force: bool = False,
    start: SavedRun | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress_seconds: float = PROGRESS_SECONDS,
) -> Generator[Event | Note | Finished, None, None]:
    """Train, record every event, and end with a Finished.

    A run that is interrupted or fails keeps what was measured and says so in its summary. One that
    has left a checkpoint goes on from there, unless `force`; one that has none, or none that is as
    far, from `start`, another run's end. One that `stop` ends, between two steps, makes a
    checkpoint first. Raises RunError where it fails while running, or where its summary cannot be
    computed, and ConfigError where its plugins are not those that are loaded; what `train` and
    `Recorder` raise comes through, such as BusyError where the run is finished already, unless
    `force`, or is being made elsewhere.
    """
    plugins.check(config.plugins)
    entered = time.perf_counter()
    checkpoint, notes = _beginning(config, force, start)
    yield from map(Note, notes)
    progress = _RunInProgress(config, checkpoint, force=force)
    failure: Exception | None = None
    try:
        for event in _training(config, checkpoint, stop, progress_seconds):
            progress.record(event)
            if isinstance(event, Ended):
                break
            yield event
    except NormlabError as error:
        progress.fail(str(error))
        raise
    except Exception as error:
        failure = error
        progress.fail(_failure_reason(error, config))
    finally:
        conclusion = progress.conclude()
    if failure is not None:
        if conclusion is None:  # it failed while the network was built
            record_failure(config, progress.reason, time.perf_counter() - entered)
        raise RunError(progress.reason) from failure
    assert conclusion is not None  # training that ends has started
    if conclusion.fault is not None:
        raise RunError(conclusion.summary.reason) from conclusion.fault
    yield Finished(progress.finished_run(conclusion.summary))


def _beginning(
    config: Config, force: bool, start: SavedRun | None
) -> tuple[SavedRun | None, list[str]]:
    """What a run goes on from, None for its beginning, and what a person should know of that."""
    device = select_device(config.runtime.device)
    again = force or lacks_kept(config)
    place = working_folder(run_folder(config), force=again)
    # With `force` only a replacement that was interrupted goes on, never the run itself.
    goes_on = not again or place != run_folder(config)
    checkpoint, note = read_checkpoint(place, config, str(device)) if goes_on else (None, "")
    if again and not force and not note:
        note = "finished before, and made again to keep its weights or state"
    if start is None and config.training.extends is not None and checkpoint is None:
        start = start_of(config)
    if start is not None and (checkpoint is None or checkpoint.step < start.step):
        return start, notes_on(start)
    return checkpoint, [note] if note else []


def _training(
    config: Config,
    checkpoint: SavedRun | None,
    stop: Callable[[], bool],
    progress_seconds: float,
) -> Iterator[Event | Note]:
    """A training's events; from its beginning where a checkpoint's state does not fit the network.

    No such state is normlab's, and the run could never get past it.
    """
    if checkpoint is not None:
        events = train(
            config, resume=checkpoint.state, stop=stop, progress_seconds=progress_seconds
        )
        try:
            started = next(events)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if _is_out_of_memory(error):
                raise
            if checkpoint.extended_from is not None:
                raise RecordError(
                    f"{checkpoint.extended_from['run_id']}: what it kept is not of this network; "
                    "run it again with output.keep=true --force"
                ) from error
            yield Note(f"{CHECKPOINT_FILE}: not of this network; the run starts over")
        else:
            yield started
            yield from events
            return
    yield from train(config, stop=stop, progress_seconds=progress_seconds)


class _RunInProgress:
    """How far a run has come, and the files to which its events are written."""

    def __init__(self, config: Config, checkpoint: SavedRun | None, *, force: bool):
        self.reason = ""
        self._config, self._checkpoint, self._force = config, checkpoint, force
        self._status, self._step = "interrupted", 0
        self._checkpoint_step = 0
        self._recorder: Recorder | None = None

    def record(self, event: Event | Note) -> None:
        """Write what an event says; raises as `Recorder` does."""
        if isinstance(event, Note):
            return
        if isinstance(event, Started):
            self._start(event)
            return
        recorder = self._recorder
        assert recorder is not None  # training yields Started first
        progress = recorder.lock.progress
        match event:
            case Evaluation(step=step, train_acc=accuracy):
                recorder.add_metrics(event.as_row())
                self._step = step
                progress |= {"step": step, "train_acc": accuracy}
            case Measurement():
                recorder.add_layers(event.rows())
            case Progress(step, batch_loss):
                self._step = step
                progress |= {"step": step, "batch_loss": batch_loss}
            case Checkpoint(state):
                recorder.save_checkpoint(state)
                self._checkpoint_step = state["step"]
            case Ended(status, step, model):
                if self._config.output.weights and status in FINAL:
                    recorder.save_weights(model)
                if self._config.output.keep and event.state is not None:
                    recorder.save_state(event.state)
                self._status, self._step = status, step  # not before its weights are there
                self.reason = self._reason_of_early_end(event)

    def _reason_of_early_end(self, ended: Ended) -> str:
        training = self._config.training
        if ended.status == "stopped":
            better = METRICS[training.stop_metric or ""].better
            most = "at most" if better == "lower" else "at least"
            return (
                f"Stopped early at step {ended.step}, where {training.stop_metric} was {most} "
                f"training.stop_value={training.stop_value:g}."
            )
        if ended.status == "timeout":
            on = "goes on from there" if self._checkpoint_step else "begins anew"
            return (
                f"Out of time at step {ended.step}, training.max_seconds={training.max_seconds:g}. "
                f"The same command with a larger limit {on}."
            )
        return ""

    def fail(self, reason: str) -> None:
        """Note that the run has failed."""
        self._status, self.reason = "failed", reason

    def conclude(self) -> Conclusion | None:
        """Write the tables and the summary and release the lock; None for a run not started."""
        if self._recorder is None:
            return None
        if self._status == "interrupted":
            self.reason = f"Stopped at step {self._step}."
            if self._checkpoint_step:
                without = "" if self._recorder.replacing else ", without --force,"
                self.reason += (
                    f" The same command{without} goes on from step {self._checkpoint_step}."
                )
            if self._recorder.replacing:
                self.reason += " Until its end, the finished run of before stays."
        with deferred_signals():
            seconds = time.perf_counter() - self._began
            ending = Ending(self._status, self._step, self.reason, seconds)
            recorder = self._recorder
            conclusion = conclude(
                self._config, self._started, ending, recorder.frames, recorder.environment
            )
            recorder.finish(conclusion.summary)
        return conclusion

    def finished_run(self, summary: Summary) -> Run:
        """What the files of a run that was concluded so say."""
        assert self._recorder is not None
        return self._recorder.finished_run(summary)

    def _start(self, event: Started) -> None:
        checkpoint = self._checkpoint if event.resumed else None
        before = checkpoint.seconds if checkpoint else 0.0
        self._started, self._began = event, time.perf_counter() - before
        self._step = self._checkpoint_step = event.resumed
        with deferred_signals():  # whoever holds a lock must know of it, to release it
            self._recorder = Recorder(
                self._config,
                device=event.device,
                command=command_line(),
                force=self._force,
                checkpoint=checkpoint,
            )
        stage = {"step": self._step, "steps": event.steps, "resumed": event.resumed}
        self._recorder.lock.progress |= stage


def _failure_reason(error: Exception, config: Config) -> str:
    """An unforeseen error in one line, out of memory with what to do."""
    if _is_out_of_memory(error):
        probed = f"probes.batch_size={config.probes.batch_size}, " if config.probed else ""
        return (
            f"out of memory with training.batch_size={config.training.batch_size}, {probed}"
            f"model.width={config.model.width}, model.depth={config.model.depth}; "
            "make one of them, or the data set, smaller"
        )
    return error_line(error)


def _is_out_of_memory(error: Exception) -> bool:
    memory = ("allocate memory", "out of memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in memory
    )


def execute_in_worker(config: Config, *, force: bool, stop: Callable[[], bool]) -> Outcome:
    """Execute a run of a sweep: every failure becomes an Outcome.

    A run that another process has finished since it was planned is not made again unless `force`;
    one that another is making is `busy`. `stop` is asked between steps.
    """
    began, note = time.perf_counter(), ""
    again = force or lacks_kept(config)
    if not again and (recorded := recorded_outcome(config, FINAL)):
        return recorded
    try:
        for event in execute(config, force=force, stop=stop):
            if isinstance(event, Note):
                note = f"{event.text}."
            if isinstance(event, Finished):
                seconds = time.perf_counter() - began
                return Outcome.from_summary(event.summary, seconds=seconds, note=note)
    except NormlabError as error:
        status = "busy" if isinstance(error, BusyError) else "failed"
        seconds = time.perf_counter() - began
        if isinstance(error, ConfigError | DataError):  # before there was anything to record
            record_failure(config, str(error), seconds)
        return Outcome(run_id(config), status, str(error), seconds=seconds)
    raise AssertionError("execute ends with a Finished")
