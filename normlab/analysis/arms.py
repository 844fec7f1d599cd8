"""The arms of a sweep before their runs have ended: each variant, and where each run stands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from normlab.analysis.cells import cells_of
from normlab.analysis.frames import to_frame
from normlab.analysis.keys import DEPTH
from normlab.analysis.variants import variant_keys, variants_of
from normlab.config import Config
from normlab.runs import Summary, run_folder


class Place(NamedTuple):
    """Where a run stands among the variants of a sweep."""

    arm: str  # its variant's name
    depth: Any
    seed: int


def places(configs: Sequence[Config]) -> dict[str, Place]:
    """Each run's place by run id, in the order in which a comparison of them has its rows.

    The same from the first run of a sweep to its last, as it does not ask which have ended.
    """
    frame = to_frame((run_folder(c), Summary.pending(c, "unfinished")) for c in configs)
    keys = variant_keys(frame)
    variants = variants_of(frame, keys)
    # Where nothing varies, depth neither, the net has a name of its own.
    alone = frame["name"].iloc[0] if not keys and frame["name"].nunique() == 1 else None
    order = cells_of(frame, [*keys, DEPTH]).number.argsort(kind="stable")
    depths, seeds, ids = (frame[key].tolist() for key in (DEPTH, "seed", "run_id"))
    return {ids[i]: Place(alone or variants[i].name, depths[i], seeds[i]) for i in order}
