"""The advice of a run tried: the same training with each override, and what each brought."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from normlab.config import Config, compose, override, overrides_of, run_id, with_overrides
from normlab.errors import ConfigError, DataError
from normlab.runs.folder import Run, place_of, run_folder
from normlab.runs.summary import Summary, read_summary

# The experiment that trials are runs of.
TRIALS = "doctor"
MOST_TRIALS = 3
# A run that took longer is tried on as many steps as fit in.
LONGEST_SECONDS = 60.0
# A gain of this much accuracy is worth telling.
TELLING_GAIN = 0.05
# Accuracies no further apart are as good as each other.
AS_GOOD = 0.01


@dataclass(frozen=True)
class Trial:
    """A training as it was given, or with one advice."""

    advice: str  # overrides between spaces; empty for the training as it was given
    config: Config


@dataclass(frozen=True)
class Tried:
    """What a trial came to."""

    advice: str
    config: Config
    summary: Summary | None  # None where it has not ended
    metric: str

    @property
    def score(self) -> float | None:
        """The accuracy that the trials are compared by."""
        return getattr(self.summary, self.metric, None)

    @property
    def cured(self) -> bool:
        """Whether nothing is wrong with it any longer."""
        return self.summary is not None and self.summary.cause == "none"

    @property
    def steps(self) -> float:
        """The steps that it took, without end where they are not known."""
        steps = self.summary.steps if self.summary else None
        return math.inf if steps is None else steps

    def to_plain(self, *, best: bool) -> dict[str, Any]:
        """What `--format json` prints of it."""
        said = self.summary
        return {
            "advice": self.advice or None,
            "run_id": run_folder(self.config).name,
            "status": said.status if said else "unfinished",
            "train_acc": said.train_acc if said else None,
            "test_acc": said.test_acc if said else None,
            "verdict": said.verdict if said else None,
            "cause": said.cause if said else None,
            "steps": said.steps if said else None,
            "seconds": said.seconds if said else None,
            "best": best,
        }


def why_no_trials(summary: Summary) -> str | None:
    """Why there is nothing to try for a run, in a line; None where there is."""
    name = f"{summary.run_id}, {summary.name}" if summary.name else summary.run_id
    if not summary.final:
        why = f"{name}: {summary.status}, so that it has no diagnosis; nothing is tried"
        goes_on = {
            "interrupted": "; the same command that began it goes on with it",
            "timeout": "; the same command with a larger training.max_seconds goes on with it",
        }
        return f"{why}{goes_on.get(summary.status, '')}"
    if summary.cause is None:
        return (
            f"{name}: no cause was recorded, as the run was made by an older version; "
            "normlab run … --force makes it again"
        )
    if summary.cause == "none":
        return f"{name}: nothing is wrong with it; nothing is tried"
    if not summary.advice:
        return f"{name}: of its cause, {summary.cause}, no advice is known; nothing is tried"
    return None


def steps_of_trials(summary: Summary) -> int | None:
    """So many steps as a minute has room for, where a run took longer; None where it did not."""
    seconds, steps = summary.seconds or 0.0, summary.steps or 0
    if seconds <= LONGEST_SECONDS or not steps:
        return None
    return max(1, int(steps * LONGEST_SECONDS / seconds))


def plan_trials(run: Run, steps: int | None = None) -> list[Trial]:
    """The trials of a run's first advice; of `steps` where given, and then its own settings first.

    What sets the length of the training itself keeps that length. Advice that cannot be, such as
    that of a run whose part is there no longer, is left out; raises ConfigError where that is all.
    """
    root, _ = place_of(run.folder)
    place = [
        override("output.root", str(root)),
        override("output.experiment", TRIALS),
        *("output.weights=false", "output.keep=false"),
    ]
    length = [] if steps is None else [override("training.steps", steps)]
    trials = [Trial("", with_overrides(run.config, [*place, *length]))] if length else []
    fault: ConfigError | None = None
    for advice in run.summary.advice[:MOST_TRIALS]:
        words = advice.split()
        own_length = any(word.startswith(("training.steps=", "training.epochs=")) for word in words)
        try:
            config = with_overrides(run.config, [*([] if own_length else length), *words, *place])
        except ConfigError as error:
            fault = error
        else:
            trials.append(Trial(advice, config))
    if fault is not None and not any(trial.advice for trial in trials):
        raise fault
    return trials


def results_of(run: Run, trials: Sequence[Trial]) -> list[Tried]:
    """What the trials came to so far, the run as it was given first."""
    metric = "test_acc" if run.summary.cause == "memorizes" else "train_acc"
    found = [
        Tried(trial.advice, trial.config, read_summary(run_folder(trial.config)), metric)
        for trial in trials
    ]
    if not trials or trials[0].advice:
        found.insert(0, Tried("", run.config, run.summary, metric))
    return found


def best_of(results: Sequence[Tried]) -> Tried | None:
    """The trial that came further than the given settings, and furthest; None where none did.

    One without a cause comes before all others, and of those that are as good the one of the fewest
    steps, then of the earlier advice.
    """
    given, *others = results
    ahead = [tried for tried in others if _gains(tried, given)]
    ahead = [tried for tried in ahead if tried.cured] or ahead
    furthest = max(map(_reached, ahead), default=0.0)
    as_good = [tried for tried in ahead if _reached(tried) >= furthest - AS_GOOD]
    return min(as_good, key=lambda tried: tried.steps, default=None)


def _reached(tried: Tried) -> float:
    return tried.score or 0.0


def _gains(tried: Tried, given: Tried) -> bool:
    """Whether a trial came further, by more than accuracies differ that are as good."""
    return _reached(tried) - _reached(given) > (0.0 if tried.cured else AS_GOOD)


def words_with(run: Run, advice: str) -> list[str]:
    """The overrides that make a run with an advice, at its end: those that were typed for it, where
    its files tell them."""
    wanted = run_id(with_overrides(run.config, advice.split()))
    typed = _words_typed(run)
    if typed and _makes(typed, run_id(run.config)):
        words = joined(typed, advice.split())
        if _makes(words, wanted):
            return words
    return joined(overrides_of(run.config), advice.split())


_WITH_VALUE = ("--format=", "--jsonl=")  # options of run that change nothing of its settings


def _words_typed(run: Run) -> list[str]:
    """The overrides of the `normlab run` that made a run; none where it was made otherwise, or with
    an option that decides what they mean."""
    typed = list(map(str, run.environment.get("command") or ()))[1:]
    while typed and (option := typed[0].partition("=")[0]) in ("--debug", "--plugin"):
        del typed[: 2 if typed[0] == option == "--plugin" else 1]
    if typed[:1] != ["run"]:
        return []
    words: list[str] = []
    coming = iter(typed[1:])
    for word in coming:
        if f"{word}=" in _WITH_VALUE:
            next(coming, None)
        elif not word.startswith("-"):
            words.append(word)
        elif word not in ("--force", "--doctor") and not word.startswith(_WITH_VALUE):
            return []
    return words


def _makes(words: Sequence[str], identity: str) -> bool:
    """Whether overrides make the run of an id."""
    try:
        return run_id(compose(words)) == identity
    except (ConfigError, DataError):  # a file may be named from where the run was made
        return False


def joined(words: Sequence[str], further: Sequence[str]) -> list[str]:
    """Overrides with further ones behind them, without those that the further ones replace."""
    keys = {word.partition("=")[0] for word in further}
    kept = [
        word
        for word in words
        if not {(key := word.partition("=")[0]), key.partition(".")[0]} & keys
    ]
    return [*kept, *further]


@dataclass(frozen=True)
class SecondCause:
    """Another cause, which a trial has that did not help."""

    advice: str  # the trial's
    cause: str
    words: Sequence[str]  # the trial's advice with the first that it got itself


def second_cause(run: Run, results: Sequence[Tried]) -> SecondCause | None:
    """What the first trial got as its cause that has another one than the run, where its advice is
    something further to try; None where there is none."""
    known = {run.summary.cause, "none", "unknown", None}
    tried_before = {tried.advice for tried in results}
    for tried in results:
        said = tried.summary
        if not tried.advice or said is None or said.cause in known or not said.advice:
            continue
        words = joined(tried.advice.split(), said.advice[0].split())
        # Advice that takes the trial's own back is about what the trial did.
        if set(tried.advice.split()) <= set(words) and " ".join(words) not in tried_before:
            return SecondCause(tried.advice, str(said.cause), words)
    return None


def rows_of(results: Sequence[Tried]) -> list[dict[str, Any]]:
    """The trials as plain values, the best marked."""
    best = best_of(results)
    return [tried.to_plain(best=tried is best) for tried in results]
