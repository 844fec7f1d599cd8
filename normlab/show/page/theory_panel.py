"""The page's panel in which one drags a net's settings and sees the predicted gradient move.

The page's script runs mean-field theory's recursion itself. Of a nonlinearity it needs no more than
E[φ], E[φ²] and E[φ′²] over N(0, q) for any q, which stand in the page as tables, so that a plugin's
nonlinearity can be dragged as well.
"""

from typing import Any, NamedTuple

import numpy as np
from pandas import DataFrame

from normlab.analysis import beside_theory, series
from normlab.config import ACTIVATIONS
from normlab.errors import ConfigError
from normlab.measurement import EXPLODING_RATIO, VANISHING_RATIO
from normlab.networks import moments
from normlab.show.charts.saving import specification
from normlab.show.charts.styling import in_style

_NAME = "mean-field"
# ln q of the tables: between its places the script draws cubic curves, exact to 1e-5; beyond its
# ends, straight lines in ln q, which is how φ² and φ′² behave there.
_LEAST, _MOST, _PLACES = -14.0, 14.0, 113
_LARGEST_VARIANCE = 6.0
_DEEPEST = 100


class TheoryPanel(NamedTuple):
    """What the template reads of the panel, and what its script does."""

    name: str  # of its section and picture
    nets: list[str]  # which can be looked at
    activations: list[str]
    largest_weight_variance: float
    largest_bias_variance: float
    deepest: int
    data: dict[str, Any]  # the script's
    spec: dict[str, Any]  # Vega-Lite's


def theory_panel(runs: DataFrame, progress: series.Progress | None = None) -> TheoryPanel | None:
    """The panel beside the runs' measured gradients; None where theory covers none of them."""
    if "gradient_factor_theory" not in runs:
        return None
    try:
        nets = beside_theory.mean_field_nets(runs[runs["gradient_factor_theory"].notna()], progress)
    except ConfigError:  # no table can be read, as the pictures' notes say
        return None
    tables = {name: table for name in ACTIVATIONS if (table := _table(name)) is not None}
    nets = [net for net in nets if net.activation in tables]
    if not nets:
        return None
    return TheoryPanel(
        name=_NAME,
        nets=[f"{net.variant}, depth {net.depth}" for net in nets],
        activations=list(tables),
        largest_weight_variance=max(_LARGEST_VARIANCE, *(1.5 * n.weight_variance for n in nets)),
        largest_bias_variance=max(1.0, *(1.5 * n.bias_variance for n in nets)),
        deepest=max(_DEEPEST, *(net.depth for net in nets)),
        data={
            "name": _NAME,
            "vanishing": VANISHING_RATIO,
            "exploding": EXPLODING_RATIO,
            "nets": [{**net._asdict(), "profile": net.profile.to_dict("records")} for net in nets],
            "start": _LEAST,
            "step": (_MOST - _LEAST) / (_PLACES - 1),
            "tables": tables,
        },
        spec=specification(_chart()),
    )


def _table(activation: str) -> dict[str, Any] | None:
    """E[φ], ln E[φ²] and ln E[φ′²] at the places of ln q, and what else theory asks of φ.

    None where φ is not known on arrays, or where a figure has no logarithm, as of a step function.
    """
    part = ACTIVATIONS[activation]
    if part.phi is None or part.slope is None:
        return None
    variances = np.exp(np.linspace(_LEAST, _MOST, _PLACES))
    mean, square, slope = np.array([moments(activation, float(q)) for q in variances]).T
    if not (np.isfinite(mean).all() and (square > 0).all() and (slope > 0).all()):
        return None
    return {
        "mean": _digits(mean),
        "square": _digits(np.log(square)),
        "slope": _digits(np.log(slope)),
        "oddCurvature": part.odd_curvature,
        "homogeneous": part.homogeneous,
    }


def _digits(values: Any) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def _chart() -> Any:
    """The picture's looks: a line for what is predicted, points for what was measured, which the
    script fills in."""
    import altair as alt

    scale = alt.Scale(type="log", nice=False)
    title = "δ of a layer / of the last hidden one"
    x = alt.X("layer:Q", title="layer", axis=alt.Axis(tickMinStep=1), scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title=title, scale=scale, axis=alt.Axis(format=".3~g"))
    line = (
        alt.Chart(alt.NamedData("predicted"))
        .mark_line(strokeWidth=2, color="#0072B2")
        .encode(x=x, y=y, tooltip=_tooltip("predicted"))
    )
    # A gradient that neither vanishes nor explodes looks level on an axis as long as this.
    ends: list[dict[str, Any]] = [{"value": 0.1}, {"value": 10}]
    least = alt.Chart(alt.InlineData(ends)).mark_rule(opacity=0).encode(y=y)
    measured = alt.Chart(alt.NamedData("measured"))
    band = measured.mark_rule(color="#D55E00", opacity=0.5).encode(x=x, y="low:Q", y2="high:Q")
    points = measured.mark_point(filled=True, size=30, color="#D55E00", opacity=1).encode(
        x=x, y=y, tooltip=_tooltip("measured")
    )
    return in_style(alt.layer(line, band, points, least).properties(width=620, height=300))


def _tooltip(what: str) -> list[Any]:
    import altair as alt

    return [alt.Tooltip("layer:Q"), alt.Tooltip("value:Q", title=what, format=".4~g")]
