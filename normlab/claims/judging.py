"""The verdict of a claim by its runs, or by what its demonstration shows."""

from collections.abc import Sequence
from dataclasses import replace

from pandas import DataFrame

from normlab.analysis import mixed_origins, read_results
from normlab.claims.claim import (
    CONFOUNDED,
    DEMONSTRATIONS,
    FAIL,
    INCOMPLETE,
    PASS,
    REPORTED,
    Claim,
    Measured,
    Scale,
    Verdict,
)
from normlab.claims.digest import evidence_digest
from normlab.claims.evidence import Evidence, measured
from normlab.config import Config, run_id
from normlab.errors import NormlabError
from normlab.runs import run_folder
from normlab.vocabulary import FINAL

# Claims without runs draw their numbers from so many seeds.
DEMONSTRATION_SEEDS = range(5)


def judge_runs(claim: Claim, scale: Scale, configs: Sequence[Config]) -> Verdict:
    """The verdict of a claim by what its runs' folders hold."""
    ids = {run_id(config) for config in configs}
    folders = sorted({run_folder(config) for config in configs})
    evidence = evidence_digest(claim, scale, folders)  # first: what is read later is not older
    experiments = sorted({folder.parent for folder in folders})
    frame, _ = read_results([folder for folder in experiments if folder.is_dir()])
    runs = frame[frame["run_id"].isin(ids)].drop_duplicates("run_id")
    verdict = judge(claim, scale, runs, missing=len(ids) - len(runs))
    unlike = tuple(mixed_origins(runs, []))
    return replace(verdict, folders=tuple(folders), unlike=unlike, evidence=evidence)


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
    try:
        evidence = Evidence(ended, _demonstrated(protocol.demonstration))
        figures = tuple(measured(measure, evidence) for measure in protocol.measures)
    except NormlabError as error:
        return Verdict(claim, scale, INCOMPLETE, reason=str(error))
    for part in figures:
        if part.missing and not part.measure.confounds:
            reason = f"{part.measure.name}: {part.missing} of {part.n} seeds have no such figure"
            return Verdict(claim, scale, INCOMPLETE, figures, reason)
    diverged = int((ended["status"] == "diverged").sum())
    if diverged and not protocol.diverging:
        reason = f"{diverged} of {len(ended)} runs diverged, so that they show nothing else"
        return Verdict(claim, scale, CONFOUNDED, figures, reason)
    return Verdict(claim, scale, _verdict_word(figures), figures)


def _verdict_word(figures: Sequence[Measured]) -> str:
    outside = [part for part in figures if not part.holds]
    if all(part.measure.gate is None for part in figures):
        return REPORTED
    if any(not part.measure.confounds for part in outside):
        return FAIL
    return CONFOUNDED if outside else PASS


def _demonstrated(name: str | None) -> dict[int, dict[str, float]]:
    if name is None:
        return {}
    demonstration = DEMONSTRATIONS[name]
    return {seed: demonstration(seed) for seed in DEMONSTRATION_SEEDS}
