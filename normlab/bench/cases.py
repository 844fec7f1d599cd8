"""Trainings that fail for a known reason, and whether their diagnosis finds it.

A cases file is a list of mappings: `config`, the overrides of a training, and `cause`, why it
fails; optionally `also`, other causes that may be said, `fix`, the overrides that make it train,
and `metric`, in which they do. Other keys are its author's notes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from normlab.config import Config, compose, override, read_yaml, with_overrides
from normlab.errors import ConfigError
from normlab.runs import Summary
from normlab.text import did_you_mean
from normlab.vocabulary import CAUSES

MOST_BYTES = 1 << 22  # of a cases file, which may hold thousands
HEALTHY = "none"
BENCH = "diagnosis-"  # of its experiments: the name of the cases file follows
METRICS = ("train_acc", "test_acc")
# Of the fix's gain so much is a recovery, and a loss of so much accuracy is harm.
RECOVERY = 0.9
HARM = 0.05


@dataclass(frozen=True)
class LabelledCase:
    """A training and why it fails, and its configs; `none` is the cause of one that does not."""

    number: int  # from 1, in the file
    words: tuple[str, ...]
    cause: str
    also: tuple[str, ...]
    metric: str
    given: Config
    fixed: Config | None  # with the setting that makes it train

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.cause == HEALTHY

    def with_advice(self, advice: str) -> Config:
        """Its config with an advice; raises ConfigError where that cannot be."""
        return with_overrides(self.given, advice.split())


def read_cases(file: Path, root: str) -> list[LabelledCase]:
    """The cases of a file, whose runs are made below `root`, each on one thread of the CPU.

    Raises ConfigError that names the case where one cannot be.
    """
    values = read_yaml(file, MOST_BYTES)
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{file}: must be a list of cases, mappings with config and cause")
    place = (
        *("runtime.threads=1", "runtime.device=cpu"),
        override("output.root", root),
        override("output.experiment", f"{BENCH}{file.stem}"),
    )
    cases = []
    for number, value in enumerate(values, start=1):
        try:
            cases.append(_case(number, value, place))
        except ConfigError as error:
            raise ConfigError(f"{file}: case {number}: {error}") from error
    return cases


def _case(number: int, value: Any, place: Sequence[str]) -> LabelledCase:
    if not isinstance(value, Mapping):
        raise ConfigError("must be a mapping with config and cause")
    words, fix = _words(value, "config"), _words(value, "fix")
    cause = value.get("cause")
    if cause is None:
        raise ConfigError("its cause is missing")
    also = _words(value, "also")
    for name in (cause, *also):
        if not isinstance(name, str) or name not in CAUSES:
            raise ConfigError(
                f"cause {name}: no such cause; choices: {', '.join(CAUSES)}"
                f"{did_you_mean(str(name), list(CAUSES))}"
            )
    usual = "test_acc" if cause == "memorizes" else "train_acc"
    metric = value.get("metric", usual)
    if metric not in METRICS:
        raise ConfigError(f"metric {metric}: no such metric; choices: {', '.join(METRICS)}")
    given = compose([*words, *place])
    fixed = with_overrides(given, fix) if fix else None
    return LabelledCase(number, words, cause, also, metric, given, fixed)


def _words(value: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts under a key, none where it is not there."""
    found = value.get(key)
    if found is None and key != "config":
        return ()
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ConfigError(f"its {key} must be a list of texts")
    return tuple(found)


# ------------------------------------------------------------------------------- judging


@dataclass(frozen=True)
class JudgedCase:
    """What was said of a case, and what its fix and the first advice brought."""

    case: LabelledCase
    said: str  # a cause, or the status of a run without one
    verdict: str | None
    advice: tuple[str, ...]
    given: float | None = None  # the metric of the training as it was given
    fixed: float | None = None
    tried: float | None = None  # with the first advice
    peers: Mapping[str, Sequence[str]] = field(default_factory=dict)  # what others said, by name

    @property
    def named(self) -> bool:
        """Whether the cause was said, or one that may be said instead."""
        return self.said in (self.case.cause, *self.case.also)

    @property
    def gain(self) -> float | None:
        """What the fix brings; None without one, or where it brings nothing."""
        if self.fixed is None or self.given is None or self.fixed <= self.given:
            return None
        return self.fixed - self.given

    @property
    def recovers(self) -> bool | None:
        """Whether the first advice brings nearly what the fix does; None where that is nothing."""
        if self.gain is None or self.given is None:
            return None
        return self.tried is not None and self.tried - self.given >= RECOVERY * self.gain

    @property
    def harms(self) -> bool:
        """Whether the first advice makes it worse."""
        if self.tried is None or self.given is None:
            return False
        return self.tried < self.given - HARM

    def to_plain(self) -> dict[str, Any]:
        """What `--format json` prints of it."""
        return {
            "case": self.case.number,
            "config": list(self.case.words),
            "cause": self.case.cause,
            "also": list(self.case.also),
            "said": self.said,
            "named": self.named,
            "verdict": self.verdict,
            "try": list(self.advice),
            "metric": self.case.metric,
            "given": self.given,
            "fixed": self.fixed,
            "tried": self.tried,
            "recovers": self.recovers,
            "harms": self.harms,
            **{name: list(said) for name, said in self.peers.items()},
        }


def judge_case(
    case: LabelledCase,
    given: Summary | None,
    fixed: Summary | None = None,
    tried: Summary | None = None,
    peers: Mapping[str, Sequence[str]] | None = None,
) -> JudgedCase:
    """A case by the summaries of its runs, None of those that were not made."""
    return JudgedCase(
        case,
        said=(given.cause or given.status) if given else "unfinished",
        verdict=given.verdict if given else None,
        advice=given.advice if given else (),
        given=_score(given, case.metric),
        fixed=_score(fixed, case.metric),
        tried=_score(tried, case.metric),
        peers=peers or {},
    )


def _score(summary: Summary | None, metric: str) -> float | None:
    score: float | None = getattr(summary, metric, None)
    return score


# ------------------------------------------------------------------------------ counting


class Share(NamedTuple):
    """So many of so many."""

    part: int
    of: int

    @property
    def share(self) -> float | None:
        """Their quotient, None of nothing."""
        return self.part / self.of if self.of else None

    def to_plain(self) -> dict[str, Any]:
        """As plain values."""
        return {"count": self.part, "of": self.of, "share": self.share}


@dataclass(frozen=True)
class Tally:
    """How good a diagnosis is, over cases."""

    named: Share  # of those that fail
    sound_given_cause: Share  # of those that do not
    recovers: Share  # of those whose fix brings something
    harms: Share  # of those whose first advice was tried

    def to_plain(self) -> dict[str, Any]:
        """As plain values."""
        return {name: share.to_plain() for name, share in vars(self).items()}


def tally(judged: Iterable[JudgedCase]) -> Tally:
    """The counts of what was judged."""
    every = list(judged)
    failing = [each for each in every if not each.case.healthy]
    healthy = [each for each in every if each.case.healthy]
    measured = [each.recovers for each in every if each.recovers is not None]
    tried = [each for each in every if each.tried is not None]
    return Tally(
        Share(sum(each.named for each in failing), len(failing)),
        Share(sum(not each.named for each in healthy), len(healthy)),
        Share(sum(measured), len(measured)),
        Share(sum(each.harms for each in tried), len(tried)),
    )


@dataclass(frozen=True)
class Confusion:
    """How often each cause was said of each."""

    causes: Sequence[str]  # those that occur, as they are listed in the vocabulary
    counts: Mapping[tuple[str, str], int]  # by labelled and said
    named: Mapping[str, Share]  # by the labelled cause

    def to_plain(self) -> dict[str, dict[str, int]]:
        """The counts that are not 0, by the labelled cause and what was said."""
        return {
            row: {
                said: self.counts[row, said] for said in self.causes if (row, said) in self.counts
            }
            for row in self.causes
            if row in self.named
        }


def confusion(judged: Iterable[JudgedCase]) -> Confusion:
    """The confusion matrix of what was judged."""
    every = list(judged)
    counts = Counter((each.case.cause, each.said) for each in every)
    occurring = {cause for pair in counts for cause in pair}
    order = [cause for cause in CAUSES if cause in occurring]
    order += sorted(occurring - set(order))  # the statuses of runs that have no cause
    named = {
        cause: Share(
            sum(each.named for each in every if each.case.cause == cause),
            sum(each.case.cause == cause for each in every),
        )
        for cause in order
        if any(each.case.cause == cause for each in every)
    }
    return Confusion(order, dict(counts), named)
