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
