"""The runs that claims need, each composed once, in one sweep."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.claims.claim import DEMONSTRATIONS, Claim, Scale
from normlab.config import Config, Grid, compose_grids, grids, run_id, size
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from normlab.runs import Plan

# Of one claim; they are held in memory.
MOST_RUNS = 10_000
# Of an override: what cannot change a run's outcome.
_ALLOWED = ("runtime.", "launcher=", "launcher.", "output.root=")


def is_setting(word: str) -> bool:
    """Whether a word is an override, and neither a claim's id nor the path of its file."""
    is_file = word.endswith((".yaml", ".yml")) and not word.startswith(_ALLOWED)
    return "=" in word and not is_file


def check_settings(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override that would make a claim's runs other runs."""
    for text in overrides:
        if not text.startswith(_ALLOWED):
            raise ConfigError(
                f"{text}: would change what the claim is about; only runtime, launcher and "
                "output.root can be set here"
            )


def plan_claims(
    claims: Sequence[Claim],
    scale: Scale,
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    *,
    retry_failed: bool = False,
) -> "tuple[Plan | None, dict[str, list[Config]]]":
    """One sweep of all that the claims need, None where they need no runs, and each claim's runs.

    Raises ConfigError where a claim has no such scale, or its experiment cannot be.
    """
    from normlab.runs import plan_configs

    # Claims may share an experiment, whose runs are composed once.
    experiments: dict[str | tuple[str, ...], list[Config]] = {}
    key_of: dict[str, str | tuple[str, ...]] = {}
    for claim in claims:
        experiment = claim.protocol(scale).experiment
        key = key_of[claim.id] = experiment if isinstance(experiment, str) else (claim.id,)
        if key not in experiments:
            own = claim_grids(claim, scale, overrides, config_dir)
            if size(own) > MOST_RUNS:
                raise ConfigError(
                    f"{claim.id}: its experiment has {size(own):,} runs, above {MOST_RUNS:,}"
                )
            experiments[key] = list(compose_grids(own, config_dir))
    if all(claim.protocol(scale).experiment is None for claim in claims):
        return None, {claim.id: [] for claim in claims}
    every = [config for configs in experiments.values() for config in configs]
    planned = plan_configs(every, retry_failed=retry_failed)
    # Equal runs of two claims are one, in the folder of one of them.
    by_id = {run_id(config): config for config in planned.configs}
    return planned, {
        identity: [by_id[run_id(config)] for config in experiments[key]]
        for identity, key in key_of.items()
    }


def claim_grids(
    claim: Claim, scale: Scale, overrides: Sequence[str] = (), config_dir: Path | None = None
) -> list[Grid]:
    """The grids of a claim's experiment, none for a claim without runs.

    `overrides` may say where and how its runs are made; raises ConfigError for one that would make
    them other runs.
    """
    check_settings(overrides)
    protocol = claim.protocol(scale)
    experiment = protocol.experiment
    if experiment is None:
        _ = DEMONSTRATIONS[str(protocol.demonstration)]  # said before anything is run
        return []
    if isinstance(experiment, str):
        return grids([f"experiment={experiment}", *overrides], config_dir)
    folder = () if "output.experiment=" in " ".join(experiment) else (claim.id,)
    given = {text.partition("=")[0] for text in overrides}
    own = [text for text in experiment if text.partition("=")[0] not in given]
    return grids([*own, *(f"output.experiment={name}" for name in folder), *overrides], config_dir)
