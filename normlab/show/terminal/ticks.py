"""Round values along a scale, and how they are written beside it."""

import math
from collections.abc import Iterator

from normlab.show.terminal.bars import Scale


def ticks(scale: Scale, most: int, *, whole: bool = False) -> list[float]:
    """At most so many round values on a scale, as many as there can be, evenly spread.

    Of a logarithmic scale powers of ten, with 2 and 5 times them where there is room; of one that
    spans less than that, and of a linear one, multiples of 1, 2 or 5 times a power of ten; `whole`
    numbers only.
    """
    if scale.low == scale.high:
        return [scale.low]
    found: list[float] = []
    if scale.log:
        found = next(fit for fit in _powers(scale) if len(fit) <= most)
    if len(found) < 2:
        step = next(step for step in _steps(scale, most) if not whole or step >= 1)
        found = _multiples(scale, step)
    return found


def tick_text(value: float) -> str:
    """A round value in few characters: `0.5`, `20`, `1e-4`, `1e6`."""
    if value == 0 or 0.001 <= abs(value) < 100_000:
        return f"{value:.6g}"
    mantissa, _, exponent = f"{value:.6e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _powers(scale: Scale) -> Iterator[list[float]]:
    """Ever fewer powers of ten on a scale, the first of them with their multiples by 2 and 5."""
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    yield [
        value
        for exponent in range(first, last + 1)
        for digit in "125"
        if scale.low <= (value := float(f"{digit}e{exponent}")) <= scale.high
    ]
    for every in range(1, last - first + 2):
        # Counted from 10⁰, so that 1 is among them.
        exponents = (e for e in range(first, last + 1) if e % every == 0)
        yield [value for e in exponents if scale.low <= (value := float(f"1e{e}")) <= scale.high]
    yield []


def _steps(scale: Scale, most: int) -> Iterator[float]:
    """Ever larger distances between round values, from one of which at most so many fit."""
    size = math.floor(math.log10((scale.high - scale.low) / most))
    while True:
        for digit in "125":
            step = float(f"{digit}e{size}")
            if len(_multiples(scale, step)) <= most:
                yield step
        size += 1


def _multiples(scale: Scale, step: float) -> list[float]:
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    # Of the decimal digits of the step, in place of its binary multiples.
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, last + 1)]
