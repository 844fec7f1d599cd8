"""A run as lines of JSON, an object a line: its events while it is made, and again from its files.

Each object has its kind in `event` and the run's id in `run_id`. In order of steps, at one step the
evaluation before the layers: `started`, `evaluation`, `layer` and, while a run goes on, `progress`;
`end` is the last. What is not finite, or was not measured at a step, is None.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.config import Config, describe, run_id
from normlab.runs.extending import steps_per_epoch
from normlab.runs.folder import Run, WatchedRun, lacks_kept, run_folder
from normlab.runs.replacing import working_folder
from normlab.runs.summary import Summary
from normlab.runs.tables import columns_of, read_rows

if TYPE_CHECKING:
    from pandas import DataFrame

    from normlab.runs.execution import Finished, Note
    from normlab.training import Event

# Counted up when a key changes its meaning or goes, as of summary.json.
LINES_VERSION = 1
PROGRESS_SECONDS = 1.0

Line = dict[str, Any]


def lines_of_run(run: Run | WatchedRun) -> Iterator[Line]:
    """The lines of a run that has ended, as they were while it was made, but for `progress`; those
    of a training that was watched tell what is known of it in place of a config."""
    summary = run.summary
    known = {key: getattr(summary, key) for key in ("device", "parameters", "layers", "classes")}
    if isinstance(run, Run):
        yield _started(run.config, run.folder, {**known, "steps": _planned_steps(run)})
        columns = columns_of(run.config, "metrics"), columns_of(run.config, "layers")
    else:
        known["steps"] = summary.steps
        yield _beginning(summary.run_id, summary.name, run.folder, known, summary.config)
        columns = tuple(map(str, run.metrics)), tuple(map(str, run.layers))
    yield from _rows(summary.run_id, run.metrics, run.layers, columns)
    yield end_line(summary)


def lines_of_events(
    events: "Iterable[Event | Note | Finished]", config: Config, *, force: bool = False
) -> "Iterator[tuple[Event | Note | Finished, list[Line]]]":
    """Each event of `execute` with the lines that it makes.

    A run that goes on from a checkpoint begins with the lines of the rows that it has already.
    """
    from normlab.runs.execution import Finished
    from normlab.training import Evaluation, Measurement, Progress, Started

    identity, columns = run_id(config), columns_of(config, "layers")
    told = time.monotonic()
    for event in events:
        lines: list[Line] = []
        match event:
            case Started():
                known = {
                    key: getattr(event, key)
                    for key in ("device", "parameters", "layers", "classes", "steps")
                }
                lines.append(_started(config, run_folder(config), known))
                if event.resumed:
                    lines += _rows_so_far(config, force=force)
            case Evaluation():
                lines.append(_line("evaluation", identity, event.as_row()))
            case Measurement():
                lines += [_line("layer", identity, row, columns) for row in event.rows()]
            case Progress(step, batch_loss) if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                lines.append(_line("progress", identity, {"step": step, "batch_loss": batch_loss}))
            case Finished():
                lines.append(end_line(event.summary))
        yield event, lines


def end_line(summary: Summary) -> Line:
    """The last line: what summary.json says."""
    return {"event": "end", "run_id": summary.run_id, "summary": summary.to_plain()}


def _started(config: Config, folder: Path, known: Mapping[str, Any]) -> Line:
    plain = config.model_dump(mode="json")
    return _beginning(run_id(config), describe(config), folder, known, plain)


def _beginning(
    identity: str,
    name: str,
    folder: Path,
    known: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> Line:
    return {
        "event": "started",
        "version": LINES_VERSION,
        "run_id": identity,
        "name": name,
        "folder": str(folder),
        **known,
        "config": config,
    }


def _line(
    event: str, identity: str, row: Mapping[str, Any], columns: Iterable[str] | None = None
) -> Line:
    """A row under its kind, with every column where these are named."""
    values = row if columns is None else {key: row.get(key) for key in columns}
    return {"event": event, "run_id": identity, **values}


def _planned_steps(run: Run) -> int | None:
    """How many steps a run was to have; None where its rows do not tell."""
    training = run.config.training
    if training.steps is not None or training.epochs == 0:
        return training.steps or 0
    in_epoch = steps_per_epoch(run)
    return None if training.epochs is None or in_epoch is None else training.epochs * in_epoch


def _rows_so_far(config: Config, *, force: bool) -> Iterator[Line]:
    again = force or lacks_kept(config)
    place = working_folder(run_folder(config), force=again)
    with contextlib.suppress(OSError, ValueError):  # no rows yet
        columns = columns_of(config, "metrics"), columns_of(config, "layers")
        tables = read_rows(place, "metrics"), read_rows(place, "layers")
        yield from _rows(run_id(config), *tables, columns)


def _rows(
    identity: str,
    metrics: "DataFrame",
    layers: "DataFrame",
    columns: tuple[Sequence[str], Sequence[str]],
) -> Iterator[Line]:
    """The rows of both tables in order of steps, with these columns."""
    evaluations = {row["step"]: row for row in _records(metrics)}
    measured = dict(iter(layers.groupby("step", sort=False)))
    of_metrics, of_layers = columns
    for step in sorted({*evaluations, *measured}):
        if step in evaluations:
            yield _line("evaluation", identity, evaluations[step], of_metrics)
        if step in measured:
            for row in _records(measured[step]):
                yield _line("layer", identity, row, of_layers)


def _records(frame: "DataFrame") -> list[Line]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
