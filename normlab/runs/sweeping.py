"""A sweep: overrides to a list of configs, without what is finished; then their outcomes."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normlab.config import Config, Grid, check_batch_size, compose_grids, flatten, run_id
from normlab.errors import ConfigError, DataError
from normlab.runs.estimates import Known, Work, estimate, finished_runs
from normlab.runs.finding import finished_elsewhere, made_with_other_plugins
from normlab.runs.folder import lacks_kept, run_folder
from normlab.runs.holding import remove_leftovers
from normlab.runs.launchers import launch
from normlab.runs.locks import is_held
from normlab.runs.outcomes import Outcome, recorded_outcome
from normlab.runs.provenance import of_other_data
from normlab.runs.summary import Summary, read_summary
from normlab.vocabulary import FINAL

BUSY_SECONDS = 2.0


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do."""

    configs: tuple[Config, ...]  # every run once, in the order of its grids
    pending: tuple[Config, ...]  # to be run
    finished: int  # finished or diverged before
    failed: int  # failed before and left alone
    merged: int  # points of the grids that are the same run as another, of other output or runtime
    known: Known  # what finished runs took, by which the pending ones are estimated
    equal: int = 0  # points that are equal to another in everything
    elsewhere: tuple[Path, ...] = ()  # finished runs of other experiments that are to be made again
    weightless: int = 0  # finished runs that are to be made again for what they are to keep
    of_other_data: int = 0  # finished runs of other data than are there now
    of_other_plugins: int = 0  # runs to make that were made with another source of a plugin

    @property
    def seconds(self) -> float:
        """Estimate of the pending runs' own time together, but for those that no finished run tells
        of; NaN where that is all of them."""
        times = [count * estimate(work, self.known) for work, count in self._works().items()]
        return sum(times) if times or not self.pending else math.nan

    @property
    def unlike(self) -> int:
        """How many of the pending runs no finished run tells the time of."""
        return len(self.pending) - sum(self._works().values())

    def _works(self) -> dict[Work, int]:
        """The kinds of work that finished runs tell of, and how many pending runs are of each."""
        works = Counter(map(Work.of, self.pending))
        told = [work for work in works if any(known.tells_of(work) for known in self.known)]
        return {work: works[work] for work in told}


def plan(
    grids: Sequence[Grid],
    config_dir: Path | None = None,
    *,
    force: bool = False,
    retry_failed: bool = False,
) -> Plan:
    """Compose every run, look which are finished, and estimate the rest; writes nothing.

    Raises ConfigError where a combination cannot be, a batch is larger than a training set whose
    size is known, or nothing is left of the grids.
    """
    points = list(compose_grids(grids, config_dir))
    if not points:
        raise ConfigError("the sweep is empty: one of its overrides has no value")
    samples = {data: data.training_samples() for data in {config.data for config in points}}
    for config in points:
        if (known := samples[config.data]) is not None:
            check_batch_size(config.training.batch_size, known)
    return plan_configs(points, force=force, retry_failed=retry_failed)


def plan_configs(
    points: Sequence[Config], *, force: bool = False, retry_failed: bool = False
) -> Plan:
    """The plan of configs, at least one, that are composed already."""
    same: dict[str, list[Config]] = {}  # different points of one run
    for config in points:
        points_of_run = same.setdefault(run_id(config), [])
        if config not in points_of_run:
            points_of_run.append(config)
    distinct = sum(map(len, same.values()))
    unique = {identity: configs[-1] for identity, configs in same.items()}
    summaries = {identity: read_summary(run_folder(c)) for identity, c in unique.items()}
    pending: list[Config] = []
    finished: list[tuple[Config, Summary]] = []
    states: Counter[str] = Counter()
    for identity, config in unique.items():
        summary = summaries[identity]
        status = summary.status if summary else "missing"
        if status in FINAL and lacks_kept(config):
            status = "weightless"
        states[status] += 1
        if summary and status in FINAL:
            finished.append((config, summary))
        again = force or (status == "failed" and retry_failed)
        if again or (status not in FINAL and status != "failed"):
            pending.append(config)
    known = finished_runs(next(iter(unique.values())).output.root) if pending else {}
    return Plan(
        configs=tuple(unique.values()),
        pending=tuple(pending),
        of_other_data=0 if force else of_other_data(finished),
        weightless=0 if force else states["weightless"],
        finished=len(finished) if not force else 0,
        failed=0 if force or retry_failed else states["failed"],
        merged=distinct - len(unique),
        known=known,
        equal=len(points) - distinct,
        elsewhere=() if force else tuple(finished_elsewhere(pending)),
        of_other_plugins=0 if force else len(made_with_other_plugins(pending)),
    )


def without_data(configs: Sequence[Config]) -> dict[str, DataError]:
    """Of runs on this machine those whose data cannot be had, by id, with the reason.

    What can be downloaded then is, once and before any of the runs.
    """
    faults: dict[tuple[Any, ...], DataError | None] = {}
    found = {}
    for config in configs:
        place = config.data.source_key
        if place not in faults and config.launcher.on_this_machine:
            faults[place] = None
            try:
                config.data.fetch()
            except DataError as error:
                faults[place] = error
        fault = faults.get(place)
        if fault is not None:
            found[run_id(config)] = fault
    return found


def sweep(
    plan: Plan,
    *,
    force: bool = False,
    fail_fast: bool = False,
    waiting: Callable[[int], object] = lambda _: None,
) -> Generator[Outcome, None, None]:
    """Run what is pending and yield outcomes as they arrive.

    A run that another process is making is waited for: its outcome is what that one records, and
    only where it records none, or with `force`, the run is made after it. `waiting` is called with
    the number of such runs when nothing else is left. With `fail_fast` the first failure is the
    last outcome. Closing the generator, as that does, stops the runs that are going on.
    """
    for config in plan.configs:
        remove_leftovers(run_folder(config))
    with contextlib.closing(_outcomes(plan.pending, force, waiting)) as outcomes:
        for outcome in outcomes:
            yield outcome
            if fail_fast and outcome.status == "failed":
                return


def _outcomes(
    configs: Sequence[Config], force: bool, waiting: Callable[[int], object]
) -> Generator[Outcome, None, None]:
    left, announced = list(configs), 0
    busy: list[Config] = []
    while left or busy:
        if left:
            named = {run_id(config): config for config in left}
            left = []
            with contextlib.closing(launch(list(named.values()), force=force)) as outcomes:
                for outcome in outcomes:
                    if outcome.status == "busy":
                        busy.append(named[outcome.run_id])
                    else:
                        yield outcome
            continue
        if len(busy) != announced:
            announced = len(busy)
            waiting(announced)
        # Looked at from here: a launch starts workers, or puts a job into a cluster's queue.
        time.sleep(BUSY_SECONDS)
        looked_at, busy = busy, []
        for config in looked_at:
            if is_held(run_folder(config)):
                busy.append(config)
            elif not force and (recorded := recorded_outcome(config, (*FINAL, "failed"))):
                yield recorded
            else:
                left.append(config)


def labels(configs: Sequence[Config]) -> dict[str, str]:
    """Each run by what sets it apart in its experiment, such as `norm=bn depth=56`, by run id."""
    experiments: dict[str, list[Config]] = {}
    for config in configs:
        experiments.setdefault(config.output.experiment, []).append(config)
    if len(experiments) == 1:
        return _labels_in_experiment(configs)
    return {
        identity: f"{name} {label}".removesuffix(f" {identity}")
        for name, own in experiments.items()
        for identity, label in _labels_in_experiment(own).items()
    }


def _labels_in_experiment(configs: Sequence[Config]) -> dict[str, str]:
    flat = {run_id(config): _settings(config) for config in configs}
    values: dict[str, set[str]] = {}
    for settings in flat.values():
        for key, value in settings.items():
            values.setdefault(key, set()).add(str(value))
    varying = [key for key, found in values.items() if len(found) > 1]
    plain = {key: key.removesuffix(".name") for key in varying}
    ends = Counter(key.rpartition(".")[2] for key in plain.values())
    short = {
        key: end if ends[end := name.rpartition(".")[2]] == 1 else name
        for key, name in plain.items()
    }
    return {
        identity: " ".join(
            f"{short[key]}={_value_text(settings[key])}" for key in varying if key in settings
        )
        or identity
        for identity, settings in flat.items()
    }


def _settings(config: Config) -> dict[str, Any]:
    """The settings by which a run may be known; data that are found by a path go by their name."""
    values = config.model_dump(mode="json", exclude={"runtime", "launcher"})
    told = config.data.told_by_files
    data = {key: value for key, value in values["data"].items() if key not in told}
    if told:
        data |= dict.fromkeys(config.data.outside_identity & data.keys(), config.data.title)
    return dict(flatten({**values, "data": data}))


def _value_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
