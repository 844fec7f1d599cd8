"""What a verdict rests on, as one hash: where that has changed, the verdict no longer holds."""

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from normlab import __version__
from normlab.bounded_files import read_bounded
from normlab.claims.claim import Claim, Scale
from normlab.config import config_folder
from normlab.runs import SUMMARY_FILE


def evidence_digest(claim: Claim, scale: Scale, folders: Sequence[Path]) -> str:
    """A hash of a claim's gates and measures, of its runs' ids and summaries, of normlab's version
    and of its configs, from which an experiment's runs follow."""
    found = hashlib.sha256()
    for part in _parts(claim, scale, folders):
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def _parts(claim: Claim, scale: Scale, folders: Sequence[Path]) -> Iterator[bytes]:
    protocol = claim.at(scale)
    stated = protocol.model_dump(mode="json") if protocol else None
    yield json.dumps([__version__, claim.id, scale, stated], sort_keys=True).encode()
    yield _configs()
    for folder in sorted(folders, key=lambda folder: folder.name):
        yield folder.name.encode()
        yield _content(folder / SUMMARY_FILE)


@functools.cache
def _configs() -> bytes:
    found = hashlib.sha256()
    for file in sorted(config_folder().rglob("*.yaml")):
        if file.parent.name != "claim":
            found.update(file.name.encode() + file.read_bytes())
    return found.digest()


def _content(file: Path) -> bytes:
    try:
        return hashlib.sha256(read_bounded(file)).digest()
    except (OSError, ValueError):
        return b"missing"
