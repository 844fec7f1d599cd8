"""What a run was made with: as its summary says it, and of older runs their environment.json."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from normlab.bounded_files import read_bounded
from normlab.config import Config, DataSet
from normlab.errors import DataError
from normlab.runs.summary import Summary
from normlab.text import printable

ENVIRONMENT_FILE = "environment.json"
ENVIRONMENT_BYTES = 1 << 20  # the command of a sweep may name thousands of values


def made_with(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a summary that an environment tells; those of another type are left out."""
    commit = environment.get("git_commit")
    alike = ("device", "processor", "normlab", "torch", "data_sha256")  # in both files
    told = {key: environment.get(key) for key in alike}
    told["started"] = environment.get("started")
    told["commit"] = commit[:10] if isinstance(commit, str) else None
    if told["commit"] and environment.get("git_dirty"):
        told["commit"] += " with changes"
    origin = environment.get("extended_from")
    origin = origin if isinstance(origin, dict) else {}
    told["extended_from"] = origin.get("run_id")
    numbers = {"threads": environment.get("threads"), "extended_at": origin.get("step")}
    order = environment.get("channels_last")
    return {
        **{key: value for key, value in told.items() if isinstance(value, str)},
        **{key: value for key, value in numbers.items() if type(value) is int},
        **({"channels_last": order} if isinstance(order, bool) else {}),
    }


def with_origin(summary: Summary, environment: Mapping[str, Any]) -> Summary:
    """A summary that says what its run was made with, also where it is older than these fields.

    What the summary says itself stays; older environments do not say how many threads there were,
    but the config does, and runs older than `runtime.channels_last` were made without.
    """
    runtime = (summary.config or {}).get("runtime")
    older: dict[str, Any] = {"channels_last": False}
    if isinstance(runtime, dict):
        older["threads"] = runtime.get("threads")
    told = made_with({**older, **environment})
    lacking = {key: value for key, value in told.items() if getattr(summary, key) is None}
    return summary.model_copy(update=lacking)


def of_other_data(summaries: Sequence[tuple[Config, Summary]]) -> int:
    """How many runs were made of other data than their files hold on this machine now."""
    here: dict[tuple[Any, ...], str | None] = {}
    found = 0
    for config, summary in summaries:
        place = config.data.source_key
        if summary.data_sha256 is None or not config.launcher.on_this_machine:
            continue
        if place not in here:
            here[place] = _content_here(config.data)
        found += here[place] not in (None, summary.data_sha256)
    return found


def _content_here(data: DataSet) -> str | None:
    """The hash of what a data set's files hold; None where they are not here or damaged."""
    with contextlib.suppress(DataError):
        return data.content() if data.locate(getattr(data, "root", None)) else None
    return None


def start_of(folder: Path) -> float:
    """When a run started, in seconds since 1970, by its environment.json.

    Where that does not say it, when its files were last written, which a copy resets.
    """
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):
        return datetime.fromisoformat(read_environment(folder).get("started", "")).timestamp()
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0  # it has just been removed


def read_environment(folder: str | Path) -> dict[str, Any]:
    """What a folder's environment.json says, nothing where it is missing or damaged."""
    try:
        found = json.loads(read_bounded(f"{folder}/{ENVIRONMENT_FILE}", ENVIRONMENT_BYTES))
        return printable(found) if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}
