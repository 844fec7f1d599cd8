"""Results folders of any number of runs, made in seconds, for tests of size and speed.

    python -m tests.tools.synthetic_results 10000 many
    python -m tests.tools.synthetic_results 1000 some --tables

writes config.yaml and summary.json of so many finished runs, as real runs have them, and with
--tables metrics.parquet, layers.parquet and environment.json too.
"""

import functools
import itertools
import json
import math
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pandas import DataFrame

from normlab.config import Config, compose, run_id, to_yaml
from normlab.runs import SUMMARY_VERSION

VARIANTS = (
    ("cnn", "none"),
    ("cnn", "ln"),
    ("cnn", "bn"),
    ("resnet", "bn"),
    ("resnet", "ln"),
)
DEPTHS = (8, 20, 56, 110)
RATES = (0.1, 0.01)
START = datetime(2001, 1, 1, 12, tzinfo=UTC)  # the same day nearly everywhere


@functools.cache
def template(model: str, norm: str) -> tuple[dict[str, Any], str]:
    config = compose([f"model={model}", f"norm={norm}", "output.experiment=synthetic"])
    return config.model_dump(mode="json"), to_yaml(config)


def summary(config: dict[str, Any], draw: random.Random, status: str = "finished") -> Any:
    """A summary as a run writes it, with figures that depend on depth and variant."""
    identity = run_id(Config.model_validate_json(json.dumps(config)))
    depth, plain = config["model"]["depth"], not config["model"]["residual"]
    healthy = config["norm"]["name"] == "bn" or not plain or depth < 50
    accuracy = min(1.0, (0.99 if healthy else 0.1) + draw.gauss(0, 0.005))
    ratio = 10 ** (draw.gauss(0, 0.3) - (0 if healthy else depth / 5))
    verdict = "trains" if accuracy > 0.9 else "vanishing"
    cause = "none" if verdict == "trains" else "vanishing_at_init"
    at_init = {"figure": "first/last gradient at init", "value": ratio}
    evidence = [{**at_init, "side": "below", "threshold": 0.01}]
    state = "healthy" if healthy else "vanishing"
    whens = ("init", "first_epoch", "end")
    return {
        "version": SUMMARY_VERSION,
        "run_id": identity,
        "name": f"CNN-{depth} {config['norm']['name']} on digits",
        "status": status,
        "verdict": None if status in ("failed", "interrupted") else verdict,
        "reason": "Train accuracy 99.9% after 165 steps; at the end the gradient reaches all.",
        "cause": None if status in ("failed", "interrupted") else cause,
        "evidence": evidence if cause == "vanishing_at_init" else [],
        "try": [],
        "train_acc": accuracy,
        "train_loss": 1 - accuracy,
        "test_acc": accuracy - 0.02,
        "test_loss": 1.1 - accuracy,
        **{
            f"{name}_{when}": value
            for when in whens
            for name, value in (
                ("verdict", state),
                ("gradient_factor", ratio ** (-1 / depth)),
                ("gradient_ratio", ratio),
                ("sample_cosine", 0.4),
            )
        },
        "gradient_factor_theory": None,
        "steps": 165,
        "seconds": draw.uniform(1, 30),
        "parameters": 1000 * depth,
        "layers": depth,
        "classes": 10,
        "device": "cpu",
        "processor": "Synthetic 3000",
        "threads": 1,
        "channels_last": False,
        "data_sha256": None,
        "normlab": "0.1.0",
        "torch": "2.13.0",
        "commit": None,
        "started": (START + timedelta(days=int(identity[:3], 16))).isoformat(),
        "extended_from": None,
        "extended_at": None,
        "config": config,
    }


SNAPSHOTS = (0, 5, 40, 165)


def tables(content: dict[str, Any], draw: random.Random) -> dict[str, DataFrame]:
    """metrics and layers that go with a summary, whose δ falls from layer to layer."""
    depth, ratio = content["config"]["model"]["depth"], content["gradient_ratio_init"]
    layers = [
        {
            "step": step,
            "layer": layer,
            "name": f"layer{layer}" if layer < depth else "output",
            "kind": "conv" if layer < depth else "linear",
            "delta_rms": 0.1 * ratio ** max(0.0, 1 - (layer - 1) / max(1, depth - 2))
            * math.exp(draw.gauss(0, 0.05)) / (1 + step / 100),
            "sample_cosine": 1 - 0.5**layer,
        }
        for step in SNAPSHOTS
        for layer in range(1, depth + 1)
    ]  # fmt: skip
    last = content["train_acc"]
    metrics = [
        {
            "step": 11 * epoch,
            "epoch": float(epoch),
            **{f"{part}_acc": 0.1 + (last - 0.1) * epoch / 15 for part in ("train", "test")},
            **{f"{part}_loss": 2.3 * (1 - epoch / 16) for part in ("train", "test")},
            "batch_loss": 1.0,
            "lr": 0.1,
            "seconds": float(epoch),
        }
        for epoch in range(16)
    ]
    return {"layers": DataFrame(layers), "metrics": DataFrame(metrics)}


def write_runs(
    count: int, root: Path, experiment: str = "synthetic", *, with_tables: bool = False
) -> list[Path]:
    """Write the first `count` runs of a grid of variants, depths and learning rates, by seeds."""
    draw = random.Random(0)
    folders = []
    cells = list(itertools.product(VARIANTS, DEPTHS, RATES))
    for index in range(count):
        seed, ((model, norm), depth, lr) = index // len(cells), cells[index % len(cells)]
        values, yaml = template(model, norm)
        config = {
            **values,
            "seed": seed,
            "model": {**values["model"], "depth": depth},
            "optimizer": {**values["optimizer"], "lr": lr},
            "output": {**values["output"], "experiment": experiment},
        }
        content = summary(config, draw)
        folder = root / experiment / content["run_id"]
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.replace("seed: 0\n", f"seed: {seed}\n", 1)
        text = text.replace("  depth: 20\n", f"  depth: {depth}\n", 1)
        text = text.replace("  lr: 0.1\n", f"  lr: {lr}\n", 1)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        (folder / "summary.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        if with_tables:
            for name, table in tables(content, draw).items():
                table.to_parquet(folder / f"{name}.parquet", index=False)
            (folder / "environment.json").write_text('{"command": ["normlab", "sweep"]}')
        folders.append(folder)
    return folders


if __name__ == "__main__":
    made = write_runs(int(sys.argv[1]), Path(sys.argv[2]), with_tables="--tables" in sys.argv)
    print(len(made), "runs")
