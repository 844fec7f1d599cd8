"""What mean-field theory says of a network before any training."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# Each of these loads what it needs when it is first asked for it.
from normlab import measurement, show
from normlab.api.arguments import takes_texts
from normlab.api.making import compose
from normlab.api.shown import Shown
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, kw_only=True, repr=False)
class Theory(Shown, measurement.MeanField):
    """What mean-field theory predicts of an MLP without norm, such as its phase, q, χ₁ and c*."""

    def __repr__(self) -> str:
        return f"<Theory: {self.activation}, {self.phase}, χ₁ = {self.chi_1:.4g}>"

    def _drawn(self, width: int) -> "RenderableType":  # noqa: ARG002  # as wide as its words
        return show.theory_table(self)


@takes_texts
def theory(*overrides: str, config_dir: Path | None = None) -> Theory:
    """What mean-field theory predicts of an MLP without norm, such as its phase q, χ₁ and c*.

    Raises ConfigError for other networks.
    """
    named = compose("model=mlp", "norm=none", *overrides, config_dir=config_dir)
    if not named.model.in_theory or named.norm.normalizes:
        raise ConfigError(
            f"model={named.model.name} norm={named.norm.name}: the phases of mean-field theory "
            "are of MLPs without norm; leave out model and norm"
        )
    return Theory(**asdict(measurement.overview(named)))
