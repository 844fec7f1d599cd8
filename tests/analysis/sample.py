"""Runs of the tests: summaries made here, and a folder of some hundred."""

import json
from typing import Any

from hypothesis import strategies as st

from normlab.config import compose
from normlab.runs import Summary

COUNT = 300


CONFIGS: dict[tuple[str, ...], dict[str, Any]] = {}


def row(*overrides: str, **summary: Any) -> tuple[str, Summary]:
    """One run's folder and summary."""
    if overrides not in CONFIGS:
        CONFIGS[overrides] = compose(overrides).model_dump(mode="json")
    config = CONFIGS[overrides] | {"seed": summary.pop("seed", 0)}
    identity = json.dumps(config, sort_keys=True)
    content = {
        "run_id": identity,
        "name": "net",
        "status": "finished",
        "verdict": "trains",
        "train_acc": 1.0,
        "gradient_ratio_end": 1.0,
        **summary,
        "config": config,
    }
    return f"results/runs/{abs(hash(identity))}", Summary.model_validate(content)


figures = st.floats(-1e3, 1e3).map(lambda x: round(x, 6))
