"""The colour, dash and shape of every variant, the same in every picture."""

from collections.abc import Sequence
from typing import NamedTuple

from pandas import DataFrame

from normlab.config import NORMS
from normlab.errors import ConfigError

# For variants that differ in more than norm and skips: Tol's (2021) muted scheme.
OTHER_COLOURS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#000000",
    "#777777",
    "#BB5500",
)
MOST_VARIANTS = len(OTHER_COLOURS)


class Look(NamedTuple):
    """How a variant is drawn."""

    colour: str
    dash: tuple[int, int]
    shape: str


def looks(sharing: DataFrame, drawn: Sequence[str]) -> dict[str, Look]:
    """The look of each variant that is drawn.

    `sharing` has the columns variant, norm and model.residual of all runs that share the colours,
    of which a picture may hold only some. A variant has its norm's colour, and is dashed if it has
    skips, where norm and skips tell all of them apart; otherwise its colour is one by its place
    among their names.
    """
    keys = ["norm", "model.residual"]
    every = sharing[["variant", *keys]].drop_duplicates("variant")
    if len(every) > MOST_VARIANTS:
        every = every[every["variant"].isin(drawn)]
    told_apart = not every.duplicated(keys).any()
    order = sorted(every["variant"])
    found = {}
    for row in every.itertuples(index=False):
        variant, norm, residual = row
        part = NORMS.get(norm) if told_apart else None  # of a plugin that is not here, None
        skips = residual in (True, "true")
        found[variant] = Look(
            part.colour if part else OTHER_COLOURS[order.index(variant) % MOST_VARIANTS],
            (5, 3) if skips else (1, 0),
            "diamond" if skips else "circle",
        )
    return {variant: found[variant] for variant in drawn}


def check_number(table: DataFrame) -> None:
    """Raise ConfigError where a table has more variants than a picture can tell apart."""
    number = table["variant"].nunique()
    if number > MOST_VARIANTS:
        raise ConfigError(
            f"{number} variants are more than a picture can tell apart ({MOST_VARIANTS}); "
            "choose some, as in --where norm=bn,ln"
        )
