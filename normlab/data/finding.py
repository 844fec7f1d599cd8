"""Where a data set's files lie, and how they are fetched."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from normlab.errors import DataError


@dataclass(frozen=True)
class Source:
    """Where a data set's files lie within a place, and where they come from."""

    name: str  # of the data set
    subfolders: tuple[str, ...]
    files: tuple[str, ...]
    archive: str | None = None
    url: str = ""
    md5: tuple[str, ...] = ()  # of the archive, or else of each file
    system_folders: tuple[str, ...] = ()  # of Debian's packages


def search_places(source: Source, root: str | None = None) -> list[Path]:
    """The folders where a data set is looked for, in order; `root`, where given, is the only one.

    Raises DataError where a place names a home folder that is not there.
    """
    if root is not None:
        return [_expanded("data.root", root)]
    given = os.environ.get("NORMLAB_DATA")
    places = [_expanded("NORMLAB_DATA", given)] if given else []
    return [*places, _cache(), *map(Path, source.system_folders)]


def locate_in(source: Source, places: Sequence[Path]) -> Path | None:
    """The folder or archive that holds a data set, or None where it is in none of the places.

    Reads no file and downloads nothing. Raises DataError where a place cannot be looked into.
    """
    for place in places:
        for folder in (place / subfolder for subfolder in source.subfolders):
            if not _missing(source, folder):
                return folder
        if source.archive and _exists(place / source.archive):
            return place / source.archive
    return None


def find(source: Source, root: str | None) -> Path:
    """Where the data set lies, downloaded if need be; raises DataError."""
    found = locate_in(source, search_places(source, root))
    if found is not None:
        return found
    if root is None:
        given = os.environ.get("NORMLAB_DATA")
        if given and not _exists(_expanded("NORMLAB_DATA", given)):
            raise DataError(f"NORMLAB_DATA={given}: there is no such folder; make it or unset it")
        return _download(source)
    place = _expanded("data.root", root)
    if not _exists(place):
        raise DataError(f"data.root={root}: there is no such folder; {_wanted(source, place)}")
    raise DataError(f"data.root={root}: {source.name} is not there; {_wanted(source, place)}")


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("normlab", appauthor=False) / "data"


def _expanded(key: str, folder: str) -> Path:
    try:
        return Path(folder).expanduser()
    except RuntimeError as error:
        raise DataError(f"{key}={folder}: there is no such home folder") from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot be looked for ({error.strerror})") from error


def present(folder: Path, file: str) -> Path | None:
    """The file, or its uncompressed counterpart."""
    candidates = (folder / file, folder / file.removesuffix(".gz"))
    return next(filter(_exists, candidates), None)


def _missing(source: Source, folder: Path) -> list[str]:
    return [file for file in source.files if present(folder, file) is None]


def _wanted(source: Source, place: Path) -> str:
    """What to put where, so that the data set is found in this place."""
    folders = [place / subfolder for subfolder in source.subfolders]
    missing, folder = min(
        ((_missing(source, folder), folder) for folder in folders), key=lambda pair: len(pair[0])
    )
    if source.archive and len(missing) == len(source.files):
        return f"put {source.subfolders[0]}/ or {source.archive} into {place}"
    return f"put {', '.join(missing)} into {folder}"


def _download(source: Source) -> Path:
    """Fetch the files into the user's cache; a file whose checksum differs is not kept."""
    import pooch
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    pooch.get_logger().setLevel("ERROR")
    place = _cache()
    folder = place if source.archive else place / source.subfolders[0]
    files = (source.archive,) if source.archive else source.files
    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            for file, md5 in zip(files, source.md5, strict=True):
                pooch.retrieve(
                    f"{source.url}{file}",
                    known_hash=f"md5:{md5}",
                    fname=file,
                    path=folder,
                    downloader=pooch.HTTPDownloader(
                        progressbar=_DownloadBar(progress, f"{source.name} {file}"),
                        chunk_size=2**16,
                        timeout=(5, 20),  # seconds to connect, and between two bytes
                    ),
                )
    except (OSError, ValueError) as error:
        raise DataError(
            f"data={source.name}: not found and the download failed ({_failure(error)}); "
            f"{_wanted(source, place)}, or set data.root or NORMLAB_DATA"
        ) from error
    return folder / source.archive if source.archive else folder


class _DownloadBar:
    """A rich progress bar with the interface that pooch expects."""

    def __init__(self, progress: Any, description: str):
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    @property
    def total(self) -> float | None:
        """The size of the file in bytes, or None until the server says it."""
        total: float | None = self._progress.tasks[self._task].total
        return total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        self._progress.update(self._task, advance=size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.stop_task(self._task)


def _failure(error: OSError | ValueError) -> str:
    """Why a download failed, in a few words."""
    import requests

    request = getattr(error, "request", None)
    host = urlsplit(request.url).hostname if request is not None else "the server"
    match error:
        case requests.HTTPError(response=answer) if answer is not None:
            return f"{host} answered {answer.status_code}"
        case requests.Timeout():
            return f"{host} did not answer in time"
        case requests.RequestException():
            return f"no connection to {host}"
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else str(error)
        case _:
            return "the file's checksum is not the published one"
