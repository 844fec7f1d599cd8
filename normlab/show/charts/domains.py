"""What an axis spans, in charts and in sketches alike."""

import math

import numpy as np
from pandas import DataFrame

from normlab.errors import ConfigError
from normlab.vocabulary import Metric

# A healthy gradient looks level on a logarithmic scale of at least so many decades.
LEAST_DECADES = 4
# Numbers whose greatest is so many times the least stand on a logarithmic axis.
LEAST_RATIO = 20


def log_domain(low: float, high: float) -> tuple[float, float]:
    """The ends of a logarithmic scale that holds low and high, with equal room beyond both."""
    middle = math.log10(low) / 2 + math.log10(high) / 2
    half = max((math.log10(high) - math.log10(low)) / 2, LEAST_DECADES / 2)
    return 10 ** (middle - half), 10 ** (middle + half)


def is_logarithmic(low: float, high: float) -> bool:
    """Whether a key's numbers from low to high stand on a logarithmic axis."""
    return low > 0 and high / low >= LEAST_RATIO


def chance_values(runs: DataFrame, metric: Metric) -> list[float]:
    """Where guessing stands, for each number of classes of the runs' data; of no share nowhere."""
    if not metric.share:
        return []
    shares = [1 / float(classes) for classes in sorted(runs["classes"].dropna().unique())]
    return [1 - share if metric.better == "lower" else share for share in shares]


def check_any(table: DataFrame) -> None:
    """Raise ConfigError where no value of a table by layer has a place."""
    if not np.isfinite(table["value"]).any():
        raise ConfigError("every value is 0 or not finite, so there is nothing to draw by layer")
