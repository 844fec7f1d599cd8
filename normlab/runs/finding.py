"""Where runs lie: results folders walked, links followed, and the run that a person means."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from normlab.bounded_files import read_bounded
from normlab.config import Config, from_plain, from_yaml, run_id
from normlab.errors import NormlabError, RecordError
from normlab.runs.folder import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    is_final,
    run_folder,
)
from normlab.runs.locks import LOCK_FILE
from normlab.runs.provenance import ENVIRONMENT_FILE, start_of
from normlab.runs.summary import SUMMARY_FILE, parse_summary, read_summary
from normlab.text import first_line, some_of

# A link to a results folder leads to its runs in so many steps; one to / must not lead to all.
_BELOW_LINK = 2
_LEAST_DIGITS = 4
# Other folders may hold whatever they like, pictures and verdicts.
_TABLES = ("metrics.parquet", "layers.parquet", "metrics.arrows", "layers.arrows")
_ONLY_A_RUNS = (ENVIRONMENT_FILE, *_TABLES, WEIGHTS_FILE, STATE_FILE, CHECKPOINT_FILE)


class Found(NamedTuple):
    """A run's folder, and its summary.json where it has one."""

    folder: str
    summary: bytes | None


def run_folders(roots: Sequence[Path], problems: list[str]) -> Iterator[Found]:
    """The run folders at and below some folders, each once, in order of names.

    Links are followed after all else, so that a folder has its own name where it can, and to the
    runs of a linked results folder at most. `problems` gets a line for each folder with some of a
    run's files that is no run, and for one with runs whose name begins with a dot. Raises
    RecordError where a root is no folder.
    """
    seen: set[tuple[int, int]] = set()
    for root in roots:
        if not root.is_dir():
            raise RecordError(f"{root}: no such folder")
        links: list[str] = []
        yield from _below(str(root), seen, links, problems)
        while links:
            yield from _below(links.pop(0), seen, links, problems, _BELOW_LINK)


def _below(
    root: str,
    seen: set[tuple[int, int]],
    links: list[str],
    problems: list[str],
    most_steps: int | None = None,
) -> Iterator[Found]:
    """The run folders at and below one that were not seen; `links` gets those to follow."""
    stack = [(root, 0)]
    while stack:
        folder, steps = stack.pop()
        try:
            place = os.stat(folder)  # noqa: PTH116  # a Path each would take longer than all else
            if (place.st_dev, place.st_ino) in seen:
                continue
            with contextlib.suppress(FileNotFoundError):
                text = read_bounded(f"{folder}/{SUMMARY_FILE}")
                seen.add((place.st_dev, place.st_ino))
                yield Found(folder, text)
                continue
            with os.scandir(folder) as entries:
                inside = list(entries)
        except (OSError, ValueError) as error:
            problems.append(f"{folder}: {in_one_line(error)}")
            continue
        below = _folders_in(inside, links if most_steps is None else [], problems)
        files = {entry.name for entry in inside}
        if most_steps is None or CONFIG_FILE in files:  # else another link may lead further
            seen.add((place.st_dev, place.st_ino))
        if CONFIG_FILE in files:
            yield Found(folder, None)
        elif LOCK_FILE in files:
            problems.append(f"{folder}: just begun, it has no config.yaml yet")
        elif files.intersection(_ONLY_A_RUNS):
            problems.append(f"{folder}: not a run, it has neither config.yaml nor {SUMMARY_FILE}")
        if most_steps is None or steps < most_steps:
            stack.extend((path, steps + 1) for path in sorted(below, reverse=True))


def _folders_in(
    inside: Sequence["os.DirEntry[str]"], links: list[str], problems: list[str]
) -> list[str]:
    """The folders in one to walk; `links` gets linked ones, `problems` what is left out."""
    below = []
    for entry in sorted(inside, key=lambda entry: entry.name):
        if entry.name.startswith("."):
            if _holds_runs(entry.path):
                problems.append(f"{entry.path}: left out, its name begins with a dot")
        elif entry.is_dir(follow_symlinks=False):
            below.append(entry.path)
        elif entry.is_symlink() and os.path.isdir(entry.path):  # noqa: PTH112  # Path's may raise
            links.append(entry.path)
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            problems.append(f"{entry.path}: a link that leads nowhere")
    return below


def _holds_runs(folder: str) -> bool:
    return any(any(Path(folder).glob(f"*/{name}")) for name in (SUMMARY_FILE, CONFIG_FILE))


def in_one_line(error: Exception) -> str:
    """What went wrong, of a system's error without the path that it repeats."""
    return error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)


def find_run(name: str | None, root: Path, *, but: Callable[[str], bool] = lambda _: False) -> Path:
    """The folder that a person means by a path or the start of a run id; the latest for None, `but`
    not of experiments whose name this is true of.

    Of one run in several folders the one that started last. Raises RecordError where there is none,
    or several runs begin so.
    """
    if name is None:
        ended = [folder for folder in _ended_in(root) if not but(folder.parent.name)]
        if not ended:
            raise RecordError(f"{root.resolve()}: no run is here yet; normlab run makes one")
        return _latest(ended)
    with contextlib.suppress(OSError):  # a name too long for a path is none
        if (Path(name) / CONFIG_FILE).is_file():
            return Path(name)
    folders = [Path(found.folder) for found in _runs_in(root)]
    meant = [folder for folder in folders if name and folder.name.startswith(name)]
    if not meant:
        raise RecordError(
            f"{name}: no such run; give a run's folder or the start of its id in {root.resolve()}"
        )
    if len({folder.name for folder in meant}) > 1:
        several = some_of(sorted(map(str, meant)), 4)
        raise RecordError(f"{name}: {len(meant)} runs begin so: {several}")
    return max(meant, key=start_of)


def short_id(folder: Path) -> str:
    """The start of a run's id by which it is found in its results folder: four digits, or as many
    more as no other run there begins with."""
    names: set[str] = set()
    with contextlib.suppress(OSError):
        for experiment in folder.parent.parent.iterdir():
            with contextlib.suppress(OSError):
                names.update(os.listdir(experiment))  # noqa: PTH208
    others = names - {folder.name}
    lengths = range(_LEAST_DIGITS, len(folder.name))
    starts = (folder.name[:length] for length in lengths)
    unique = (start for start in starts if not any(name.startswith(start) for name in others))
    return next(unique, folder.name)


def latest_experiment(root: Path) -> tuple[Path, int]:
    """The folder that holds the run in a results folder that started last, and how many folders
    hold runs there; the results folder itself and 0 where no run has ended."""
    ended = _ended_in(root)
    if not ended:
        return root, 0
    return _latest(ended).parent, len({folder.parent for folder in ended})


def _latest(ended: Sequence[Path]) -> Path:
    """The folder of the run that started last, of those whose summary is sound if there are any."""
    by_start = sorted(ended, key=start_of, reverse=True)
    return next((folder for folder in by_start if read_summary(folder)), by_start[0])


def _ended_in(root: Path) -> list[Path]:
    return [Path(found.folder) for found in _runs_in(root) if found.summary is not None]


def finished_elsewhere(configs: Sequence[Config]) -> list[Path]:
    """The finished runs of configs that lie beside their own folder, in other experiments."""
    found = []
    for root in {config.output.root: None for config in configs}:
        inside: dict[str, set[str]] = {}
        with contextlib.suppress(OSError), os.scandir(root) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    inside[entry.path] = set(os.listdir(entry.path))  # noqa: PTH208
        for config in configs:
            if config.output.root != root:
                continue
            own = run_folder(config)
            found += [
                folder
                for experiment, names in inside.items()
                if own.name in names and own.parent.name != Path(experiment).name
                if is_final(folder := Path(experiment) / own.name)
            ]
    return found


def made_with_other_plugins(configs: Sequence[Config]) -> list[Path]:
    """The runs in the experiments of configs that differ from one of them in nothing but the source
    of a plugin."""
    wanted: dict[Path, set[str]] = {}
    for config in configs:
        if config.plugins:
            wanted.setdefault(run_folder(config).parent, set()).add(_id_without_plugins(config))
    found = []
    own = {run_folder(config) for config in configs} if wanted else set()
    for experiment, ids in wanted.items():
        for folder, summary in _runs_in(experiment):
            with contextlib.suppress(NormlabError, OSError, ValueError, RecursionError):
                other = _config_in(folder, summary)
                if other.plugins and _id_without_plugins(other) in ids:
                    found += [Path(folder)] if Path(folder) not in own else []
    return found


def _id_without_plugins(config: Config) -> str:
    return run_id(config.model_copy(update={"plugins": {}}))


def _config_in(folder: str, summary: bytes | None) -> Config:
    """The config of a run; raises ConfigError, OSError or ValueError."""
    if summary is not None:
        return from_plain(parse_summary(summary).config)
    return from_yaml(read_bounded(f"{folder}/{CONFIG_FILE}").decode())


def _runs_in(root: Path) -> Iterator[Found]:
    return run_folders([root], []) if root.is_dir() else iter(())
