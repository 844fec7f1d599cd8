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

    `sharing` are all the runs that share the colours, as `series.with_variants` gives them; a
    picture may hold only some of their variants. A variant is dashed if it has skips, and has its
    norm's colour where norm and skips are all that sets any of them apart; otherwise its colour is
    one by its place among their names.
    """
    every = sharing[["variant", "norm", "residual", "plain_variant"]].drop_duplicates("variant")
    if len(every) > MOST_VARIANTS:
        every = every[every["variant"].isin(drawn)]
    plain = bool(every["plain_variant"].all())
    order = sorted(every["variant"])
    found = {}
    for row in every.itertuples(index=False):
        norm = NORMS.get(str(row.norm)) if plain else None  # of a plugin that is not here, None
        found[row.variant] = Look(
            norm.colour if norm else OTHER_COLOURS[order.index(row.variant) % MOST_VARIANTS],
            (5, 3) if row.residual else (1, 0),
            "diamond" if row.residual else "circle",
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
