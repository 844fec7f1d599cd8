"""Runs of the tests: summaries made here, and a folder of some hundred."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from pandas import DataFrame

from normlab.config import compose
from normlab.measurement import predict
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


def measured(root: Path, steps: dict[int, list[float | None]], *overrides: str, seed: int = 0):
    """An MLP's folder and summary, with δ of every layer at some steps."""
    words = ("model=mlp", "model.depth=5", "model.activation=tanh", *overrides)
    prediction = predict(compose(words))
    factor = prediction.factor if prediction else None
    _, summary = row(*words, seed=seed, gradient_factor_theory=factor)
    folder = root / f"{len(list(root.iterdir()))}"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary.to_plain()))
    rows = [
        {"step": step, "layer": layer, "name": f"l{layer}", "kind": "linear", "delta_rms": delta}
        for step, deltas in steps.items()
        for layer, delta in enumerate(deltas, start=1)
    ]
    DataFrame(rows).to_parquet(folder / "layers.parquet")
    return str(folder), summary
