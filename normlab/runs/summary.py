"""What summary.json says of a run: written, read, and stood in for by one class."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from normlab.bounded_files import read_bounded
from normlab.config import Config, describe, run_id
from normlab.text import brief, printable
from normlab.vocabulary import CAUSES, DIAGNOSES, FINAL, METRICS

SUMMARY_FILE = "summary.json"
# Counted up when a key changes its meaning or goes, so that no reader takes a figure for another;
# a key more is no new version. 0 for files older than the key.
SUMMARY_VERSION = 1
# How a run can have ended; `running` and `unfinished` are never written.
ENDED = (*FINAL, "failed", "interrupted", "timeout")

# None where it was not measured, and where it was not finite, for which JSON has no number.
Figure = float | None


class Evidence(BaseModel):
    """A figure that decided a cause, and on which side of its threshold it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    figure: str  # in words
    value: Figure
    side: Literal["above", "below"]
    threshold: float

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.figure} not finite"
        value = f"{self.value:g}" if self.value.is_integer() else brief(self.value)
        if value == f"{self.threshold:g}" != f"{self.value:g}":  # on which side, it must show
            value = f"{self.value:.4g}"
        return f"{self.figure} = {value} ({self.side} {self.threshold:g})"


class Summary(BaseModel):
    """A run in short. What is not known is None; keys that a later normlab added are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, populate_by_name=True)

    version: int = 0
    run_id: str
    name: str = ""  # MLP-4 bn on digits
    status: str  # a name in vocabulary.STATUSES
    verdict: str | None = None  # a name in vocabulary.DIAGNOSES
    reason: str = ""
    cause: str | None = None  # a name in vocabulary.CAUSES; older files have none
    evidence: Annotated[tuple[Evidence, ...], Field(strict=False)] = ()  # what decided it
    advice: Annotated[tuple[str, ...], Field(alias="try", strict=False)] = ()  # overrides
    train_acc: Figure = None
    train_loss: Figure = None
    test_acc: Figure = None
    test_loss: Figure = None
    verdict_init: str | None = None
    gradient_factor_init: Figure = None
    gradient_ratio_init: Figure = None
    sample_cosine_init: Figure = None
    verdict_first_epoch: str | None = None
    gradient_factor_first_epoch: Figure = None
    gradient_ratio_first_epoch: Figure = None
    sample_cosine_first_epoch: Figure = None
    verdict_end: str | None = None
    gradient_factor_end: Figure = None
    gradient_ratio_end: Figure = None
    sample_cosine_end: Figure = None
    gradient_factor_theory: Figure = None
    steps: int | None = None
    seconds: Figure = None
    parameters: int | None = None
    layers: int | None = None
    classes: int | None = None
    device: str | None = None
    processor: str | None = None  # the CPU's or GPU's model
    threads: int | None = None
    channels_last: bool | None = None  # whether its network was in that order
    data_sha256: str | None = None  # of what the data's files hold; None where it is drawn
    normlab: str | None = None  # its version
    torch: str | None = None
    commit: str | None = None
    started: str | None = None  # ISO 8601
    extended_from: str | None = None  # the run whose end it goes on from, …
    extended_at: int | None = None  # … at this step: rows before it lie at that run's steps
    config: dict[str, Any] | None = None  # the resolved config; older files have none

    @property
    def final(self) -> bool:
        """Whether it is a result, which need not be made again."""
        return self.status in FINAL

    @classmethod
    def pending(cls, config: Config, status: str, **known: Any) -> Self:
        """The summary of a run that has none of its own, with what is known of it."""
        return cls(
            version=SUMMARY_VERSION,
            run_id=run_id(config),
            name=describe(config),
            status=status,
            config=config.model_dump(mode="json"),
            **known,
        )

    @classmethod
    def of_watched(cls, settings: Mapping[str, Any], status: str, **known: Any) -> Self:
        """The summary of a training that somebody else's loop makes, with what is known of it."""
        return cls(version=SUMMARY_VERSION, status=status, config=dict(settings), **known)

    def to_plain(self) -> dict[str, Any]:
        """The content of summary.json."""
        return self.model_dump(mode="json", by_alias=True)


class LaterVersionError(ValueError):
    """A summary is of a version whose keys may mean something else."""


def parse_summary(text: bytes) -> Summary:
    """The summary in a file's text, its figures to be trusted; raises ValueError with one line
    where it is none, LaterVersionError where its keys may mean something else."""
    summary = _parsed(text)
    if summary.version > SUMMARY_VERSION:
        raise LaterVersionError(
            f"{SUMMARY_FILE} is of version {summary.version}, this normlab reads {SUMMARY_VERSION} "
            "and older; install a later one"
        )
    verdicts = (
        *(summary.verdict, summary.verdict_init),
        *(summary.verdict_first_epoch, summary.verdict_end),
    )
    if not all(verdict is None or verdict in DIAGNOSES for verdict in verdicts):
        raise ValueError(f"{SUMMARY_FILE} is not normlab's, it has a verdict of its own")
    if summary.cause not in (None, *CAUSES):
        raise ValueError(f"{SUMMARY_FILE} is not normlab's, it has a cause of its own")
    return summary


def _parsed(text: bytes) -> Summary:
    try:
        summary = Summary.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_fault(error)) from error
    if summary.status not in ENDED:
        raise ValueError(f"{SUMMARY_FILE} is not normlab's")
    # Of ASCII's control characters JSON holds the last as it is and five by a letter.
    if text.isascii() and b"\\" not in text and b"\x7f" not in text:
        return summary
    return summary.model_copy(update=dict(printable(dict(summary))))


def read_summary(folder: Path) -> Summary | None:
    """A folder's summary, or None where there is none to trust.

    For deciding whether a run is to be made: neither one key that is not sound nor a later version
    makes a finished run unfinished; the key is left out. Readers of figures take `parse_summary`,
    which refuses both.
    """
    try:
        text = read_bounded(folder / SUMMARY_FILE)
        return _parsed(_without_unsound_keys(text))
    except (OSError, ValueError, RecursionError):
        return None


def _without_unsound_keys(text: bytes) -> bytes:
    try:
        Summary.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        unsound = {fault["loc"][0] for fault in faults if fault["loc"]}
        values = json.loads(text)
        if isinstance(values, dict) and not unsound & {"run_id", "status"}:
            sound = {key: value for key, value in values.items() if key not in unsound}
            return json.dumps(sound).encode()
    return text


def _fault(error: ValidationError) -> str:
    """The first thing that is wrong with a summary, in words."""
    first: Mapping[str, Any] = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"{SUMMARY_FILE} is damaged ({first['ctx']['error']})"
    key = first["loc"][0] if first["loc"] else None
    if key in METRICS:
        return f"{SUMMARY_FILE} is damaged, its {key} is not a number"
    if key == "config":
        return f"{SUMMARY_FILE} is not normlab's, its config has no seed"
    return f"{SUMMARY_FILE} is not normlab's"
