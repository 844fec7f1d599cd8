"""Runs that are being made, a line for each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from normlab.runs import Stage, read_lock
from normlab.show.terminal.plain_tables import GAP

BAR_CELLS, LEAST_BAR_CELLS, LEAST_NAME = 20, 6, 8
NARROW = 60  # below it there is no room for the accuracy


class Job(NamedTuple):
    """A run that is being made: how far it is, where it says so, and its latest evaluation."""

    stage: Stage | None = None
    train_acc: float | None = None


def jobs_at_work(folders: Iterable[Path]) -> dict[str, Job]:
    """Those of the runs whose lock is held, by run id, with what the lock tells of them."""
    locks = ((folder.name, read_lock(folder)) for folder in folders)
    return {name: _job(lock["progress"]) for name, lock in locks if lock is not None}


def _job(progress: Mapping[str, Any]) -> Job:
    steps = [progress.get(key, 0) for key in ("step", "steps", "resumed")]
    accuracy = progress.get("train_acc")
    known = all(isinstance(step, int) for step in steps) and 0 <= steps[2] <= steps[0] <= steps[1]
    return Job(
        Stage(*steps) if known and steps[1] else None,
        accuracy if isinstance(accuracy, float) else None,
    )


def job_lines(jobs: Mapping[str, Job], names: Mapping[str, str], width: int) -> list[Text]:
    """A line for each job: its name, a bar, its step and accuracy.

    Where they are too long for the width the names lose the words that all of them have. The bars
    stand where those of all `names` would.
    """
    steps = [f"{job.stage.step}/{job.stage.steps}" if job.stage else "" for job in jobs.values()]
    step_width = max(map(len, steps), default=0)
    accuracies = [_accuracy(job.train_acc) for job in jobs.values()]
    if width < NARROW:
        accuracies = [""] * len(jobs)
    room = width - step_width - max(map(len, accuracies), default=0) - LEAST_BAR_CELLS - 2 * GAP
    room = max(LEAST_NAME, room)
    shown, _ = telling([names[identity] for identity in jobs], room)
    name_width = min(max(map(len, [*shown, *names.values()])), room)
    cells = max(LEAST_BAR_CELLS, min(BAR_CELLS, LEAST_BAR_CELLS + room - name_width))
    lines = []
    for job, name, step, accuracy in zip(jobs.values(), shown, steps, accuracies, strict=True):
        line = Text(name, no_wrap=True, overflow="ellipsis")
        line.truncate(name_width, overflow="ellipsis", pad=True)
        filled = round(cells * job.stage.step / job.stage.steps) if job.stage else 0
        # Thick and thin, to be told apart without colour.
        line.append(" " * GAP).append("━" * filled, style="green")
        line.append("─" * (cells - filled), style="dim")
        line.append(f"{step:>{step_width + GAP}}{accuracy}")
        lines.append(line)
    return lines


def telling(names: Sequence[str], room: int) -> tuple[list[str], str]:
    """Names that fit a room as far as they can, so that each keeps what sets it apart, and the
    words that they have lost.

    Where one is too long all lose the words that they share, then the ends of their keys:
    `momentum=0.9` becomes `mom…=0.9`.
    """
    told, dropped = list(names), ""
    if len(names) > 1 and not _fit(names, room):
        words = [re.split(r",?\s(?!\d)", name) for name in names]  # `depth 56` is one
        common = set(words[0]).intersection(*words[1:])
        shorter = [" ".join(word for word in own if word not in common) for own in words]
        if all(shorter):
            told, dropped = shorter, " ".join(word for word in words[0] if word in common)
    for letters in (8, 5, 3, 1):
        if _fit(told, room):
            break
        told = [re.sub(rf"(\b\w{{{letters}}})\w\w+…?=", r"\1…=", name) for name in told]
    return told, dropped


def _fit(names: Sequence[str], room: int) -> bool:
    return max(map(len, names), default=0) <= room


def _accuracy(value: float | None) -> str:
    return f"  train acc {value:.3f}" if value is not None else ""
