"""All that a part of one's own is written with: `from normlab.parts import NORMS, Norm`.

What stands here stays as it is from version to version; `normlab explain plugins` says how a part
is written. What needs PyTorch is loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from normlab.config import ACTIVATIONS as ACTIVATIONS
from normlab.config import DATA_SETS as DATA_SETS
from normlab.config import INITIALIZERS as INITIALIZERS
from normlab.config import MODELS as MODELS
from normlab.config import NORMS as NORMS
from normlab.config import OPTIMIZERS as OPTIMIZERS
from normlab.config import PROBES as PROBES
from normlab.config import SCHEDULES as SCHEDULES
from normlab.config import Activation as Activation
from normlab.config import Config as Config
from normlab.config import Count as Count
from normlab.config import DataSet as DataSet
from normlab.config import Fraction as Fraction
from normlab.config import ImageTensors as ImageTensors
from normlab.config import Initializer as Initializer
from normlab.config import InParts as InParts
from normlab.config import Model as Model
from normlab.config import NonNegative as NonNegative
from normlab.config import Norm as Norm
from normlab.config import OneOf as OneOf
from normlab.config import OpenFraction as OpenFraction
from normlab.config import Optimizer as Optimizer
from normlab.config import ParameterGroup as ParameterGroup
from normlab.config import Positive as Positive
from normlab.config import Probe as Probe
from normlab.config import Schedule as Schedule
from normlab.config import Seed as Seed
from normlab.config import Whole as Whole
from normlab.errors import ConfigError as ConfigError
from normlab.errors import DataError as DataError

if TYPE_CHECKING:
    from normlab.measurement import Observation as Observation
    from normlab.networks import Nonlinearity as Nonlinearity
    from normlab.networks import NormActivation as NormActivation

# With what PyTorch is imported for.
_HEAVY = ("Nonlinearity", "NormActivation", "Observation")


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from normlab import measurement, networks

    return getattr(measurement if name == "Observation" else networks, name)
