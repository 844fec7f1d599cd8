"""The colour, dash and shape of every variant, the same in every picture."""

from collections.abc import Sequence
from typing import NamedTuple

from pandas import DataFrame

from normlab.config import NORMS
from normlab.errors import ConfigError

# For variants of one norm that differ in something without an order, and for norms that are not
# here: Tol's (2021) muted scheme.
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
# What an eye can tell apart: colours, shades of one colour, and lines in all.
MOST_COLOURS = len(OTHER_COLOURS)
MOST_SHADES = 8
MOST_LINES = 24

# How far the ends of a row of shades are mixed with white and with black.
_WHITE, _BLACK = 0.62, 0.45


class Look(NamedTuple):
    """How a variant is drawn."""

    colour: str
    dash: tuple[int, int]
    shape: str

    @property
    def style(self) -> str:
        """Its colour for rich; what is black on paper has that of a terminal's own text."""
        return "" if self.colour == "#000000" else self.colour


def looks(sharing: DataFrame, drawn: Sequence[str]) -> dict[str, Look]:
    """The look of each variant that is drawn.

    `sharing` are all the runs that share the colours, as `series.with_variants` gives them; a
    picture may hold only some of their variants. A variant is dashed if it has skips. It has its
    norm's colour, in a shade by what else sets variants apart, light to dark in the order of the
    values. Only where shades cannot tell them apart, since there are too many or one norm differs
    in something without an order, has each a colour by its place among their names.
    """
    every = _facts(sharing)
    if len(every) > most_variants(sharing):
        every = every[every["variant"].isin(drawn)]
    shaded = _are_shaded(every)
    names, rests = sorted(every["variant"]), sorted(every["rest"].unique())
    unknown = sorted({str(hue) for hue in every["hue"]} - set(NORMS))
    found = {}
    for row in every.itertuples(index=False):
        if shaded:
            norm = NORMS.get(str(row.hue))
            colour = norm.colour if norm else OTHER_COLOURS[unknown.index(str(row.hue))]
            colour = shade(colour, rests.index(row.rest), len(rests))
        else:
            colour = OTHER_COLOURS[names.index(row.variant) % MOST_COLOURS]
        skips = bool(row.residual)
        found[row.variant] = Look(
            colour, (5, 3) if skips else (1, 0), "diamond" if skips else "circle"
        )
    return {variant: found[variant] for variant in drawn}


def shade(colour: str, place: int, count: int) -> str:
    """One of `count` shades of a colour from light, at place 0, to dark; alone it is itself."""
    if count < 2:
        return colour
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    dark = _BLACK if max(channels) > 0 else 0.0  # black has no darker shade
    mix = _WHITE - (_WHITE + dark) * place / (count - 1)
    towards = 255 if mix > 0 else 0
    mixed = [round(channel + (towards - channel) * abs(mix)) for channel in channels]
    return "#" + "".join(f"{channel:02X}" for channel in mixed)


def most_variants(sharing: DataFrame) -> int:
    """How many of such runs' variants a picture can tell apart."""
    return MOST_LINES if _are_shaded(_facts(sharing)) else MOST_COLOURS


def check_number(table: DataFrame, sharing: DataFrame) -> None:
    """Raise ConfigError where a table has more variants than a picture can tell apart."""
    number, most = table["variant"].nunique(), most_variants(sharing)
    if number > most:
        raise ConfigError(
            f"{number} variants are more than a picture can tell apart ({most}); "
            "choose some, as in --where norm=bn,ln"
        )


def _facts(sharing: DataFrame) -> DataFrame:
    columns = ["variant", "residual", "hue", "rest", "ordered"]
    return sharing[columns].drop_duplicates("variant")


def _are_shaded(every: DataFrame) -> bool:
    shades = every["rest"].nunique()
    several = every["hue"].nunique() > 1 or bool(every["ordered"].all())
    return shades == 1 or (shades <= MOST_SHADES and several)
