"""Claims put to the test: their runs planned, their evidence judged, their verdicts kept."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pandas import DataFrame

from normlab.claims.claim import Claim, Scale
from normlab.claims.evidence import Evidence, Measured, measure_seeds
from normlab.claims.registries import DEMONSTRATIONS, Figures
from normlab.config import Config, Grid, compose_grids, grids, run_id
from normlab.errors import ConfigError, NormlabError
from normlab.results import read_results
from normlab.runs import run_folder, to_json, write_whole
from normlab.vocabulary import FINAL

if TYPE_CHECKING:
    from normlab.runs import Plan

PASS, FAIL, CONFOUNDED, REPORTED, INCOMPLETE = (
    *("PASS", "FAIL", "CONFOUNDED"),
    *("REPORTED", "INCOMPLETE"),
)
# Claims without runs draw their numbers from so many seeds.
DEMONSTRATION_SEEDS = range(5)
VERDICTS_FOLDER = ".verdicts"


@dataclass(frozen=True)
class Verdict:
    """How a claim fared."""

    claim: Claim
    scale: Scale
    verdict: str
    measured: tuple[Measured, ...] = ()
    reason: str = ""  # of INCOMPLETE

    @property
    def n(self) -> int:
        """The least number of seeds behind a figure."""
        return min((part.n for part in self.measured), default=0)


# -------------------------------------------------------------------------------- planning

# Of an override: what cannot change a run's outcome.
_ALLOWED = ("runtime.", "launcher=", "launcher.", "output.root=")


def claim_grids(
    claim: Claim, scale: Scale, overrides: Sequence[str] = (), config_dir: Path | None = None
) -> list[Grid]:
    """The grids of a claim's experiment, none for a claim without runs.

    `overrides` may say where and how its runs are made; raises ConfigError for one that would make
    them other runs.
    """
    for text in overrides:
        if not text.startswith(_ALLOWED):
            raise ConfigError(
                f"{text}: would change what the claim is about; only runtime, launcher and "
                "output.root can be set here"
            )
    experiment = claim.protocol(scale).experiment
    if experiment is None:
        return []
    if isinstance(experiment, str):
        return grids([f"experiment={experiment}", *overrides], config_dir)
    folder = () if "output.experiment=" in " ".join(experiment) else (claim.id,)
    own = [*experiment, *(f"output.experiment={name}" for name in folder)]
    return grids([*own, *overrides], config_dir)


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
    from normlab.runs import plan_configs  # which needs torch; judging does not

    # Claims may share an experiment, whose runs are composed once.
    composed: dict[Any, list[Config]] = {}
    own: dict[str, list[Config]] = {}
    for claim in claims:
        several = claim_grids(claim, scale, overrides, config_dir)
        experiment = claim.protocol(scale).experiment
        key = experiment if isinstance(experiment, str) else claim.id
        if several and key not in composed:
            composed[key] = list(compose_grids(several, config_dir))
        own[claim.id] = composed.get(key, [])
    every = [config for configs in composed.values() for config in configs]
    if not every:
        return None, own
    planned = plan_configs(every, retry_failed=retry_failed)
    # Equal runs of two claims are one, in the folder of one of them.
    by_id = {run_id(config): config for config in planned.configs}
    return planned, {
        identity: [by_id[run_id(config)] for config in configs] for identity, configs in own.items()
    }


def judge_runs(claim: Claim, scale: Scale, configs: Sequence[Config]) -> Verdict:
    """The verdict of a claim by what its runs' folders hold."""
    ids = {run_id(config) for config in configs}
    folders = {run_folder(config).parent for config in configs}
    frame, _ = read_results(sorted(folder for folder in folders if folder.is_dir()))
    runs = frame[frame["run_id"].isin(ids)].drop_duplicates("run_id")
    return judge(claim, scale, runs, missing=len(ids) - len(runs))


# --------------------------------------------------------------------------------- judging


def judge(claim: Claim, scale: Scale, runs: DataFrame, missing: int = 0) -> Verdict:
    """The verdict of a claim by the runs of its experiment; `missing` of them are not there.

    INCOMPLETE where runs are missing or failed, or a seed lacks a figure. CONFOUNDED where a run
    diverged, if that is no result here. Else FAIL where a gated figure is outside its gate; else
    CONFOUNDED where one is, or is not finite, that says whether the comparison means what it
    should; else PASS, or REPORTED without any gate.
    """
    protocol = claim.protocol(scale)
    ended = runs[runs["status"].isin(FINAL)]
    lacking = missing + len(runs) - len(ended)
    if lacking:
        reason = f"{lacking} of {missing + len(runs)} runs are missing or failed"
        return Verdict(claim, scale, INCOMPLETE, reason=reason)
    figures = _demonstrate(protocol.demonstration) if protocol.demonstration else {}
    evidence = Evidence(ended, figures)
    try:
        measured = tuple(measure_seeds(measure, evidence) for measure in protocol.measures)
    except NormlabError as error:
        return Verdict(claim, scale, INCOMPLETE, reason=str(error))
    for part in measured:
        if part.missing and not part.measure.confounds:
            reason = f"{part.measure.name}: {part.missing} of {part.n} seeds have no such figure"
            return Verdict(claim, scale, INCOMPLETE, measured, reason)
    diverged = int((ended["status"] == "diverged").sum())
    if diverged and not protocol.diverging:
        reason = f"{diverged} of {len(ended)} runs diverged, so that they show nothing else"
        return Verdict(claim, scale, CONFOUNDED, measured, reason)
    return Verdict(claim, scale, _verdict(measured), measured)


def _verdict(measured: Sequence[Measured]) -> str:
    outside = [part for part in measured if not part.holds]
    if all(part.measure.gate is None for part in measured):
        return REPORTED
    if any(not part.measure.confounds for part in outside):
        return FAIL
    return CONFOUNDED if outside else PASS


def _demonstrate(name: str) -> dict[int, Figures]:
    return {seed: DEMONSTRATIONS[name](seed) for seed in DEMONSTRATION_SEEDS}


# --------------------------------------------------------------------------- the record


def as_rows(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Verdicts as plain objects: id, verdict, measured, gate, n, and what explains them."""
    return [
        {
            "id": verdict.claim.id,
            "title": verdict.claim.title,
            "scale": verdict.scale,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "measured": {
                part.measure.name: {
                    "value": part.value,
                    "low": part.low,
                    "high": part.high,
                    "n": part.n,
                    "statistic": part.measure.statistic,
                    "holds": part.holds,
                }
                for part in verdict.measured
            },
            "gate": {
                part.measure.name: list(part.measure.gate)
                for part in verdict.measured
                if part.measure.gate is not None
            },
            "n": verdict.n,
        }
        for verdict in verdicts
    ]


def remember(verdicts: Sequence[Verdict], root: Path) -> None:
    """Keep the verdicts below a results folder, for `verify` to list them."""
    folder = root / VERDICTS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for verdict, row in zip(verdicts, as_rows(verdicts), strict=True):
        file = folder / f"{verdict.claim.id}-{verdict.scale}.json"
        text = to_json({**row, "judged": now}) + "\n"
        write_whole(file, functools.partial(Path.write_text, data=text, encoding="utf-8"))


def remembered(root: Path, scale: Scale) -> dict[str, dict[str, Any]]:
    """The last verdicts below a results folder, by claim."""
    found = {}
    for file in sorted((root / VERDICTS_FOLDER).glob(f"*-{scale}.json")):
        try:
            row = json.loads(file.read_text(encoding="utf-8"))
            found[str(row["id"])] = {"verdict": str(row["verdict"]), "judged": str(row["judged"])}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found
