"""A finished run made longer: training goes on from the weights and optimizer state that it kept.

Where the longer training's schedule begins like the shorter one's, the longer run is the run of its
own configuration, with the same weights, bit for bit, as from the start. Where it does not, the
run's configuration names the shorter one in `training.extends`, and it is another run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from normlab.config import Config, decides_id, flatten, override, with_overrides
from normlab.errors import ConfigError, RecordError
from normlab.runs.checkpoint import (
    SavedRun,
    check_state,
    checkpoint_maker,
    load_tensors,
    unlike,
)
from normlab.runs.finding import find_run
from normlab.runs.folder import STATE_FILE, Run, place_of, read_run
from normlab.runs.tables import TableName
from normlab.text import first_line, listed

if TYPE_CHECKING:
    from pandas import DataFrame

_LENGTHS = ("training.epochs", "training.steps")
_EXTENDS = "training.extends"


class Extension(NamedTuple):
    """A longer run, and what it goes on from."""

    config: Config
    start: SavedRun


def plan_extension(run: Run, overrides: Sequence[str], *, stretch: bool = False) -> Extension:
    """A run made as long as overrides say, such as `training.epochs=60`.

    With `stretch` the schedule may depend on the length: from the run's last step on it is that of
    the longer training. Raises ConfigError where that run cannot be, RecordError where what it kept
    cannot be read.
    """
    longer = _with_length(run, overrides)
    _check_alike(run.config, longer)
    start = _start(run, longer)
    steps = _steps_of(longer, run)
    if steps <= start.step:
        given = [word for word in overrides if word.startswith(_LENGTHS)]
        told = (
            f"{' '.join(given)}: makes {steps} steps" if given else "training.steps: is not given"
        )
        raise ConfigError(
            f"{told}, and {run.summary.run_id} has {start.step} already; name more, as in "
            f"training.steps={2 * start.step}"
        )
    if (other := _step_of_other_rate(longer, run, steps)) is not None:
        if not stretch:
            raise ConfigError(_other_rates(longer, run, other, steps))
        longer = with_overrides(longer, [override(_EXTENDS, run.summary.run_id)])
    return Extension(longer, start)


def start_of(config: Config) -> SavedRun:
    """What a config with `training.extends` goes on from; raises as `plan_extension` does."""
    identity = str(config.training.extends)
    try:
        run = read_run(find_run(identity, Path(config.output.root)))
    except RecordError as error:
        raise ConfigError(f"{_EXTENDS}={identity}: {error}") from error
    _check_alike(run.config, config)
    return _start(run, config)


def notes_on(start: SavedRun) -> list[str]:
    """What a person should know of the run that another goes on from."""
    origin = start.extended_from or {}
    if not origin.get("unlike"):
        return []
    return [
        f"the first {start.step} steps, those of {origin['run_id']}, were made with another "
        f"{listed(origin['unlike'])}; the last bits may differ from a training from the start"
    ]


def _with_length(run: Run, overrides: Sequence[str]) -> Config:
    """The run's config where it lies now, with overrides; epochs that are given replace steps."""
    root, experiment = place_of(run.folder)
    place = [override("output.root", str(root)), override("output.experiment", experiment)]
    given = [*place, *overrides]
    keys = {word.partition("=")[0] for word in overrides}
    if "training.epochs" in keys and "training.steps" not in keys:
        given.append("training.steps=null")
    return with_overrides(run.config, given)


def _check_alike(run: Config, longer: Config) -> None:
    """Raise ConfigError where another key than the length decides another training."""
    before, after = (dict(flatten(c.model_dump(mode="json"))) for c in (run, longer))
    for key in {**before, **after}:
        free = key in (*_LENGTHS, _EXTENDS) or not decides_id(key)
        if not free and before.get(key) != after.get(key):
            raise ConfigError(
                f"{key.removesuffix('.name')}={after.get(key)}: a run that is made longer keeps "
                f"all but training.epochs and training.steps; it has {before.get(key)}"
            )


def _start(run: Run, longer: Config) -> SavedRun:
    """The state that a run kept, and its rows before its last step."""
    from normlab.training import select_device

    identity, device = run.summary.run_id, str(select_device(longer.runtime.device))
    content = _kept(run)
    here = checkpoint_maker(longer, device)
    other = [key for key in unlike(content["maker"], here) if key != "run"]
    if "data_sha256" in other:
        raise ConfigError(
            f"{identity}: was made of other data than are there now; run it again with "
            "output.keep=true --force"
        )
    state = content["state"]
    origin = {"run_id": identity, "step": state["step"], "unlike": other}
    step = state["step"]
    rows: dict[TableName, DataFrame] = {
        "metrics": _until(run.metrics, step),
        "layers": _until(run.layers, step),
    }
    return SavedRun(state, {}, origin, rows)


def _until(frame: "DataFrame", step: int) -> "DataFrame":
    """The rows before a step, which is measured again as the longer training does."""
    return frame[frame["step"] < step]


def _kept(run: Run) -> dict[str, Any]:
    """What state.pt holds; raises ConfigError where there is none, RecordError where it is
    damaged."""
    identity, status = run.summary.run_id, run.summary.status
    if status != "finished":
        why = {
            "stopped": "at training.stop_value, where a longer training stops too",
            "diverged": "and has no weights to go on from",
        }
        raise ConfigError(
            f"{identity}: has {status}, {why[status]}"
            if status in why
            else f"{identity}: is {status}; the command that made it goes on with it"
        )
    if not run.summary.steps:
        raise ConfigError(
            f"{identity}: has made no step to go on from; make the longer run with normlab run"
        )
    file = run.folder / STATE_FILE
    again = "run it again with output.keep=true --force"
    try:
        content = load_tensors(file)
        if not isinstance(content, dict) or set(content) != {"maker", "state"}:
            raise ValueError("not normlab's")
        check_state(content["state"])
        if content["maker"]["run"] != identity or content["state"]["step"] != run.summary.steps:
            raise ValueError("of another run")
    except FileNotFoundError as error:
        raise ConfigError(f"{identity}: kept no {STATE_FILE} to go on from; {again}") from error
    except Exception as error:  # torch.load names no kinds of its own
        raise RecordError(f"{file}: damaged ({first_line(error)[:80]}); {again}") from error
    return content


def _steps_of(longer: Config, run: Run) -> int:
    """How many steps a longer run has; an epoch is as long as it was."""
    training = longer.training
    if training.steps is not None:
        return training.steps
    assert training.epochs is not None  # Config refuses it
    return training.epochs * (steps_per_epoch(run) or 0)


def steps_per_epoch(run: Run) -> int | None:
    """How many steps an epoch of a run has, by its evaluations; None where they do not tell."""
    later = run.metrics[run.metrics["epoch"] > 0]
    if not len(later):
        return None
    return round(float(later["step"].iloc[0] / later["epoch"].iloc[0]))


def _step_of_other_rate(longer: Config, run: Run, steps: int) -> int | None:
    """The first step of a run whose rate is not that of the longer training; None where all are.

    The steps that the run got from another, with another schedule, are no part of its own.
    """
    made = run.summary.steps or 0
    own = (run.summary.extended_at or 0) if longer.training.extends else 0
    factor = longer.schedule.factor
    return next((s for s in range(own, made) if factor(s, made) != factor(s, steps)), None)


def _other_rates(longer: Config, run: Run, step: int, steps: int) -> str:
    made, factor = run.summary.steps or 0, longer.schedule.factor
    before, after = (longer.optimizer.lr * factor(step, total) for total in (made, steps))
    return (
        f"schedule={longer.schedule.name}: depends on the length, at step {step} the rate is "
        f"{before:.4g} of {made} steps and {after:.4g} of {steps}, so that no longer training "
        f"begins like this one; --stretch goes on by the rates of {steps} steps, as another run"
    )
