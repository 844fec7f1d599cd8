"""Claims put to the test: their runs planned, their evidence judged, their verdicts kept."""

import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pandas import DataFrame

from normlab.claims.catalogue import CLAIMS
from normlab.claims.evidence import (
    CONFOUNDED,
    FAIL,
    INCOMPLETE,
    PASS,
    REPORTED,
    Claim,
    Evidence,
    Measure,
    Measured,
    Protocol,
    Scale,
    Statistic,
    Verdict,
    check,
    take,
)
from normlab.config import Config, Grid, compose_grids, grids, read_yaml, run_id
from normlab.errors import ConfigError, NormlabError
from normlab.results import read_results
from normlab.runs import FINAL, run_folder, to_json, write_whole

if TYPE_CHECKING:
    from normlab.claims.demonstrations import Figures
    from normlab.runs import Plan

# Claims without runs draw their numbers from so many seeds.
DEMONSTRATION_SEEDS = range(5)
VERDICTS_FOLDER = ".verdicts"

# --------------------------------------------------------------------------------- running

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
    from normlab.runs import plan

    several = {claim.id: claim_grids(claim, scale, overrides, config_dir) for claim in claims}
    # Claims may share an experiment, whose runs are planned once.
    once = {
        name if isinstance(name := claim.protocol(scale).experiment, str) else claim.id: claim.id
        for claim in claims
    }
    every = [grid for identity in once.values() for grid in several[identity]]
    if not every:
        return None, {claim.id: [] for claim in claims}
    planned = plan(every, config_dir, retry_failed=retry_failed)
    # Equal runs of two claims are one, in the folder of one of them.
    by_id = {run_id(config): config for config in planned.configs}
    return planned, {
        identity: [by_id[run_id(config)] for config in compose_grids(own, config_dir)]
        for identity, own in several.items()
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
        measured = tuple(take(measure, evidence) for measure in protocol.measures)
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


def _demonstrate(name: str) -> dict[int, "Figures"]:
    from normlab.claims.demonstrations import DEMONSTRATIONS

    return {seed: DEMONSTRATIONS[name](seed) for seed in DEMONSTRATION_SEEDS}


# ----------------------------------------------------------------------- a person's own


def read_claim(file: Path) -> Claim:
    """A claim from a YAML file; raises ConfigError, one line, where it is not one.

    Keys: `statement`, `experiment` (a config's name, or a list of overrides), `metric` (an
    expression, or several by name), `gate` ([low, high], null for open, or several by name), and,
    if wanted, `id` (else the file's name), `source`, `statistic` (mean, geomean, median, min, max).
    """
    values = read_yaml(file)

    def wrong(what: str) -> ConfigError:
        return ConfigError(f"{file}: {what}")

    if not isinstance(values, dict):
        raise wrong("must be a mapping with statement, experiment, metric and gate")
    known = ("id", "statement", "source", "experiment", "metric", "gate", "statistic")
    for key in values:
        if key not in known:
            raise wrong(f"{key}: no such key; choices: {', '.join(known)}")
    for key in ("statement", "experiment", "metric", "gate"):
        if key not in values:
            raise wrong(f"{key} is missing; a claim has statement, experiment, metric and gate")
    identity = str(values.get("id", file.stem))
    if identity.upper() in CLAIMS or not re.fullmatch(r"[\w.+-]{1,60}", identity):
        raise wrong(
            f"id={identity}: must be letters, digits, . + _ or -, and no id of normlab's own"
        )
    statistic = values.get("statistic", "mean")
    choices = get_args(Statistic)
    if statistic not in choices:
        raise wrong(f"statistic={statistic}: no such choice; choices: {', '.join(choices)}")
    experiment = values["experiment"]
    if isinstance(experiment, list):
        experiment = tuple(map(str, experiment))
    elif not isinstance(experiment, str):
        raise wrong(f"experiment={experiment}: must be a config's name or a list of overrides")
    metrics = values["metric"]
    gates = values["gate"]
    if not isinstance(metrics, dict):
        metrics = {"metric": metrics}
        gates = gates if isinstance(gates, dict) else {"metric": gates}
    if not isinstance(gates, dict):
        raise wrong("gate: must be a mapping of the metrics' names to [low, high]")
    for name in gates:
        if name not in metrics:
            raise wrong(f"gate {name}: there is no such metric; choices: {', '.join(metrics)}")
    measures = []
    for name, expression in metrics.items():
        if not isinstance(expression, str):
            raise wrong(f"metric {name}={expression}: must be an expression")
        try:
            check(expression)
        except ConfigError as error:
            raise wrong(str(error)) from error
        gate = _bounds(gates[name], name, wrong) if name in gates else None
        measures.append(Measure(str(name), expression, gate, statistic))
    statement = str(values["statement"])
    about = f"the runs of {experiment}" if isinstance(experiment, str) else "its own runs"
    return Claim(
        id=identity,
        title=statement,
        statement=statement,
        source=str(values.get("source", file)),
        found="",
        compares="; ".join(map(str, metrics.values())),
        trap="",
        small=Protocol(about, tuple(measures), experiment, seconds=math.nan),
        file=file,
    )


def _bounds(gate: Any, name: str, wrong: Callable[[str], ConfigError]) -> tuple[float, float]:
    numbers = isinstance(gate, list) and len(gate) == 2
    if not numbers or not all(
        g is None or (isinstance(g, int | float) and not isinstance(g, bool)) for g in gate
    ):
        raise wrong(f"gate {name}={gate}: must be [low, high], with null for an open end")
    low = -math.inf if gate[0] is None else float(gate[0])
    high = math.inf if gate[1] is None else float(gate[1])
    if not low <= high:
        raise wrong(f"gate {name}={gate}: low is above high")
    return low, high


def find_claims(names: Sequence[str]) -> list[Claim]:
    """The claims that a person names by id or by a YAML file; raises ConfigError for others."""
    found = []
    for name in names:
        if name.endswith((".yaml", ".yml")):
            found.append(read_claim(Path(name)))
        elif name.upper() in CLAIMS:
            found.append(CLAIMS[name.upper()])
        else:
            raise ConfigError(
                f"{name}: no such claim; choices: {', '.join(CLAIMS)}, or a YAML file of your own"
            )
    several = {claim.id: claim for claim in found}
    for claim in found:
        if several[claim.id] != claim:
            raise ConfigError(
                f"{claim.file}: has the id {claim.id} of another claim; give it its own"
            )
    return list(several.values())


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
