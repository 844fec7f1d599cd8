"""A run's blocks as a table, of networks whose layers have roles in them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from normlab.measurement import by_block
from normlab.show.terminal.layer_table import COLUMNS, Column, Kind, folded, tabulated
from normlab.show.terminal.plain_tables import dimmed
from normlab.text import number

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = (
    *COLUMNS[:2],
    Column("ρ init", "token_cosine", "first"),
    Column("ρ end", "token_cosine"),
    Column("from rank 1", "rank_one_distance", about="from rank 1: 0 where all tokens are alike"),
    # Measured only where it was asked for, so that it is not what is left out for width.
    Column("leak", "padding_leak", about="leak: how far N(0, 1) in padding moves real tokens"),
    Column("entropy", "attention_entropy", about="entropy: 1 where attention is spread evenly"),
    Column("logit std", "logit_std"),
    *COLUMNS[2:],
)
_ABOUT = (
    "δ: root mean square gradient at a block's layers but queries and keys; blue below 1% of the "
    "last block's, red above 100 times it; ρ: mean cosine between a sample's tokens"
)
_WEIGHTS = {
    "query": "W_Q",
    "key": "W_K",
    "value": "W_V",
    "attention output": "W_O",
    "feed-forward 1": "W_1",
    "feed-forward 2": "W_2",
}


def block_table(layers: "DataFrame", width: int, measured: Sequence[str] = ()) -> Group | None:
    """A run's blocks from input to output, each probe's first or last measured value, and below
    them the gradient of every role's weight at the first step.

    As `layer_table` is. None where nothing was measured.
    """
    blocks = tabulated(by_block(layers), Kind("block", _COLUMNS, _ABOUT), width, measured)
    gradients = _gradients_by_role(layers)
    return Group(*(part for part in (blocks, gradients) if part)) if blocks else None


def _gradients_by_role(layers: "DataFrame") -> Group | None:
    """‖∂L/∂W‖ of the weights in each block at the first step at which it was measured."""
    if "grad_norm" not in layers:
        return None
    known = layers.dropna(subset=["grad_norm", "block"])
    first = known[known["step"] == known["step"].min()]
    norms = first.pivot(index="block", columns="role", values="grad_norm")
    roles = [role for role in _WEIGHTS if role in norms]
    if not len(norms) or not roles:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("block", justify="right")
    for role in roles:
        table.add_column(f"∇{_WEIGHTS[role]}", justify="right", no_wrap=True)
    for place in folded(len(norms)):
        row = norms.iloc[place - 1]
        table.add_row(f"{norms.index[place - 1]:.0f}", *(Text(number(row[role])) for role in roles))
    step = int(first["step"].iloc[0])
    note = f"‖∂L/∂W‖ at step {step} of queries, keys, values, attention output and feed-forward"
    return Group(table, *dimmed([note]))
