"""What `normlab verify` found last about the experiments on a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from pandas import DataFrame

from normlab.claims import CLAIMS, Claim, Scale, remembered


class ClaimVerdict(NamedTuple):
    """A claim and its last verdict."""

    id: str
    title: str
    verdict: str


def verdicts_of(frame: DataFrame, folders: Sequence[Path]) -> list[ClaimVerdict]:
    """The last verdicts about the experiments of these runs, of `verify` on the same results.

    One whose runs or gates have changed since is left out.
    """
    names = set(frame["experiment"])
    found = {}
    for folder in folders:
        for root in (folder, *folder.resolve().parents[:2]):
            for scale in get_args(Scale):
                about = [claim for claim in CLAIMS.values() if _experiment(claim, scale) in names]
                for identity, last in remembered(root, scale, about).items():
                    if last.holds:
                        title = CLAIMS[identity].title
                        found[identity] = ClaimVerdict(identity, title, last.verdict)
    return [found[identity] for identity in sorted(found)]


def _experiment(claim: Claim, scale: Scale) -> object:
    protocol = claim.at(scale)
    return protocol.experiment if protocol else None
