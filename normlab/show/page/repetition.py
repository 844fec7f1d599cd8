"""How runs were made, and how to make them again."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pandas import DataFrame

from normlab.bounded_files import read_bounded
from normlab.config import config_folder
from normlab.runs import CONFIG_FILE, read_environment

MOST_COMMANDS = 6
# What is told of the environments, and the key of environment.json.
_FACTS = {
    "normlab": "normlab",
    "PyTorch": "torch",
    "Python": "python",
    "on": "device",
    "": "platform",
    "processor": "processor",
    "threads": "threads",
}


class Repetition(NamedTuple):
    """How runs were made."""

    commands: tuple[str, ...]
    made_with: str  # versions, devices, platforms, commits
    runs: int
    seconds: float  # of training in all
    config: str  # the first run's


def repetition(runs: DataFrame, folders: Sequence[Path], where: Sequence[str]) -> Repetition:
    """What the folders of runs say of how they were made, and the command that compares them."""
    environments = [read_environment(str(folder)) for folder in runs["folder"]]
    chosen = [word for condition in where for word in ("--where", condition)]
    compare = shlex.join(["normlab", "compare", *map(str, folders), *chosen])
    facts = {
        name: _distinct(environment.get(key) for environment in environments)
        for name, key in _FACTS.items()
    }
    facts["commit"] = _distinct(map(_commit, environments))
    told = [f"{name} {' and '.join(values)}".strip() for name, values in facts.items() if values]
    return Repetition(
        commands=(*_commands(runs, environments), compare),
        made_with=", ".join(told),
        runs=len(runs),
        seconds=float(runs["seconds"].sum()),
        config=_text_of(Path(str(runs["folder"].iloc[0])) / CONFIG_FILE),
    )


def experiment_file(name: str) -> Path | None:
    """An experiment's YAML, or None where normlab has none; a foreign run may tell any name."""
    file = config_folder() / "experiment" / f"{name}.yaml"
    return file if re.fullmatch(r"[\w-]+", name) and file.is_file() else None


def _commands(runs: DataFrame, environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """The commands that made the runs, the first ones where there are many.

    Where none is known, those that sweep the experiments that normlab has.
    """
    commands = _distinct(_as_typed(environment.get("command")) for environment in environments)
    if not commands:
        names = dict.fromkeys(str(name) for name in runs["experiment"])
        commands = [f"normlab sweep experiment={name}" for name in names if experiment_file(name)]
    if len(commands) > MOST_COMMANDS:
        more = len(commands) - MOST_COMMANDS
        commands = [*commands[:MOST_COMMANDS], f"# {more} more, in the runs' environment.json"]
    return commands


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))


def _as_typed(words: Any) -> str:
    """A recorded command as a person types it, without the page that it wrote besides."""
    if not isinstance(words, list) or not words:
        return ""
    typed = [str(word) for word in words]
    if typed[0] == "__main__.py":  # of python -m normlab
        typed[0] = "normlab"
    if "--report" in typed:
        at = typed.index("--report")
        del typed[at : at + 2]
    return shlex.join(word for word in typed if not word.startswith("--report="))


def _commit(environment: Mapping[str, Any]) -> str:
    commit = str(environment.get("git_commit") or "")[:10]
    return f"{commit} with changes" if commit and environment.get("git_dirty") else commit


def _text_of(file: Path) -> str:
    try:
        return read_bounded(file).decode()
    except (OSError, ValueError):
        return ""
