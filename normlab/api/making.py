"""Runs made, one and many."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Each of these loads what it needs when it is first asked for it.
from normlab import config, networks, show, training
from normlab import runs as run_files
from normlab.api.arguments import takes_texts
from normlab.api.many_runs import Results, results_of
from normlab.api.one_run import Run, read_run
from normlab.api.places import RESULTS, Place, ignore
from normlab.api.progress import console_for
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from normlab.config import Config
    from normlab.runs import Extension, Finished, Note, Outcome, Plan, SavedRun
    from normlab.training import Event

# ------------------------------------------------------------------------------ one run


@takes_texts
def compose(*overrides: str, config_dir: Path | None = None) -> "Config":
    """The configuration that settings name; raises ConfigError where it cannot be."""
    return config.compose(overrides, config_dir)


@takes_texts
def model(*overrides: str, config_dir: Path | None = None) -> "Module":
    """The network that settings name, with the weights that `run` begins with, on the CPU."""
    import torch

    named = compose(*overrides, config_dir=config_dir)
    data = named.data.load(torch.device("cpu"))
    stream = training.random_stream(named.seed, "init")
    return networks.build_model(named, data.shape, data.classes, stream)


@takes_texts
def run(
    *overrides: str,
    config_dir: Path | None = None,
    force: bool = False,
    progress: bool | None = None,
) -> Run:
    """Train one network and measure every layer; a finished run is read, unless `force`.

    While it goes on, it is shown on a terminal's stderr and in a notebook; `progress` says so or
    not. Raises ConfigError for settings that cannot be, BusyError where the run is being made
    elsewhere, RunError where it fails. After a Ctrl-C the same call goes on from there.
    """
    named = compose(*overrides, config_dir=config_dir)
    made = None if force else finished_run(named)
    if made is None:
        made = _run_shown(named, progress, force=force)
    return Run(made.folder, made)


def finished_run(named: "Config") -> "run_files.Run | None":
    """The run of a configuration from its files, or None where it is not finished, or kept no
    weights where the configuration asks for them."""
    folder = run_files.run_folder(named)
    run_files.remove_leftovers(folder)
    if not run_files.is_final(folder) or run_files.lacks_kept(named):
        return None
    return run_files.read_run(folder)


def run_config(
    named: "Config",
    *,
    force: bool = False,
    start: "SavedRun | None" = None,
    follow: "Callable[[Iterator[Event | Note | Finished]], Finished] | None" = None,
) -> "run_files.Run":
    """Make the run of a configuration; `follow` goes through its events and returns the last.

    One that was interrupted goes on from its checkpoint, unless `force`, and one that has none from
    `start`, as `plan_extension` has it. Raises BusyError where it is being made elsewhere or,
    unless `force`, is finished; RunError where it fails.
    """
    with _signals_as_stop() as stop:
        events = run_files.execute(named, force=force, start=start, stop=stop)
        # Closed here, wherever Ctrl-C was struck, so that its files are whole when this is left.
        with contextlib.closing(events):
            finished = (follow or _last)(events)
    return finished.run


def _run_shown(
    named: "Config",
    progress: bool | None,
    *,
    force: bool = False,
    start: "SavedRun | None" = None,
) -> "run_files.Run":
    """Make the run of a configuration and show it as it goes on, where that is looked at."""
    console = console_for(progress)
    name = config.describe(named)
    return run_config(
        named,
        force=force,
        start=start,
        follow=None if console is None else lambda events: show.watch(events, console, name),
    )


@takes_texts
def extend(
    run: Run | Place,
    *overrides: str,
    root: Place = RESULTS,
    stretch: bool = False,
    progress: bool | None = None,
) -> Run:
    """Make a finished run longer, such as by `training.epochs=60`, from what it kept with
    `output.keep=true`; a longer one that is finished is read.

    It is a Run, a folder or the start of an id below `root`. With `stretch` a schedule that depends
    on the length goes on as that of the longer training, and it is another run. Raises ConfigError
    where that run cannot be, RecordError where what was kept is damaged.
    """
    planned = plan_extension(run, *overrides, root=root, stretch=stretch)
    made = finished_run(planned.config)
    if made is None:
        made = _run_shown(planned.config, progress, start=planned.start)
    return Run(made.folder, made)


def plan_extension(
    run: Run | Place, *overrides: str, root: Place = RESULTS, stretch: bool = False
) -> "Extension":
    """The longer run that `extend` makes, and what it goes on from."""
    found = run if isinstance(run, Run) else read_run(str(run), root)
    made = run_files.made_run(found.files)
    return run_files.plan_extension(made, overrides, stretch=stretch)


@contextlib.contextmanager
def _signals_as_stop() -> Iterator[Callable[[], bool]]:
    """Whether to stop because of Ctrl-C and the like, which only the main thread can hear."""
    if threading.current_thread() is threading.main_thread():
        with run_files.stop_on_signals() as stop:
            yield stop
    else:
        yield lambda: False


def _last(events: "Iterator[Event | Note | Finished]") -> "Finished":
    (finished,) = deque(events, maxlen=1)  # a long run's events are too many to keep
    assert isinstance(finished, run_files.Finished)
    return finished


# ---------------------------------------------------------------------------- many runs


@takes_texts
def plan(
    *overrides: str,
    config_dir: Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
    most_runs: int | None = None,
) -> "Plan":
    """The runs of a grid: those to make, those finished or failed before; nothing is written.

    Raises ConfigError where a combination cannot be, or there are more than `most_runs`.
    """
    grids = config.grids(overrides, config_dir)
    size = config.size(grids)
    if most_runs is not None and size > most_runs:
        raise ConfigError(
            f"the sweep has {size:,} runs, above {most_runs:,}; add --yes if it is meant"
        )
    return run_files.plan(grids, config_dir, force=force, retry_failed=retry_failed)


def sweep_around(
    named: "Config", *overrides: str, config_dir: Path | None = None
) -> tuple[int, bool]:
    """How many runs `sweep` makes with settings that name one for `run`, and whether this is one
    of them; 1 where there is no sweep, or none that can be."""
    try:
        points = config.compose_grids(config.grids(overrides, config_dir), config_dir)
        identities = {config.run_id(point) for point in points}
    except ConfigError:  # for `sweep` to report
        return 1, True
    return len(identities), config.run_id(named) in identities


@takes_texts
def sweep(
    *overrides: str,
    config_dir: Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
    progress: bool | None = None,
) -> Results:
    """Make every run of a grid that is not finished, several at a time; all runs of the grid.

    Those that failed are among them, at `.failed` alone. While they are made, they are shown on a
    terminal's stderr and in a notebook; `progress` says so or not, and where stderr is a file or a
    pipe, True gives a line a run. Raises ConfigError for settings that cannot be, DataError where
    data cannot be had. After a Ctrl-C the same call goes on from there.
    """
    planned = plan(*overrides, config_dir=config_dir, force=force, retry_failed=retry_failed)
    make_seen(planned, progress, show.ArmsSoFar, force=force, fail_fast=fail_fast)
    return results_of(planned)


def make_seen(
    planned: "Plan",
    progress: bool | None,
    aside: "Callable[[Plan], show.Aside]",
    *,
    force: bool = False,
    fail_fast: bool = False,
) -> None:
    """Make a plan's pending runs, shown where `console_for` says, beside what `aside` makes."""
    console = console_for(progress) if planned.pending else None
    if console is None:
        run_plan(planned, force=force, fail_fast=fail_fast)
        return
    beside = aside(planned)
    run_plan(
        planned,
        force=force,
        fail_fast=fail_fast,
        on_waiting=lambda runs: console.print(show.waiting_line(runs)),
        follow=lambda outcomes: show.watch_sweep(outcomes, planned, console, beside),
    )


def run_plan(
    planned: "Plan",
    *,
    force: bool = False,
    fail_fast: bool = False,
    on_waiting: Callable[[int], object] = ignore,
    follow: "Callable[[Iterator[Outcome]], list[Outcome]]" = list,
) -> "list[Outcome]":
    """Make a plan's pending runs; `follow` goes through the outcomes and returns them.

    `on_waiting` hears of so many runs that others are making, when nothing else is left. Raises
    DataError, before any is begun, where the data of one cannot be had.
    """
    for fault in run_files.without_data(planned.pending).values():
        raise fault
    outcomes = run_files.sweep(planned, force=force, fail_fast=fail_fast, waiting=on_waiting)
    with contextlib.closing(outcomes):
        return follow(outcomes)
