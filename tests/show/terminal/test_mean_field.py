"""What theory says of an MLP."""

import pytest

from normlab.config import compose
from normlab.measurement import overview
from normlab.show import theory_table
from tests.show.terminal.printing import text_of


@pytest.mark.parametrize(
    ("gain", "phase"),
    [(0.5, "ordered phase"), (1.0, "critical"), (1.5, "chaotic phase")],
)
def test_the_phase_is_said_in_words(gain: float, phase: str) -> None:
    words = ["model=mlp", "model.activation=tanh", "model.init=lecun_normal", "norm=none"]
    text = text_of(theory_table(overview(compose([*words, f"model.init_gain={gain}"]))), 120)
    assert phase in text
    assert "MLP tanh, wide, without norm and skips, at initialization" in text
    assert "per layer" in text


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "identity"])
@pytest.mark.parametrize("gain", [0.0, 0.6, 1.0, 1.6])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_no_figure_is_nan(activation: str, gain: float, bias: float) -> None:
    words = ["model=mlp", f"model.activation={activation}", "norm=none", f"model.bias_std={bias}"]
    text = text_of(theory_table(overview(compose([*words, f"model.init_gain={gain}"]))), 120)
    assert "nan" not in text.replace("standardized", "")


def test_a_rectifiers_phase_does_not_say_that_like_inputs_become_unlike() -> None:
    words = ["model=mlp", "model.activation=relu", "norm=none"]
    text = text_of(theory_table(overview(compose([*words, "model.init_gain=1.5"]))), 200)
    assert "chaotic phase: the gradient explodes, z grows for ever" in text
    assert "unlike" not in text
