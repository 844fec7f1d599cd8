"""Expectations of a nonlinearity over Gaussian inputs, which mean-field theory is made of."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from normlab.config import ACTIVATIONS
from normlab.errors import ConfigError
from normlab.networks.activations import Values, normal_density

# E over u ~ N(0, 1) by the midpoint rule in t, u = sinh(t)/10⁵: as dense as needed where a large q
# lets φ(√q u) change at once, and converging as fast as any rule since the density has died out at
# both ends. No point lies on the kink of a rectifier.
_STEP = 2 * math.asinh(12e5) / 4096
_PLACES = np.arange(-2047.5, 2048) * _STEP
_POINTS = np.sinh(_PLACES) / 1e5
_WEIGHTS = normal_density(_POINTS) * np.cosh(_PLACES) / 1e5 * _STEP


def functions(activation: str) -> tuple[Callable[[Values], Any], Callable[[Values], Any]]:
    """φ and φ′ of a nonlinearity; raises ConfigError where they are not known."""
    part = ACTIVATIONS[activation]
    if part.phi is None or part.slope is None:
        raise ConfigError(
            f"model.activation={activation}: its φ and φ′ on arrays are not known, so that theory "
            "predicts nothing of it"
        )
    return part.phi, part.slope


@functools.lru_cache(maxsize=100_000)
def moments(activation: str, q: float) -> tuple[float, float, float]:
    """E[φ], E[φ²] and E[φ′²] of φ(√q u) over u ~ N(0, 1)."""
    phi, slope = functions(activation)
    values, slopes = (function(math.sqrt(q) * _POINTS) for function in (phi, slope))
    return float(_WEIGHTS @ values), float(_WEIGHTS @ values**2), float(_WEIGHTS @ slopes**2)
