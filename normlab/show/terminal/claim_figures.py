"""The figures of claims, their spread and their gates, as they are written."""

import math

from normlab.claims import Measure, Measured
from normlab.text import number


def value_text(part: Measured) -> str:
    """A figure as its measure's form has it."""
    if part.measure.form == "count":
        return f"{round(part.value * part.n)} of {part.n}"
    return _with_unit(part.measure, _digits(part.measure, part.value))


def spread_text(part: Measured) -> str:
    """The spread over the seeds: an interval of a mean, percentiles of a median, or all values."""
    if part.measure.form == "count" or math.isnan(part.low):
        return "–" if math.isinf(part.value) else ""
    if part.low == part.high == part.value:
        return "all alike"
    return f"{_digits(part.measure, part.low)} … {_digits(part.measure, part.high)}"


def gate_text(measure: Measure) -> str:
    """A gate in words: `≤ 1e-8`, `4 … 6`, `= 0`, `> 5 pp`, `all`."""
    if measure.gate is None:
        return ""
    low, high = measure.gate
    if measure.form == "count":
        return "all"
    if low == high:
        return f"= {_bound(measure, low)}"
    if -1e-9 < high < 0:
        return "< 0"
    if low == -math.inf:
        return f"≤ {_with_unit(measure, _bound(measure, high))}"
    if high == math.inf:
        return f"≥ {_with_unit(measure, _bound(measure, low))}"
    return f"{_bound(measure, low)} … {_bound(measure, high)}"


def _with_unit(measure: Measure, digits: str) -> str:
    return {"points": f"{digits} pp", "times": f"×{digits}"}.get(measure.form, digits)


def _digits(measure: Measure, value: float) -> str:
    if math.isinf(value):
        return "∞"
    return f"{100 * value:.2f}" if measure.form == "points" else number(value)


def _bound(measure: Measure, value: float) -> str:
    """A gate's bound, without the zeros that a measured figure has."""
    digits = _digits(measure, value)
    return digits.rstrip("0").rstrip(".") if "." in digits and "e" not in digits else digits
