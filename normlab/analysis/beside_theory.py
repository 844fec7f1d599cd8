"""What was measured of the gradient at initialization, beside what mean-field theory predicts."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
from pandas import DataFrame

from normlab.analysis.series import Line, Progress, over_seeds, tables_of
from normlab.config import Config, from_plain
from normlab.errors import ConfigError
from normlab.measurement import (
    Values,
    adds_branches_as_they_are,
    bias_variance,
    predict,
    weight_variance,
)
from normlab.runs import read_summary


class Net(NamedTuple):
    """A variant at one depth that mean-field theory covers, and its gradient's profile."""

    variant: str
    depth: int
    activation: str
    weight_variance: float  # σ_w², fan-in times the variance of a hidden layer's weights
    bias_variance: float  # σ_b²
    input_variance: float  # of the first layer's z, without its bias, in σ_w²
    input_bias: float  # variance of the first layer's biases, in σ_b²
    residual: bool
    profile: DataFrame  # layer, value, low, high, n: δ over that of the last hidden layer


class _Start(NamedTuple):
    """A run's δ of its hidden layers at initialization, and theory's factors between them."""

    line: Line
    config: Config
    deltas: Values
    factors: Values


def predicted(runs: DataFrame, progress: Progress | None = None) -> DataFrame:
    """Measured and predicted factor of δ from each hidden layer to the one before, at init.

    Variant, depth, layer, value, low, high, n, predicted. Raises ConfigError where theory covers
    none of the runs.
    """
    parts = []
    for start in _starts(runs, progress):
        deltas = start.deltas
        measured = {"layer": np.arange(1, len(deltas)), "value": deltas[:-1] / deltas[1:]}
        columns = {**start.line._asdict(), **measured, "predicted": start.factors}
        parts.append(DataFrame(columns))
    if not parts:
        raise ConfigError(
            "theory covers none of these runs; it covers MLPs without norm, or BatchNorm and ReLU "
            "(normlab explain theory)"
        )
    return over_seeds(pandas.concat(parts, ignore_index=True), ["layer", "predicted"], log=True)


def mean_field_nets(runs: DataFrame, progress: Progress | None = None) -> list[Net]:
    """The nets among runs whose gradient at initialization follows from σ_w² and σ_b² alone.

    They are MLPs without a norm that theory covers, without skips or with such as add φ of a layer
    as it is; a profile is the geometric mean over seeds.
    """
    configs: dict[Line, Config] = {}
    parts = []
    for line, config, deltas, _ in _starts(runs, progress):
        # A norm's gradient is a theorem's; the page's own script knows no other skips.
        if config.norm.normalizes or not adds_branches_as_they_are(config.model):
            continue
        configs.setdefault(line, config)
        profile = {"layer": np.arange(1, len(deltas) + 1), "value": deltas / deltas[-1]}
        parts.append(DataFrame({**line._asdict(), **profile}))
    if not parts:
        return []
    found = over_seeds(pandas.concat(parts, ignore_index=True), ["layer"], log=True)
    lines = found.groupby([*Line._fields], sort=False)
    return [_net(line, config, lines.get_group(tuple(line))) for line, config in configs.items()]


def _net(line: Line, config: Config, profile: DataFrame) -> Net:
    model, data = config.model, config.data
    variance = weight_variance(config)
    first, biases = variance, bias_variance(config)
    first_biases = biases
    # Else φ′ does not depend on how large z is.
    if data.pixels is not None and data.second_moment is not None:
        first = weight_variance(config, data.pixels) * data.second_moment
        first_biases = bias_variance(config, data.pixels)
    return Net(
        *line,
        activation=model.activation,
        weight_variance=variance,
        bias_variance=biases,
        input_variance=first / variance,
        input_bias=first_biases / biases if biases else 1.0,
        residual=model.residual,
        profile=profile[["layer", "value", "low", "high", "n"]],
    )


def _starts(runs: DataFrame, progress: Progress | None) -> Iterator[_Start]:
    """Of each training that theory covers what it was at initialization."""
    for line, folder, layers in tables_of(runs, "layers", progress, needed="delta_rms"):
        config, factors = _theory(folder)
        if config is None or factors is None:
            continue
        start = layers[layers["step"] == 0].sort_values("layer")["delta_rms"].to_numpy()[:-1]
        if len(start) == len(factors) + 1 and (start > 0).all():
            yield _Start(line, config, start, factors)


def _theory(folder: Path) -> tuple[Config | None, Values | None]:
    """A run's config and theory's factors of its net, None where it does not cover it."""
    summary = read_summary(folder)
    try:
        config = from_plain(summary.config if summary else None)
        prediction = predict(config)
    except ConfigError:
        return None, None
    return config, None if prediction is None else prediction.factors
