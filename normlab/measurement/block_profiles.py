"""A network's layers as its blocks: one value a block, where a table says in which each layer is.

Layers of unlike roles, such as a transformer's queries and its feed-forward layers, have gradients
of unlike sizes, so that only those of one role can be compared from block to block.
"""

from typing import TYPE_CHECKING

import numpy as np

from normlab.config import PROBES

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# Where tokens are alike, an encoder's queries and keys get no gradient, whatever reaches the other
# layers of their block: they have no part in its means. Names of normlab's encoder alone: the roles
# of a watched transformer are parts of its modules' paths, which often hold all three in one layer.
_ASIDE = ("query", "key")
# Of all blocks, in which a role has to be.
_MOST = 0.6


def has_blocks(layers: "DataFrame") -> bool:
    """Whether a table's layers are in blocks, several in one, and not each by itself."""
    return "role" in layers and bool((layers["role"] != "").any())


def unit_of(layers: "DataFrame") -> str:
    """What `by_block` has a row for: block, or layer."""
    return "block" if has_blocks(layers) else "layer"


def by_block(layers: "DataFrame") -> "DataFrame":
    """Rows of layers.parquet as a row a block and step, from 1 at the input, and the output layer's
    behind them; the table itself where its layers are in no blocks.

    A block's value is the mean over the roles that most blocks have, the geometric one of what
    spans decades; blocks without one of those are left out. What lies outside of blocks, but for
    the last layer, is left out, too. A role that is exactly 0 in some block, such as what lies
    within a branch whose last weight begins at 0, is left out of a step's geometric means unless
    all roles are. Of an encoder's queries and keys only what their attention shows is in it.
    """
    import pandas

    if not has_blocks(layers):
        return layers
    probes = [str(name) for name in layers if name in PROBES]
    inside = _comparable(layers[layers["block"].notna()])
    of_layers = [name for name in probes if PROBES[name].role is None]
    aside = inside["role"].isin(_ASIDE)
    inside = inside.assign(**{name: inside[name].mask(aside) for name in of_layers})
    logarithmic = [name for name in probes if PROBES[name].logarithmic]
    inside = inside.assign(**{name: _logarithms(inside, name) for name in logarithmic})
    means = inside.groupby(["step", "block"], as_index=False)[probes].mean()
    means[logarithmic] = np.exp(means[logarithmic])
    numbers = {block: number for number, block in enumerate(sorted(means["block"].unique()), 1)}
    means["layer"] = means["block"].map(numbers)
    means["name"] = means["block"].map(lambda block: f"block {block:.0f}")
    output = layers[layers["layer"] == layers["layer"].max()].assign(layer=len(numbers) + 1)
    columns = ["step", "layer", "name", *probes]
    found: DataFrame = pandas.concat([means[columns], output[columns]], ignore_index=True)
    return found


def _logarithms(inside: "DataFrame", probe: str) -> "Series[float]":
    """log of a probe's values, NaN of roles that are 0 somewhere at a step at which others are not;
    exp of it gives 0 back where all are."""
    zero = inside[probe] == 0
    shut = zero.groupby([inside["step"], inside["role"]]).transform("any")
    unmeasured = inside[probe].isna()  # of what tokens show, in all roles but one
    all_shut = (shut | unmeasured).groupby(inside["step"]).transform("all")
    with np.errstate(divide="ignore"):
        found: Series[float] = np.log(inside[probe]).where(~shut | all_shut)
    return found


def _comparable(inside: "DataFrame") -> "DataFrame":
    """The rows of the roles that most blocks have, of blocks that have them all."""
    places = inside.drop_duplicates(["block", "role"])
    blocks = places["block"].nunique()
    counts = places["role"].value_counts()
    common = counts.index[counts > _MOST * blocks]
    if not len(common):
        return inside
    chosen = places[places["role"].isin(common)]["block"].value_counts()
    whole = chosen.index[chosen == len(common)]
    if len(whole) < 2:
        return inside
    return inside[inside["role"].isin(common) & inside["block"].isin(whole)]
