"""What `normlab verify` found last about the experiments on a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from pandas import DataFrame

from normlab.claims import CLAIMS, Scale, remembered


class ClaimVerdict(NamedTuple):
    """A claim and its last verdict."""

    id: str
    title: str
    verdict: str


def verdicts_of(frame: DataFrame, folders: Sequence[Path]) -> list[ClaimVerdict]:
    """The last verdicts about the experiments of these runs, of `verify` on the same results."""
    names = set(frame["experiment"])
    found = {}
    for folder in folders:
        for root in (folder, *folder.resolve().parents[:2]):
            for scale in get_args(Scale):
                for identity, row in remembered(root, scale).items():
                    claim = CLAIMS.get(identity)
                    protocol = claim and (claim.small if scale == "small" else claim.paper)
                    if claim and protocol and protocol.experiment in names:
                        found[identity] = ClaimVerdict(identity, claim.title, row["verdict"])
    return [found[identity] for identity in sorted(found)]
