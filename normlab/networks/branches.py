"""How a residual block joins its branch to its skip, each way with its paper.

A network of L residual blocks computes xₗ₊₁ = S(xₗ) + a·f(xₗ/b) in each; a way says what a and b
are, and what else is to be done at initialization.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from normlab.config import ACTIVATIONS, Config
from normlab.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from normlab.networks.models import FeedForward


@dataclass(frozen=True)
class BranchScale:
    """xₗ₊₁ = S(xₗ) + f(xₗ)·L^−power of L residual blocks; 1 is He et al.'s (2015) own sum.

    By L^−½ a stream's variance grows by a constant in all (De & Smith 2020, section 3), by L^−1 it
    stays.
    """

    adjective: str  # of a network, as in `SkipInit ResNet`
    power: float = 0.0

    def factor(self, model: "FeedForward") -> float:
        """What a branch is multiplied by at initialization."""
        return float(max(1, model.blocks) ** -self.power)

    def out_of(self, model: "FeedForward") -> "nn.Module":
        """The module that a branch's output goes through on its way to the sum."""
        from torch import nn

        from normlab.networks.branch_modules import Multiplied

        factor = self.factor(model)
        return nn.Identity() if factor == 1 else Multiplied(factor)

    def into(self, model: "FeedForward", place: int) -> "nn.Module":  # noqa: ARG002
        """The module that the stream goes through on its way into the branch of a block, `place`
        blocks behind where its variance was 1 last."""
        from torch import nn

        return nn.Identity()

    def shift(self) -> "nn.Module | None":
        """The module before every nonlinearity, and before every layer behind one, if any."""
        return None

    @property
    def only_multiplies(self) -> bool:
        """Whether a branch is a·f(x), what goes into f being the stream as it is."""
        return True

    @property
    def excludes_norms(self) -> bool:
        """Whether it goes without any norm."""
        return False

    @property
    def is_silent_at_start(self) -> bool:
        """Whether the output layer begins as 0, so that no gradient comes through it at first."""
        return False

    @property
    def projects_activated(self) -> bool:
        """Whether the shortcut of a pre-activation block that changes shapes takes what the
        block's first convolution takes; else it takes the stream."""
        return False

    def check(self, config: Config, model: "FeedForward") -> None:
        """Raise ValueError where it makes no sense in a config's network, which has skips."""

    def initialize(self, network: "nn.Module") -> None:
        """What it changes in a network whose layers have been drawn."""

    def rate_shares(self, network: "nn.Module") -> "dict[nn.Parameter, float]":  # noqa: ARG002
        """What the learning rates of a network's parameters are over that of the others, where they
        are not the same."""
        return {}


class SkipInit(BranchScale):
    """xₗ₊₁ = S(xₗ) + aₗ·f(xₗ) with a learned scalar aₗ, 0 at the start (SkipInit, De & Smith 2020;
    ReZero, Bachlechner et al. 2020, is the same)."""

    def factor(self, model: "FeedForward") -> float:  # noqa: ARG002
        return 0.0

    def out_of(self, model: "FeedForward") -> "nn.Module":  # noqa: ARG002
        from normlab.networks.branch_modules import LearnedScalar

        return LearnedScalar(0.0)


class ZeroGamma(BranchScale):
    """γ of each branch's last norm is 0 at the start, so that blocks begin as their skips (Goyal et
    al. 2017)."""

    def factor(self, model: "FeedForward") -> float:  # noqa: ARG002
        return 0.0

    def out_of(self, model: "FeedForward") -> "nn.Module":  # noqa: ARG002
        from torch import nn

        return nn.Identity()

    def check(self, config: Config, model: "FeedForward") -> None:
        named = "model.branch_scale=zero_gamma"
        if not config.norm.has_gamma:
            raise ValueError(
                f"{named}: norm={config.norm.name} has no γ to begin with 0; "
                + ("use norm.affine=true" if hasattr(config.norm, "affine") else "use norm=bn")
            )
        behind = model.behind_last_norm(config.norm)
        if behind == "skip":
            raise ValueError(
                f"{named}: with norm.position=after and model.block=post the last norm is of the "
                "sum, skip and all; use norm.position=before"
            )
        if behind == "nonlinearity" and not _opens(model.activation):
            fix = "model.block=post" if model.spatial else "norm.position=after"
            raise ValueError(
                f"{named}: model.activation={model.activation} behind a norm that begins as 0 lets "
                f"no gradient through, so that no branch would ever learn; use {fix}"
            )

    def initialize(self, network: "nn.Module") -> None:
        from normlab.networks.branch_modules import begin_at_zero, residual_blocks

        for block in residual_blocks(network):
            begin_at_zero(block.last_norm)


class Fixup(BranchScale):
    """xₗ₊₁ = S(xₗ) + aₗ·f(xₗ) without norms, as Fixup initializes it (Zhang et al. 2019).

    The last layer of every branch of m layers and the output layer begin as 0, the others of a
    branch L^(−1/(2m−2)) as large; a learned multiplier aₗ that begins as 1; a learned scalar, 0 at
    the start, is added before every layer, nonlinearity and sum. These scalars have a tenth of the
    learning rate, as in the authors' own code.
    """

    def factor(self, model: "FeedForward") -> float:  # noqa: ARG002
        return 0.0

    def out_of(self, model: "FeedForward") -> "nn.Module":  # noqa: ARG002
        from normlab.networks.branch_modules import LearnedScalar

        return LearnedScalar(1.0)

    def into(self, model: "FeedForward", place: int) -> "nn.Module":  # noqa: ARG002
        from torch import nn

        # A pre-activation branch begins with a nonlinearity, which has its own.
        return nn.Identity() if model.block == "pre" else self.shift()

    def shift(self) -> "nn.Module":
        from normlab.networks.branch_modules import ScalarBias

        return ScalarBias()

    @property
    def excludes_norms(self) -> bool:
        return True

    @property
    def is_silent_at_start(self) -> bool:
        return True

    def check(self, config: Config, model: "FeedForward") -> None:
        named = "model.branch_scale=fixup"
        if config.norm.normalizes or config.norm.of_weights:
            raise ValueError(f"{named}: is an initialization without norms; use norm=none")
        if model.weight_standardization != "none":
            raise ValueError(
                f"{named}: weights that begin as 0 cannot be standardized; "
                "use model.weight_standardization=none"
            )
        if model.block == "post" and not model.spatial:
            raise ValueError(
                f"{named}: a branch of one layer that begins as 0 would stay shut behind a "
                "rectifier; use model.block=pre"
            )

    def rate_shares(self, network: "nn.Module") -> "dict[nn.Parameter, float]":
        from normlab.networks.branch_modules import LearnedScalar, ScalarBias

        kinds = (LearnedScalar, ScalarBias)
        return {m.scalar: 0.1 for m in network.modules() if isinstance(m, kinds)}

    def initialize(self, network: "nn.Module") -> None:
        from torch import nn

        from normlab.networks.branch_modules import residual_blocks, scale, silence

        blocks = list(residual_blocks(network))
        for block in blocks:
            *others, last = block.branch_layers
            for layer in others:
                scale(layer, len(blocks) ** (-1 / (2 * len(others))))
            silence(last)
        if isinstance(output := network.output, nn.Linear):
            silence(output)


class NormalizerFree(BranchScale):
    """xₗ₊₁ = S(xₗ) + α·f(xₗ/βₗ), βₗ² the variance predicted of xₗ, 1 + kα² behind k blocks.

    In a block that changes shapes the shortcut takes what the branch's first convolution does, and
    variance is 1 again, as if k were 0 before it. f keeps a variance of 1 with scaled weight
    standardization (Brock et al. 2021a).
    """

    def factor(self, model: "FeedForward") -> float:
        return model.branch_alpha

    @property
    def only_multiplies(self) -> bool:
        return False

    def into(self, model: "FeedForward", place: int) -> "nn.Module":
        from torch import nn

        from normlab.networks.branch_modules import Multiplied

        variance = 1 + place * model.branch_alpha**2
        return Multiplied(variance**-0.5) if place else nn.Identity()

    @property
    def projects_activated(self) -> bool:
        return True

    def check(self, config: Config, model: "FeedForward") -> None:  # noqa: ARG002
        named = "model.branch_scale=normalizer_free"
        if model.block != "pre":
            raise ValueError(
                f"{named}: model.block=post lets a nonlinearity change the stream, whose variance "
                "is then not as predicted; use model.block=pre"
            )
        if getattr(model, "shortcut", "B") != "B":
            raise ValueError(
                f"{named}: model.shortcut=A does not bring the stream's variance back to 1; "
                "use model.shortcut=B"
            )


def _opens(activation: str) -> bool:
    """Whether a branch with φ(γ·…), γ = 0, is not closed for good: φ(0) or φ′(0) is not 0, or not
    known."""
    part, zero = ACTIVATIONS[activation], np.zeros(1)
    if part.phi is None or part.slope is None:
        return True
    return bool(np.any(part.phi(zero)) or np.any(part.slope(zero)))


BRANCH_SCALES: Registry[BranchScale] = Registry("model.branch_scale")
BRANCH_SCALES.add("one", BranchScale(""))
BRANCH_SCALES.add("sqrt_depth", BranchScale("1/√L", 0.5))
BRANCH_SCALES.add("depth", BranchScale("1/L", 1.0))
BRANCH_SCALES.add("skipinit", SkipInit("SkipInit"))
BRANCH_SCALES.add("zero_gamma", ZeroGamma("zero-γ"))
BRANCH_SCALES.add("fixup", Fixup("Fixup"))
BRANCH_SCALES.add("normalizer_free", NormalizerFree("NF"))
