"""One run from config to finished folder: training, records and diagnosis together."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from normlab.config import Config, describe, run_id
from normlab.errors import BusyError, NormlabError, RunError
from normlab.measurement import Ending, diagnose, predict
from normlab.runs.locks import read_lock
from normlab.runs.outcomes import Outcome
from normlab.runs.records import (
    Recorder,
    command_line,
    read_checkpoint,
    run_folder,
)
from normlab.runs.summary import SUMMARY_VERSION, Summary, read_summary
from normlab.training import (
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


@dataclass(frozen=True)
class Finished:
    """The run's files are whole; `summary` is what summary.json says."""

    folder: Path
    summary: Summary


@dataclass(frozen=True)
class Note:
    """What a person should know of a run's start."""

    text: str


def execute(
    config: Config, *, force: bool = False, stop: Callable[[], bool] = lambda: False
) -> Generator[Event | Note | Finished, None, None]:
    """Train, record every event, and end with a Finished.

    A run that is interrupted or fails keeps what was measured and says so in its summary. One that
    has left a checkpoint goes on from there, unless `force`; one that `stop` ends, between two
    steps, makes a checkpoint first. Raises RunError where it fails while running; what `train` and
    `Recorder` raise comes through, such as BusyError where the run is finished already, unless
    `force`, or is being made elsewhere.
    """
    recorder: Recorder | None = None
    status, step, reason = "interrupted", 0, ""
    failure: Exception | None = None
    entered = time.perf_counter()
    device = select_device(config.runtime.device)
    checkpoint, note = (None, "") if force else read_checkpoint(config, str(device))
    kept = checkpoint["state"]["step"] if checkpoint else 0
    if note:
        yield Note(note)
    try:
        for event in train(config, resume=checkpoint and checkpoint["state"], stop=stop):
            match event:
                case Started():
                    started, began = event, time.perf_counter()
                    began -= checkpoint["state"]["seconds"] if checkpoint else 0.0
                    step = event.resumed
                    recorder = Recorder(
                        config,
                        device=event.device,
                        command=command_line(),
                        force=force,
                        checkpoint=checkpoint,
                    )
                    recorder.lock.progress |= {"step": step, "steps": event.steps}
                case Evaluation(step=step, train_acc=accuracy):
                    assert recorder is not None  # train yields Started first
                    recorder.add_metrics(event.as_row())
                    recorder.lock.progress |= {"step": step, "train_acc": accuracy}
                case Measurement():
                    assert recorder is not None
                    recorder.add_layers(event.rows())
                case Progress(step, loss):
                    assert recorder is not None
                    recorder.lock.progress |= {"step": step, "loss": loss}
                case Checkpoint(state):
                    assert recorder is not None
                    recorder.save_checkpoint(state)
                    kept = state["step"]
                case Ended():
                    if config.output.weights:
                        assert recorder is not None
                        recorder.save_weights(event.model)
                    status, step = event.status, event.step  # not before its weights are there
                    break
            yield event
        if status == "interrupted":
            reason = _stopped(step, kept)
    except NormlabError as error:
        status, reason = "failed", str(error)
        raise
    except Exception as error:
        failure, status, reason = error, "failed", _failure(error, config)
        if recorder is None:  # while the network was built
            record_failure(config, reason, time.perf_counter() - entered)
    except BaseException:
        reason = _stopped(step, kept) if status == "interrupted" else ""
        raise
    finally:
        if recorder is not None:
            with _shielded():
                seconds = time.perf_counter() - began
                summary = _summary(config, started, recorder, status, step, reason, seconds)
                recorder.finish(summary)
    if failure is not None:
        raise RunError(reason) from failure
    assert recorder is not None
    yield Finished(recorder.folder, summary)


def _stopped(step: int, kept: int) -> str:
    advice = f" The same command, without --force, goes on from step {kept}." if kept else ""
    return f"Stopped at step {step}.{advice}"


def record_failure(config: Config, reason: str, seconds: float) -> None:
    """Leave a `failed` summary where a run died without one, beside what it had measured.

    A run that is finished, or that a live process is making, is left as it is.
    """
    # What the dead process has told of its progress, in its lock or at its own end.
    lock, before = read_lock(run_folder(config)) or {}, read_summary(run_folder(config))
    steps = lock.get("progress", {}).get("step", before.steps if before else 0)
    # What cannot be written here the outcome alone must tell.
    with contextlib.suppress(NormlabError), _shielded():
        recorder = Recorder(config, device=config.runtime.device, command=command_line())
        device = config.runtime.device
        known: dict[str, Any] = {"steps": steps, "seconds": seconds, "device": device}
        summary = Summary.pending(config, "failed", reason=reason, **known)
        recorder.finish(summary, keep_tables=True)


def outcome_of(config: Config, *, force: bool, stop: Callable[[], bool]) -> Outcome:
    """Execute a run in a sweep's worker: every failure becomes an Outcome.

    A run that another process has finished since it was planned is not made again unless `force`;
    one that another is making is `busy`. `stop` is asked between steps.
    """
    began, note = time.perf_counter(), ""
    summary = read_summary(run_folder(config))
    if summary is not None and summary.final and not force:
        return Outcome.from_summary(summary, seconds=time.perf_counter() - began)
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
        return Outcome(run_id(config), status, str(error), seconds=seconds)
    raise AssertionError("execute ends with a Finished")


@contextmanager
def holding_signals() -> Iterator[Callable[[], bool]]:
    """A `stop` for `execute` that Ctrl-C and other polite ends make true; they strike on leaving.

    Until `stop` is first asked, when training goes on, they strike at once, as does another one
    `PATIENCE_SECONDS` after the first. Of the main thread.
    """
    struck: list[int] = []
    patient_until = -math.inf

    def stop() -> bool:
        nonlocal patient_until
        if not struck:
            patient_until = math.inf
        return bool(struck)

    def hold(number: int, _: object) -> None:
        nonlocal patient_until
        if time.monotonic() > patient_until:
            give_back()
            signal.raise_signal(number)
        struck.append(number)
        patient_until = min(patient_until, time.monotonic() + PATIENCE_SECONDS)

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, hold) for number in _heeded()}
    try:
        yield stop
    finally:
        give_back()
    if struck:
        signal.raise_signal(struck[0])


# A terminal or a cluster may send the same end twice.
PATIENCE_SECONDS = 2.0


def _heeded() -> list[int]:
    """The polite ends that the process does not ignore, as nohup and background shells have it.

    Nor those that another library handles in C, whose handlers cannot be given back.
    """
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    return [n for n in numbers if n and signal.getsignal(n) not in (signal.SIG_IGN, None)]


@contextmanager
def _shielded() -> Iterator[None]:
    """Put off Ctrl-C: an impatient second one must not cost what the first one keeps."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    struck: list[int] = []
    before = {n: signal.signal(n, lambda number, _: struck.append(number)) for n in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if struck:
            signal.raise_signal(struck[0])


def _summary(
    config: Config,
    started: Started,
    recorder: Recorder,
    status: str,
    step: int,
    reason: str,
    seconds: float,
) -> Summary:
    metrics, layers = recorder.frames()
    prediction = predict(config)
    ending = Ending(status, step, started.classes, started.steps_per_epoch)
    diagnosed = diagnose(config, metrics, layers, ending)
    reason = " ".join(filter(None, (reason, diagnosed.reason)))
    return Summary(
        version=SUMMARY_VERSION,
        run_id=run_id(config),
        name=describe(config),
        status=status,
        reason=reason,
        gradient_factor_theory=_finite(prediction.factor) if prediction else None,
        steps=step,
        seconds=seconds,
        parameters=started.parameters,
        layers=started.layers,
        classes=started.classes,
        device=started.device,
        config=config.model_dump(mode="json"),
        verdict=diagnosed.diagnosis,
        advice=tuple(diagnosed.advice),
        **{key: _finite(value) for key, value in diagnosed.figures().items()},
    )


def _finite(value: Any) -> Any:
    """None for a number that is not finite, as summary.json has it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _failure(error: Exception, config: Config) -> str:
    """An unforeseen error in one line, out of memory with what to do."""
    text = str(error)
    memory = ("allocate memory", "out of memory", "not enough memory")
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(m in text for m in memory):
        batch = config.training.batch_size
        return (
            f"out of memory with training.batch_size={batch}, model.width={config.model.width}, "
            f"model.depth={config.model.depth}; make one of them, or the data set, smaller"
        )
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
