"""Normlab's own claims: one YAML file each in configs/claim, read when it is asked for.

A gate was calibrated (C06 to C10), or fixed before the final runs, and is never widened. Pilots,
which a claim quotes, were on seeds 100–102, which the final runs do not use; C09's paper scale had
none.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from normlab.config import config_folder

if TYPE_CHECKING:
    from normlab.claims.claim import Claim


def claim_ids() -> tuple[str, ...]:
    """The ids of normlab's own claims, from the files' names alone."""
    return tuple(sorted(file.stem for file in (config_folder() / "claim").glob("*.yaml")))


class Catalogue(Mapping[str, "Claim"]):
    """Claims by id, in their order; each file is read once."""

    def __getitem__(self, identity: str) -> "Claim":
        if identity not in self:
            raise KeyError(identity)
        return _read(identity)

    def __contains__(self, identity: object) -> bool:
        return identity in claim_ids()

    def __iter__(self) -> Iterator[str]:
        return iter(claim_ids())

    def __len__(self) -> int:
        return len(claim_ids())


@functools.cache
def _read(identity: str) -> "Claim":
    from normlab.claims.reading import parse_claim

    return parse_claim(config_folder() / "claim" / f"{identity}.yaml")


CLAIMS = Catalogue()
