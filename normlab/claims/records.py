"""Verdicts as plain objects, and the last ones kept below a results folder."""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from normlab.bounded_files import read_bounded
from normlab.claims.claim import VERDICTS, Claim, Scale, Verdict
from normlab.claims.digest import evidence_digest
from normlab.runs import write_json

VERDICTS_FOLDER = ".verdicts"


class Remembered(NamedTuple):
    """A verdict as it was kept."""

    verdict: str
    judged: datetime
    holds: bool  # whether what it rests on, `evidence_digest`, is still the same


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
        # Relative, so that a results folder can be moved.
        runs = [os.path.relpath(run, root) for run in verdict.folders]
        write_json(file, {**row, "judged": now, "runs": runs, "evidence": verdict.evidence})


def remembered(root: Path, scale: Scale, claims: Iterable[Claim]) -> dict[str, Remembered]:
    """The last verdicts of claims below a results folder, by id."""
    found = {}
    for claim in claims:
        file = root / VERDICTS_FOLDER / f"{claim.id}-{scale}.json"
        try:
            row = json.loads(read_bounded(file))
            runs = [root / str(run) for run in row.get("runs", ())]
            holds = row.get("evidence") == evidence_digest(claim, scale, runs)
            verdict, judged = row["verdict"], datetime.fromisoformat(row["judged"])
            if verdict in VERDICTS:
                found[claim.id] = Remembered(verdict, judged, holds)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return found
