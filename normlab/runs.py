"""One run from config to finished folder: training, records and diagnosis together."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from normlab.config import Config, describe, run_id
from normlab.diagnosis import diagnose
from normlab.errors import NormlabError, RunError
from normlab.records import Recorder, command_line
from normlab.training import Ended, Evaluation, Event, Measurement, Progress, Started, train


@dataclass(frozen=True)
class Finished:
    """The run's files are whole; `summary` is the content of summary.json."""

    folder: Path
    summary: dict[str, Any]


def execute(config: Config) -> Iterator[Event | Finished]:
    """Train, record every event, and end with a Finished.

    A run that is interrupted or fails keeps what was measured and says so in its summary. Raises
    RunError where it fails while running; what `train` and `Recorder` raise comes through.
    """
    recorder: Recorder | None = None
    status, step, reason = "interrupted", 0, "stopped before its end"
    failure: Exception | None = None
    try:
        for event in train(config):
            match event:
                case Started():
                    started, began = event, time.perf_counter()
                    recorder = Recorder(config, device=event.device, command=command_line())
                case Evaluation(row):
                    assert recorder is not None  # train yields Started first
                    recorder.add_metrics(row)
                    step = row["step"]
                case Measurement(rows):
                    assert recorder is not None
                    recorder.add_layers(rows)
                case Progress(step):
                    pass
                case Ended(status, step):
                    reason = ""
                    break
            yield event
    except NormlabError as error:
        status, reason = "failed", str(error)
        raise
    except Exception as error:
        failure, status, reason = error, "failed", _failure(error, config)
    finally:
        if recorder is not None:
            summary = _summary(config, started, recorder, status, step, reason)
            summary["seconds"] = time.perf_counter() - began
            recorder.finish(summary)
    if failure is not None:
        raise RunError(reason) from failure
    assert recorder is not None
    yield Finished(recorder.folder, summary)


def _summary(
    config: Config, started: Started, recorder: Recorder, status: str, step: int, reason: str
) -> dict[str, Any]:
    metrics, layers = recorder.frames()
    diagnosis = diagnose(
        config,
        metrics,
        layers,
        status=status,
        step=step,
        classes=started.classes,
        steps_per_epoch=started.steps_per_epoch,
    )
    return {
        "run_id": run_id(config),
        "name": describe(config),
        "status": status,
        "verdict": diagnosis.pop("verdict"),
        "reason": diagnosis.pop("reason") or reason,
        **diagnosis,
        "steps": step,
        "seconds": 0.0,
        "parameters": started.parameters,
        "layers": started.layers,
        "classes": started.classes,
        "device": started.device,
    }


def _failure(error: Exception, config: Config) -> str:
    """An unforeseen error in one line, out of memory with what to do."""
    text = str(error)
    memory = ("allocate memory", "out of memory", "not enough memory")
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(m in text for m in memory):
        batch = config.training.batch_size
        return (
            f"out of memory with training.batch_size={batch}, model.width={config.model.width}, "
            f"model.depth={config.model.depth}; make one of them smaller"
        )
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
