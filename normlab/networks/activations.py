"""Nonlinearities: PyTorch's function, and φ and φ′ on arrays for mean-field theory."""

import math

import numpy as np
from numpy.typing import NDArray

from normlab.config import ACTIVATIONS, Activation

Values = NDArray[np.float64]

# The slope of negative values that PReLU begins with (He et al. 2015).
PRELU_START = 0.25
# λ and α of SELU (Klambauer et al. 2017, equation 14).
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _erf(x: Values) -> Values:
    found: Values = _each_erf(x)
    return found


_each_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Values) -> Values:
    found: Values = np.exp(-np.logaddexp(0, -x))
    return found


def normal_density(x: Values) -> Values:
    """Of N(0, 1): e^(−x²/2) / √(2π)."""
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _normal_cdf(x: Values) -> Values:
    return (1 + _erf(x / math.sqrt(2))) / 2


ACTIVATIONS.add(
    "relu",
    Activation(
        "torch.nn.functional:relu",
        lambda x: np.maximum(x, 0),
        lambda x: (x > 0) * 1.0,
        homogeneous=True,
        batch_norm_growth=math.pi / (math.pi - 1),  # theorem 8
        usual=True,
    ),
)
ACTIVATIONS.add(
    "leaky_relu",
    Activation(
        "torch.nn.functional:leaky_relu",
        lambda x: np.where(x > 0, x, 0.01 * x),
        lambda x: np.where(x > 0, 1, 0.01),
        homogeneous=True,
    ),
)
# He et al. (2015), one learned slope a layer; φ and φ′ are those of the start.
ACTIVATIONS.add(
    "prelu",
    Activation(
        "torch.nn.functional:prelu",
        lambda x: np.where(x > 0, x, PRELU_START * x),
        lambda x: np.where(x > 0, 1, PRELU_START),
        homogeneous=True,
        learned=PRELU_START,
    ),
)
# Clevert et al. (2016), with α = 1.
ACTIVATIONS.add(
    "elu",
    Activation(
        "torch.nn.functional:elu",
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
    ),
)
# Klambauer et al. (2017): mean 0 and variance 1 stay, with weights of variance 1/fan-in.
ACTIVATIONS.add(
    "selu",
    Activation(
        "torch.nn.functional:selu",
        lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: SELU_SCALE * np.where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
)
ACTIVATIONS.add(
    "gelu",
    Activation(
        "torch.nn.functional:gelu",
        lambda x: x * _normal_cdf(x),
        lambda x: _normal_cdf(x) + x * normal_density(x),
    ),
)
ACTIVATIONS.add(
    "silu",
    Activation(
        "torch.nn.functional:silu",
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    ),
)
# Misra (2020): x·tanh(ln(1 + eˣ)).
ACTIVATIONS.add(
    "mish",
    Activation(
        "torch.nn.functional:mish",
        lambda x: x * np.tanh(np.logaddexp(0, x)),
        lambda x: (
            np.tanh(np.logaddexp(0, x)) + x * (1 - np.tanh(np.logaddexp(0, x)) ** 2) * _sigmoid(x)
        ),
    ),
)
ACTIVATIONS.add(
    "tanh",
    Activation(
        "torch:tanh",
        np.tanh,
        lambda x: 1 - np.tanh(x) ** 2,
        odd_curvature=True,
        saturates=True,
    ),
)
ACTIVATIONS.add(
    "erf",
    Activation(
        "torch:erf",
        _erf,
        lambda x: 2 / math.sqrt(math.pi) * np.exp(-(x**2)),
        odd_curvature=True,
        saturates=True,
    ),
)
ACTIVATIONS.add(
    "sigmoid",
    Activation(
        "torch:sigmoid",
        _sigmoid,
        lambda x: _sigmoid(x) * (1 - _sigmoid(x)),
        odd_curvature=True,
        saturates=True,
    ),
)
ACTIVATIONS.add(
    "identity",
    Activation(
        lambda x: x,
        lambda x: x,
        lambda x: np.ones_like(x),
        odd_curvature=True,
        homogeneous=True,
    ),
)
