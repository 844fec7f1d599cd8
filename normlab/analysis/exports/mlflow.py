"""Runs in a local store of MLflow, without a server: metrics by step, parameters, and the verdict.

A run that is there already is left as it is, and one that was made anew replaces its older self.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.analysis.exports.registry import EXPORTS, Exported, ExportKind, Selection
from normlab.errors import ConfigError, RecordError
from normlab.text import first_line

if TYPE_CHECKING:
    from normlab.analysis.exports.runs import NamedRun

_RUN, _STARTED = "normlab.run_id", "normlab.started"
# Of one call; MLflow takes no more.
_MOST_METRICS, _MOST_OTHERS = 1000, 100


def _write(selection: Selection) -> Exported:
    uri = _store(selection.place)
    runs = values = kept = 0
    with _mlflow_errors(selection.place):
        from mlflow.tracking import MlflowClient

        from normlab.analysis.exports.runs import named_runs

        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        experiments: dict[str, str] = {}
        for named in named_runs(selection):
            name = named.experiment
            experiments[name] = experiments.get(name) or _experiment(client, name)
            if _is_there(client, experiments[name], named):
                kept += 1
                continue
            values += _log(client, experiments[name], named)
            runs += 1
    return Exported(runs, values, selection.place, kept)


def _store(place: str) -> str:
    """The URI of a store: of SQLite, a file that ends in .db, or a folder.

    Raises ConfigError for one that is not on this machine.
    """
    # Nothing is sent anywhere by itself.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it tells of tables that it makes
    scheme, separator, _ = place.partition("://")
    if separator and scheme not in ("sqlite", "file"):
        raise ConfigError(
            f"-o {place}: not a store on this machine; choices: FILE.db, sqlite:///FILE.db, FOLDER"
        )
    if separator:
        return place
    if place.endswith(".db"):
        return f"sqlite:///{place}"
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow 3 advises against
    return str(Path(place).absolute())


@contextlib.contextmanager
def _mlflow_errors(place: str) -> Iterator[None]:
    """What MLflow, or the database below it, refuses, in one line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, ImportError) as error:
        raise RecordError(f"-o {place}: MLflow cannot write it ({first_line(error)})") from error


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _is_there(client: Any, experiment: str, named: "NamedRun") -> bool:
    """Whether a run is whole there as it is now; what is left of an older one is removed."""
    same = f"tags.`{_RUN}` = '{named.summary.run_id}'"
    there = False
    for run in client.search_runs([experiment], same):
        whole = run.info.status in ("FINISHED", "FAILED")
        if whole and run.data.tags.get(_STARTED) == str(named.started) and not there:
            there = True
        else:
            client.delete_run(run.info.run_id)
    return there


def _log(client: Any, experiment: str, named: "NamedRun") -> int:
    """Write one run; how many values it has."""
    from mlflow.entities import Metric, Param, RunTag

    summary, began = named.summary, named.started
    tags = {_RUN: summary.run_id, _STARTED: str(named.started), **named.words()}
    made = client.create_run(experiment, round(began * 1000), run_name=named.name, tags=tags)
    identity = made.info.run_id
    params = [Param(key, str(value)) for key, value in named.settings().items()]
    note = [RunTag("mlflow.note.content", named.words().get("reason", ""))]
    metrics = [
        Metric(tag, value, round((began + at.seconds) * 1000), at.step)
        for at in named.steps()
        for tag, value in at.values.items()
    ]
    client.log_batch(identity, tags=note)
    for start in range(0, len(params), _MOST_OTHERS):
        client.log_batch(identity, params=params[start : start + _MOST_OTHERS])
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(identity, metrics=metrics[start : start + _MOST_METRICS])
    ended = round((began + (summary.seconds or 0.0)) * 1000)
    client.set_terminated(identity, "FAILED" if summary.status == "failed" else "FINISHED", ended)
    return len(metrics)


EXPORTS.add(
    "mlflow",
    ExportKind(
        _write,
        place=lambda _: "mlflow.db",
        unit="value",
        library="mlflow",
        look=lambda place: f"mlflow ui --backend-store-uri {_shown(place)}",
    ),
)


def _shown(place: str) -> str:
    return f"sqlite:///{place}" if place.endswith(".db") and "://" not in place else place
