"""How one run of a sweep ended."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from normlab.config import Config
from normlab.runs.folder import run_folder
from normlab.runs.summary import Summary, read_summary


@dataclass(frozen=True)
class Outcome:
    """How one run of a sweep ended; `seconds` of its own, start of a worker aside."""

    run_id: str
    status: str  # finished | diverged | failed | interrupted | busy
    reason: str = ""
    verdict: str | None = None
    seconds: float = 0.0

    @classmethod
    def from_summary(cls, summary: Summary, *, seconds: float = 0.0, note: str = "") -> Self:
        """As a summary tells it, after a note about the run's start."""
        reason = " ".join(filter(None, (note, summary.reason)))
        return cls(summary.run_id, summary.status, reason, summary.verdict, seconds)


def recorded_outcome(config: Config, statuses: Collection[str]) -> Outcome | None:
    """The outcome in a run's summary, where its status is one of these."""
    summary = read_summary(run_folder(config))
    if summary is None or summary.status not in statuses:
        return None
    return Outcome.from_summary(summary)
