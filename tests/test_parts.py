"""The names that plugins import stay."""

import subprocess
import sys

import pytest

from normlab import parts
from normlab.config import Part

NAMES = (
    "ACTIVATIONS DATA_SETS INITIALIZERS MODELS NORMS OPTIMIZERS PROBES SCHEDULES "
    "Activation DataSet Initializer Model Norm Optimizer Probe Schedule "
    "Config ConfigError Count DataError Fraction ImageTensors InParts NonNegative Nonlinearity "
    "NormActivation Observation OneOf OpenFraction ParameterGroup Positive Seed Whole"
)
# What a plugin's class may define, or ask of itself.
METHODS = {
    "Norm": "adjective before_activation build check check_images colour erases_channel_means "
    "gradient_factor label name normalizes over_batch phrase reparametrize share_of_start",
    "Model": "activation bias bias_std build channels check depth family feature_maps init "
    "init_gain init_std name residual spatial title width",
    "DataSet": "augmentation check content fetch has_files image_shape kept_share load locate name "
    "pixels samples second_moment",
    "Optimizer": "check decay lr name remember update weight_decay",
    "Schedule": "check factor name",
}


@pytest.mark.parametrize("name", NAMES.split())
def test_a_name_stays(name: str) -> None:
    assert getattr(parts, name) is not None


def test_no_other_name_is_promised_without_a_line_here() -> None:
    public = {name for name in vars(parts) if not name.startswith("_")} - {"Any", "TYPE_CHECKING"}
    assert public - set(NAMES.split()) == set()


def test_an_unknown_name_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        from normlab.parts import Nothing  # type: ignore[attr-defined]  # noqa: F401


@pytest.mark.parametrize("name", METHODS)
def test_what_a_part_may_say_stays(name: str) -> None:
    part: type[Part] = getattr(parts, name)
    known = {*dir(part), *part.model_fields, *part.__annotations__, "values_of"}
    assert set(METHODS[name].split()) <= known


def test_a_plugin_without_pytorch_needs_none() -> None:
    code = "from normlab.parts import *; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
