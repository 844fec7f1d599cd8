"""Verdicts as plain objects, and the last ones kept below a results folder."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from normlab.claims.claim import Scale, Verdict
from normlab.runs import write_json

VERDICTS_FOLDER = ".verdicts"


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
        write_json(file, {**row, "judged": now})


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
