"""How long runs take, by the finished runs most alike, and how long a sweep still takes."""

import contextlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self

from normlab.config import Config, from_plain, run_id
from normlab.errors import ConfigError
from normlab.runs.outcomes import Outcome
from normlab.runs.summary import SUMMARY_FILE, read_summary

# So many of the latest finished runs are looked at for an estimate.
KNOWN_RUNS = 200


class Work(NamedTuple):
    """What the time of a run is reckoned by: the same for runs that differ in their seed alone."""

    model: str
    data: str
    norm: str
    width: int
    depth: int
    epochs: float
    samples: int  # of an epoch; 0 where only the data know
    batch_size: int
    tokens: int  # of a sample that is cut into some; 1 otherwise, or where only the data know

    @classmethod
    def of(cls, config: Config) -> Self:
        """That of a run."""
        training, samples = config.training, config.data.samples or 0
        epochs = float(training.epochs or 0)
        if training.steps is not None:
            # Of data of unknown size, as if ten steps were an epoch.
            epochs = training.steps * (training.batch_size / samples if samples else 0.1)
        return cls(
            *(config.model.name, config.data.name, config.norm.name),
            *(config.model.width, config.model.depth, max(1.0, epochs)),
            *(samples, training.batch_size, _tokens(config)),
        )

    def times(self, other: Self) -> float:
        """How many times as long as another run it takes, by depth, epochs, samples and tokens."""
        samples = self.samples / other.samples if self.samples and other.samples else 1.0
        samples *= self.tokens / other.tokens
        return samples * self.epochs / other.epochs * self.depth / other.depth

    def tells_of(self, other: Self) -> bool:
        """Whether the time of another run can be told by this one at all: it says nothing of other
        networks or data, and hardly of another width."""
        alike = (self.model, self.data) == (other.model, other.data)
        return alike and 0.5 <= other.width / self.width <= 2

    def unlike(self, other: Self) -> float:
        """How little another run tells of this one."""

        def apart(one: float, two: float) -> float:
            return abs(math.log(one / two)) if one and two else float(one != two)

        return (
            100 * (self.model != other.model or self.data != other.data)
            + 10 * apart(self.width, other.width)
            + apart(self.depth, other.depth)
            + apart(self.epochs, other.epochs)
            + apart(self.samples, other.samples)
            + apart(self.batch_size, other.batch_size)
            + apart(self.tokens, other.tokens)
            + (self.norm != other.norm)
        )


def _tokens(config: Config) -> int:
    shape = config.data.image_shape
    if not (config.model.of_tokens and shape):
        return 1
    return math.prod(config.model.feature_maps(*shape[1:])[0])


Known = Mapping[Work, float]  # the seconds that a run of such work took


def estimate(work: Work, known: Known) -> float:
    """Seconds of a run by the known run most like it, scaled; NaN where none is known.

    Of runs equally like it the first one counts.
    """
    if work in known:
        return known[work]
    if not known:
        return math.nan
    nearest = min(known, key=work.unlike)
    return known[nearest] * work.times(nearest)


def finished_runs(root: str) -> dict[Work, float]:
    """The mean seconds of the latest finished runs in a results folder."""
    dated = []
    for file in Path(root).glob(f"*/*/{SUMMARY_FILE}"):
        with contextlib.suppress(OSError):  # another process has removed it since
            dated.append((file.stat().st_mtime, file.parent))
    found: dict[Work, list[float]] = {}
    for _, folder in sorted(dated, reverse=True)[:KNOWN_RUNS]:
        summary = read_summary(folder)
        if summary and summary.status == "finished" and summary.seconds is not None:
            with contextlib.suppress(ConfigError):  # damaged, or of another version
                work = Work.of(from_plain(summary.config))
                found.setdefault(work, []).append(summary.seconds)
    return _means(found)


class Stage(NamedTuple):
    """How far a run has come that goes on: the steps of all, and of them those done before."""

    step: int
    steps: int
    resumed: int = 0

    @property
    def done(self) -> float:
        """The share of its steps that was made since it has begun, or gone on."""
        return (self.step - self.resumed) / self.steps if self.steps else 0.0

    @property
    def left(self) -> float:
        """The share of its steps that is to be made."""
        return 1 - self.step / self.steps if self.steps else 1.0


class Remaining:
    """What is left of a sweep's work, each run weighted by the time that it is to take.

    That is reckoned by the sweep's own runs that have finished, then by those `known` before; where
    there are none, the runs weigh as their depth and length have it.
    """

    def __init__(self, pending: Iterable[Config], known: Known):
        self._work = {run_id(config): Work.of(config) for config in pending}
        self._known, self._own = known, dict[Work, list[float]]()
        self._ended = dict[str, float]()  # seconds by run id
        self._stages = dict[str, Stage]()
        self._weights = dict[Work, float]()
        self._weigh()

    def end(self, outcome: Outcome) -> None:
        """Note that a run has ended."""
        work = self._work.get(outcome.run_id)
        if work is None:
            return
        self._ended[outcome.run_id] = outcome.seconds
        self._stages.pop(outcome.run_id, None)
        if outcome.status == "finished" and outcome.seconds:
            self._own.setdefault(work, []).append(outcome.seconds)
            self._weigh()

    def go_on(self, stages: Mapping[str, Stage]) -> None:
        """Note how far the running ones have come."""
        self._stages = {name: stage for name, stage in stages.items() if name not in self._ended}

    @property
    def share_done(self) -> float:
        """The share of the work that is done."""
        done, left = self._amounts()
        return done / (done + left) if done + left else float(not self._left_ids())

    def seconds(self, elapsed: float) -> float:
        """The time left, if it goes on as since the beginning, `elapsed` seconds ago; NaN before
        anything is done.

        At least that of the run that takes longest, for the last ones do not use every worker.
        """
        done, left = self._amounts()
        if not done:
            return math.nan
        longest = max((self._left_of(name) for name in self._left_ids()), default=0.0)
        in_seconds = bool(self._own or self._known)
        return max(left * elapsed / done, longest if in_seconds else 0.0)

    def _weigh(self) -> None:
        known = _means(self._own)
        known |= {work: seconds for work, seconds in self._known.items() if work not in known}
        kinds = dict.fromkeys(self._work.values())
        if not known and kinds:
            known = {next(iter(kinds)): 1.0}
        self._weights = {work: estimate(work, known) for work in kinds}

    def _amounts(self) -> tuple[float, float]:
        """What is done and what is left, in seconds of the runs' own, or in parts of a run."""
        own = bool(self._own or self._known)
        done = sum(
            seconds if own else self._weights[self._work[name]]
            for name, seconds in self._ended.items()
        )
        done += sum(self._weights[self._work[n]] * s.done for n, s in self._stages.items())
        return done, sum(map(self._left_of, self._left_ids()))

    def _left_ids(self) -> list[str]:
        return [name for name in self._work if name not in self._ended]

    def _left_of(self, name: str) -> float:
        share = self._stages[name].left if name in self._stages else 1.0
        return share * self._weights[self._work[name]]


def _means(found: Mapping[Work, list[float]]) -> dict[Work, float]:
    return {work: sum(seconds) / len(seconds) for work, seconds in found.items()}
