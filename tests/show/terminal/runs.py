"""Runs and their layers, made by hand."""

import math
from pathlib import Path
from typing import Any

from pandas import DataFrame

from normlab.config import compose
from normlab.runs import Run, Summary


def layers_frame(count: int, steps: tuple[int, ...] = (0, 10)) -> DataFrame:
    return DataFrame(
        [
            {
                "step": step,
                "layer": layer,
                "name": f"hidden{layer}" if layer < count else "output",
                "kind": "linear",
                "delta_rms": 10.0 ** (layer - count) * (step + 1),
                "grad_norm": math.nan if step == steps[-1] else 0.5,
                "act_std": 1.0,
            }
            for step in steps
            for layer in range(1, count + 1)
        ]
    )


SUMMARY: dict[str, Any] = {
    "name": "MLP-4 bn on digits",
    "status": "finished",
    "verdict": "trains",
    "reason": "Train accuracy 99.0 %.",
    "try": ["norm=bn", "model.residual=true"],
    "train_acc": 0.99,
    "train_loss": 0.01,
    "test_acc": None,
    "test_loss": None,
    "parameters": 1234,
    "steps": 10,
    "seconds": 1.25,
    "device": "cpu",
}


def run_of(layers: DataFrame, summary: dict[str, Any] = SUMMARY) -> Run:
    metrics = DataFrame({"step": [summary["steps"]]})
    environment = {"command": ["normlab", "run", "seed=[1]"]}
    typed = Summary.model_validate({"run_id": "0123456789", **summary})
    return Run(Path("results/runs/0123456789"), compose(), environment, metrics, layers, typed)
