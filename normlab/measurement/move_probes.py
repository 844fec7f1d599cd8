"""Measurements of how a layer's gradient changes along the loss's (Santurkar et al. 2018)."""

from typing import TYPE_CHECKING

from normlab.config import PROBES, Probe

if TYPE_CHECKING:
    from torch import Tensor

    from normlab.measurement.moves import Moves


def gradient_predictiveness(seen: "Moves") -> "Tensor":
    """The largest ‖∂L/∂W(θ − tη∇L) − ∂L/∂W(θ)‖ / ‖∂L/∂W(θ)‖ over t = ½, 1, 2, 4, η the rate.

    How much of a layer's gradient is another one half a step to four steps further: near 0 it
    foretells them. Santurkar et al. (2018) plot the difference itself; over the gradient layers and
    networks can be compared. NaN of a layer without a gradient.
    """
    return (seen.changes / seen.gradient).amax()


def smoothness(seen: "Moves") -> "Tensor":
    """The largest ‖∂L/∂W(θ − tη∇L) − ∂L/∂W(θ)‖ / ‖tη∇L‖ over t = ½, 1, 2, 4, η the rate.

    A layer's share of the effective β-smoothness of Santurkar et al. (2018): how fast its gradient
    changes by how far the whole network moves, less being smoother. For one t, the root of the sum
    of its squares over all parameters is theirs. NaN where nothing moves.
    """
    return (seen.changes / seen.lengths).amax()


PROBES.add(
    "gradient_predictiveness",
    Probe(
        "gradient_predictiveness",
        "relative change of the gradient along itself",
        gradient_predictiveness,
        logarithmic=True,
        short="change of ∇",
        of_moves=True,
    ),
)
PROBES.add(
    "smoothness",
    Probe(
        "smoothness",
        "effective β-smoothness",
        smoothness,
        logarithmic=True,
        short="β-smooth",
        of_moves=True,
    ),
)
