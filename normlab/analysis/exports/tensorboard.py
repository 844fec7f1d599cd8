"""Runs as TensorBoard's event files: a folder each, with scalars, hyperparameters and the verdict.

A file has its run's start and id in its name, so that a second export writes the same files again
and, where a run got another name meanwhile, removes the one under the old name.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.analysis.exports.registry import EXPORTS, Exported, ExportKind, Selection

if TYPE_CHECKING:
    from normlab.analysis.exports.runs import NamedRun, StepValues

_EVENTS = "events.out.tfevents"
_MADE_BY = "normlab"
_VERSION = "brain.Event:2"  # of the format, which its first event tells


def _write(selection: Selection) -> Exported:
    from normlab.analysis.exports.runs import named_runs

    root, runs, values = Path(selection.place), 0, 0
    older = _files_of_runs(root)
    for named in named_runs(selection):
        identity = f"{_MADE_BY}.{named.summary.run_id}"
        folder = root / named.experiment / named.name.replace("/", "-")
        file = folder / f"{_EVENTS}.{int(named.started)}.{identity}"
        steps = list(named.steps())
        values += sum(len(at.values) for at in steps)
        _write_events(file, _events_of(named, steps))
        for other in older.get((named.experiment, identity), ()):
            if other != file:
                _remove(other)
        runs += 1
    _write_events(root / f"{_EVENTS}.0.{_MADE_BY}", [_columns_event(selection)])
    return Exported(runs, values, selection.place)


def _files_of_runs(root: Path) -> dict[tuple[str, str], list[Path]]:
    """The files of earlier exports by experiment and run."""
    found: dict[tuple[str, str], list[Path]] = {}
    for file in root.glob(f"*/*/{_EVENTS}.*.{_MADE_BY}.*"):
        identity = ".".join(file.name.rsplit(".", 2)[1:])
        found.setdefault((file.parent.parent.name, identity), []).append(file)
    return found


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
        file.parent.rmdir()  # unless somebody else's files are in it


def _write_events(file: Path, events: Iterable[Any]) -> None:
    """Write an event file whole; raises RecordError where it cannot be written."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    from normlab.runs import unwritable, write_whole

    def write(path: Path) -> None:
        with path.open("wb") as opened:
            records = RecordWriter(opened)
            for number, event in enumerate(events):
                if not number:
                    first = Event(wall_time=event.wall_time, file_version=_VERSION)
                    records.write(first.SerializeToString())
                records.write(event.SerializeToString())

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(file.parent, error) from error
    write_whole(file, write)


def _events_of(named: "NamedRun", steps: "Iterable[StepValues]") -> Iterator[Any]:
    """Hyperparameters, the values of every step, and at the last one how the run ended."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.text.summary_v2 import text_pb

    summary, began = named.summary, named.started
    ended = began + (summary.seconds or 0.0)
    about = hparams_pb(named.settings(), trial_id=summary.run_id, start_time_secs=began)
    yield Event(wall_time=began, step=0, summary=about)
    last = 0
    for at in steps:
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in at.values.items()]
        yield Event(wall_time=began + at.seconds, step=at.step, summary=Summary(value=scalars))
        last = at.step
    told = text_pb("verdict", _markdown(named))
    yield Event(wall_time=ended, step=last, summary=told)
    yield Event(wall_time=ended, step=last, summary=_end_pb(summary.status == "failed", ended))


def _end_pb(failed: bool, ended: float) -> Any:
    """How a run ended."""
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

    status = Status.STATUS_FAILURE if failed else Status.STATUS_SUCCESS
    end = SessionEndInfo(status=status, end_time_secs=ended)
    return _hparams_pb(metadata.SESSION_END_INFO_TAG, session_end_info=end)


def _hparams_pb(tag: str, **about: Any) -> Any:
    """A summary for the table of hyperparameters; TensorBoard's own functions for most of them need
    TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    described = metadata.create_summary_metadata(HParamsPluginData(**about))
    value = Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _markdown(named: "NamedRun") -> str:
    words = named.words()
    reason = words.pop("reason", "")
    table = "\n".join(f"| {key} | {value} |" for key, value in words.items())
    return f"|  |  |\n|---|---|\n{table}\n\n{reason}"


def _columns_event(selection: Selection) -> Any:
    """What the table of hyperparameters shows: the settings that vary among the runs that were
    exported last, and the scores.

    Without it TensorBoard would give every layer's values a column.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Experiment, HParamInfo, MetricInfo, MetricName

    from normlab.analysis.exports.runs import SCORES
    from normlab.analysis.keys import SEEDS, seeds_beside, varying

    frame = selection.runs
    columns = Experiment(
        hparam_infos=[
            HParamInfo(name=key, type=_type_of(frame[key].tolist()), differs=True)
            for key in (*varying(frame), SEEDS[0], *seeds_beside(frame))
        ],
        metric_infos=[MetricInfo(name=MetricName(tag=score)) for score in SCORES],
    )
    summary = _hparams_pb(metadata.EXPERIMENT_TAG, experiment=columns)
    return Event(wall_time=0, step=0, summary=summary)


def _type_of(values: list[Any]) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import DataType

    if all(isinstance(value, bool) for value in values):
        return DataType.DATA_TYPE_BOOL
    numbers = all(isinstance(value, int | float) for value in values)
    return DataType.DATA_TYPE_FLOAT64 if numbers else DataType.DATA_TYPE_STRING


EXPORTS.add(
    "tensorboard",
    ExportKind(
        _write,
        place=lambda _: "tensorboard",
        unit="value",
        library="tensorboard",
        look=lambda place: f"tensorboard --logdir {place}",
    ),
)
