"""Runs as offline runs of Weights & Biases, in the folder `wandb` of a folder; nothing is uploaded.

A run that is there already is left as it is, and one that was made anew replaces its older self.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.analysis.exports.registry import EXPORTS, Exported, ExportKind, Selection
from normlab.errors import RecordError
from normlab.text import first_line

if TYPE_CHECKING:
    from normlab.analysis.exports.runs import NamedRun

_MADE = "normlab.json"  # in an offline run's folder, written last: which run it is, as it was made


def _write(selection: Selection) -> Exported:
    from normlab.analysis.exports.runs import named_runs
    from normlab.runs import unwritable

    place = Path(selection.place)
    try:
        (place / "wandb").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(place / "wandb", error) from error
    runs = values = kept = 0
    with _quiet():
        for named in named_runs(selection):
            if _is_there(place, named):
                kept += 1
                continue
            values += _log(place, named)
            runs += 1
    return Exported(runs, values, str(place / "wandb"), kept)


def _is_there(place: Path, named: "NamedRun") -> bool:
    """Whether a run is whole there as it is now; what is left of an older one is removed."""
    there = False
    for folder in place.glob(f"wandb/offline-run-*-{named.summary.run_id}"):
        made: dict[str, object] = {}
        with contextlib.suppress(OSError, ValueError):
            made = json.loads((folder / _MADE).read_text(encoding="utf-8"))
        if made == _made(named):
            there = True
        elif made.get("experiment") in (None, named.experiment):  # not finished, or older
            shutil.rmtree(folder, ignore_errors=True)
    return there


def _made(named: "NamedRun") -> dict[str, object]:
    """What tells a run, as it was made, from all others."""
    known = {"experiment": named.experiment, "started": named.started}
    return {"run_id": named.summary.run_id, **known}


def _log(place: Path, named: "NamedRun") -> int:
    """Write one run; how many values it has."""
    with _wandb_errors(place):
        import wandb

        summary, values = named.summary, 0
        settings = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
        run = wandb.init(
            project=named.experiment,
            id=named.summary.run_id,
            name=named.name,
            config=named.settings(),
            dir=str(place),
            mode="offline",
            settings=settings,
        )
        folder = Path(run.dir).parent
        for at in named.steps():
            run.log(at.values, step=at.step)
            values += len(at.values)
        run.summary.update(named.words())
        run.finish(exit_code=1 if summary.status == "failed" else 0)
        (folder / _MADE).write_text(json.dumps(_made(named)), encoding="utf-8")
    return values


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is printed, and nothing sent, as wandb would its own errors; the process that it
    starts beside this one ends with it."""
    told = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
    before = {key: os.environ.get(key) for key in told}
    os.environ.update(told)
    try:
        yield
        if wandb := sys.modules.get("wandb"):
            wandb.teardown()
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextlib.contextmanager
def _wandb_errors(place: Path) -> Iterator[None]:
    import wandb

    try:
        yield
    except (wandb.Error, OSError) as error:
        raise RecordError(f"-o {place}: wandb cannot write it ({first_line(error)})") from error


EXPORTS.add(
    "wandb",
    ExportKind(
        _write,
        place=lambda _: ".",
        unit="value",
        library="wandb",
        look=lambda place: f"wandb sync {place}/offline-run-*",
    ),
)
