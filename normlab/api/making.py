"""Runs made: one, many, and those that claims need."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

# Each of these loads what it needs when it is first asked for it.
from normlab import claims, config, networks, training
from normlab import runs as run_files
from normlab.api.places import RESULTS, Place, ignore
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module

    from normlab.claims import Claim, Scale, Verdict
    from normlab.config import Config
    from normlab.runs import Finished, Note, Outcome, Plan, Run
    from normlab.training import Event

# ------------------------------------------------------------------------------ one run


def compose(*overrides: str, config_dir: Path | None = None) -> "Config":
    """The configuration that settings name; raises ConfigError where it cannot be."""
    return config.compose(overrides, config_dir)


def model(*overrides: str, config_dir: Path | None = None) -> "Module":
    """The network that settings name, with the weights that `run` begins with, on the CPU."""
    import torch

    named = compose(*overrides, config_dir=config_dir)
    data = named.data.load(torch.device("cpu"))
    stream = training.random_stream(named.seed, "init")
    return networks.build_model(named, data.shape, data.classes, stream)


def run(*overrides: str, config_dir: Path | None = None, force: bool = False) -> "Run":
    """Train one network and measure every layer; a finished run is read, unless `force`."""
    named = compose(*overrides, config_dir=config_dir)
    finished = None if force else finished_run(named)
    return finished or run_config(named, force=force)


def finished_run(named: "Config") -> "Run | None":
    """The run of a configuration from its files, or None where it is not finished, or kept no
    weights where the configuration asks for them."""
    folder = run_files.run_folder(named)
    run_files.remove_leftovers(folder)
    if not run_files.is_final(folder) or run_files.lacks_weights(named):
        return None
    return run_files.read_run(folder)


def run_config(
    named: "Config",
    *,
    force: bool = False,
    follow: "Callable[[Iterator[Event | Note | Finished]], Finished] | None" = None,
) -> "Run":
    """Make the run of a configuration; `follow` goes through its events and returns the last.

    One that was interrupted goes on from its checkpoint, unless `force`. Raises BusyError where it
    is being made elsewhere or, unless `force`, is finished; RunError where it fails.
    """
    with _signals_as_stop() as stop:
        events = run_files.execute(named, force=force, stop=stop)
        # Closed here, wherever Ctrl-C was struck, so that its files are whole when this is left.
        with contextlib.closing(events):
            finished = (follow or _last)(events)
    return finished.run


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


def read_run(name: str | None = None, root: Place = RESULTS) -> "Run":
    """A run from its files, by its folder or the start of its id; without, the latest.

    Raises RecordError where there is none or more than one, or its files are damaged.
    """
    return run_files.read_run(run_files.find_run(name, Path(root)))


# ---------------------------------------------------------------------------- many runs


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


def sweep(
    *overrides: str,
    config_dir: Path | None = None,
    force: bool = False,
    retry_failed: bool = False,
    fail_fast: bool = False,
) -> "list[Outcome]":
    """Make every run of a grid that is not finished, several at a time; how each has ended."""
    planned = plan(*overrides, config_dir=config_dir, force=force, retry_failed=retry_failed)
    return run_plan(planned, force=force, fail_fast=fail_fast)


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


# ------------------------------------------------------------------------------- claims


@dataclass(frozen=True)
class Verification:
    """Claims, and the runs that they are judged by."""

    claims: "Sequence[Claim]"
    scale: "Scale"
    plan: "Plan | None"  # None where no claim needs a run
    experiments: "Mapping[str, Sequence[Config]]"  # each claim's runs, by its id
    root: Path  # where its verdicts are kept

    def judge(self, claim: "Claim") -> "Verdict":
        """The verdict of a claim by the runs as they are."""
        return claims.judge_runs(claim, self.scale, self.experiments[claim.id])

    def with_data(self, on_missing: Callable[[str], object] = ignore) -> Self:
        """The same without the runs whose data cannot be had, of which `on_missing` hears."""
        pending = self.plan.pending if self.plan else ()
        missing = run_files.without_data(pending)
        for line in dict.fromkeys(map(str, missing.values())):
            on_missing(line)
        left = tuple(named for named in pending if config.run_id(named) not in missing)
        return replace(self, plan=self.plan and replace(self.plan, pending=left))

    def waiting(self) -> dict[str, set[str]]:
        """Of each claim the ids of its runs that are to be made."""
        pending = {config.run_id(c) for c in (self.plan.pending if self.plan else ())}
        return {
            identity: pending & set(map(config.run_id, configs))
            for identity, configs in self.experiments.items()
        }

    def remember(self, verdicts: "Sequence[Verdict]") -> None:
        """Keep verdicts beside the runs, for lists of claims and reports to tell them."""
        claims.remember(verdicts, self.root)


def verify(
    *words: str,
    scale: Literal["small", "paper"] = "small",
    config_dir: Path | None = None,
    retry_failed: bool = False,
) -> "list[Verdict]":
    """Put claims to the test: make the runs that are missing, measure, judge, keep the verdicts.

    Words are ids, YAML files of claims, and settings of where runs are made; without ids every
    claim is meant.
    """
    verification = plan_verification(
        *words, scale=scale, config_dir=config_dir, retry_failed=retry_failed
    ).with_data()
    if verification.plan is not None:
        run_plan(verification.plan)
    verdicts = [verification.judge(claim) for claim in verification.claims]
    verification.remember(verdicts)
    return verdicts


def plan_verification(
    *words: str,
    scale: Literal["small", "paper"] = "small",
    config_dir: Path | None = None,
    retry_failed: bool = False,
) -> Verification:
    """What `verify` is to do; raises ConfigError for words that are no claims or settings."""
    names, overrides = claim_words(words)
    every = [claim for claim in claims.CLAIMS.values() if scale == "small" or claim.paper]
    chosen = claims.find_claims(names) if names else every
    root = results_root(overrides)
    planned, experiments = claims.plan_claims(
        chosen, scale, overrides, config_dir, retry_failed=retry_failed
    )
    return Verification(chosen, scale, planned, experiments, root)


def claim_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Names of claims, and settings."""
    names: list[str] = []
    settings: list[str] = []
    for word in words:
        (settings if claims.is_setting(word) else names).append(word)
    return names, settings


def results_root(overrides: Iterable[str] = ()) -> Path:
    """The results folder that settings name."""
    return Path(compose(*(o for o in overrides if o.startswith("output.root="))).output.root)
