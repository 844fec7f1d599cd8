"""The gradient's way through a watched network: one value a block, or a layer where there are none.

Layers of unlike roles, such as a transformer's queries and its feed-forward layers, have gradients
of unlike sizes, so that only those of one role can be compared from block to block.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas

if TYPE_CHECKING:
    from pandas import DataFrame


# Of all blocks, in which a role has to be.
_MOST = 0.6


class Profile(NamedTuple):
    """Rows as `state_at` takes them, from the input, the output layer's last; and what each is."""

    rows: "DataFrame"
    noun: str  # block | layer


def profile(layers: "DataFrame", step: int) -> Profile:
    """The snapshot of one step: the layers that have an output, or a row a block.

    A block's δ is the geometric mean over the roles that most blocks have, and blocks without one
    of those are left out; its activations are what its last layer sends.
    """
    measured = layers.loc[layers["delta_rms"].notna(), "layer"].unique()
    rows = layers[(layers["step"] == step) & layers["layer"].isin(measured)].sort_values("layer")
    inside = rows[rows["block"].notna()]
    blocks = inside["block"].nunique()
    if blocks < 2 or (inside["role"] == "").all():
        return Profile(rows, "layer")
    common = inside.groupby("role")["block"].nunique() > _MOST * blocks
    chosen = inside[inside["role"].map(common)] if common.any() else inside
    whole = chosen.groupby("block")["role"].nunique() == (common.sum() or chosen["role"].nunique())
    chosen = chosen[chosen["block"].map(whole)] if whole.sum() > 1 else chosen
    with np.errstate(divide="ignore"):
        logarithms = np.log(chosen["delta_rms"])
    deltas = np.exp(logarithms.groupby(chosen["block"]).mean())
    by_block = inside.groupby("block").last().loc[deltas.index]
    by_block["delta_rms"] = deltas
    # The output layer's place, whose gradient is not compared.
    ordered = pandas.concat([by_block.reset_index(), rows.tail(1)], ignore_index=True)
    return Profile(ordered.assign(step=step, layer=range(1, len(ordered) + 1)), "block")
