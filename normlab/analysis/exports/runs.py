"""What every tracker gets of a run: its name, settings, values by step, and how it ended."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from normlab.analysis.exports.registry import Selection
from normlab.analysis.keys import DEPTH, NORM, RESIDUAL, SEEDS, label, seeds_beside, short_names
from normlab.analysis.variants import variant_keys, variants_of
from normlab.config import PROBES, flatten
from normlab.errors import ConfigError, RecordError
from normlab.runs import Run, Summary, WatchedRun, read_any_run, start_of

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = ("train_acc", "train_loss", "test_acc", "test_loss")
# Of a summary.
WORDS = ("status", "verdict", "cause", "reason")
_OUTSIDE = {"runtime", "launcher", "output"}  # what a config has beside the training


class StepValues(NamedTuple):
    """What was measured at one step."""

    step: int
    seconds: float  # since training began
    values: dict[str, float]  # train_acc, or grad_norm/03 conv2 of a layer


@dataclass(frozen=True)
class NamedRun:
    """A run under the name by which a tracker lists it."""

    experiment: str
    name: str  # such as bn residual depth=56 seed=0; unique in its experiment
    started: float  # seconds since 1970
    run: Run | WatchedRun

    @property
    def summary(self) -> Summary:
        """How it ended."""
        return self.run.summary

    def settings(self) -> dict[str, Any]:
        """Its configuration by dotted keys, lists as text, without where it was made and kept."""
        if isinstance(self.run, Run):
            plain = self.run.config.model_dump(mode="json", exclude=_OUTSIDE)
        else:
            plain = self.summary.config or {}
        return {key.removesuffix(".name"): _simple(value) for key, value in flatten(plain)}

    def words(self) -> dict[str, str]:
        """Its status, verdict, cause and reason, those that it has."""
        told = {key: getattr(self.summary, key) for key in WORDS}
        return {key: value for key, value in told.items() if value}

    def steps(self) -> Iterator[StepValues]:
        """What was measured, in order of steps; what was not at a step is left out.

        A score that is not a number was measured, of a training that diverged.
        """
        metrics, layers = self.run.metrics, self.run.layers
        evaluated = {int(row["step"]): row for row in metrics.to_dict("records")}
        measured = dict(_values_of_layers(layers))
        seconds = metrics["seconds"].to_numpy(dtype=float)
        for step in sorted({*evaluated, *measured}):
            values = _of_evaluation(evaluated[step]) if step in evaluated else {}
            values |= measured.get(step, {})
            at = float(np.interp(step, metrics["step"], seconds)) if len(metrics) else 0.0
            if values:
                yield StepValues(step, at, values)


def _simple(value: Any) -> bool | float | str:
    """A setting's value as every tracker takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return (
        value if isinstance(value, bool | int | float) else "null" if value is None else str(value)
    )


def _of_evaluation(row: Mapping[Any, Any]) -> dict[str, float]:
    return {
        str(key): float(value)
        for key, value in row.items()
        if key not in ("step", "epoch", "seconds") and (key in SCORES or not math.isnan(value))
    }


def _values_of_layers(layers: "DataFrame") -> Iterator[tuple[int, dict[str, float]]]:
    """By step, each measurement of each layer under its own tag."""
    digits = len(str(int(layers["layer"].max()))) if len(layers) else 1
    probes = [name for name in layers.columns if name in PROBES]
    for _, rows in layers.groupby("step", sort=False):
        tags = [
            f"{layer:0{digits}} {name}"
            for layer, name in zip(rows["layer"], rows["name"], strict=True)
        ]
        yield (
            int(rows["step"].iloc[0]),
            {
                f"{probe}/{tag}": value
                for probe in probes
                for tag, value in zip(tags, rows[probe].tolist(), strict=True)
                if not math.isnan(value)
            },
        )


def named_runs(selection: Selection) -> Iterator[NamedRun]:
    """The runs of a selection that have ended, read one at a time.

    Raises ConfigError where there is none.
    """
    frame, found = selection.runs, 0
    about = (frame["folder"], frame["experiment"], run_names(frame))
    for folder, experiment, name in zip(*about, strict=True):
        try:
            run = read_any_run(Path(folder))
        except RecordError as error:
            selection.on_problem(str(error))
            continue
        found += 1
        yield NamedRun(experiment, name, start_of(Path(folder)), run)
    if not found:
        raise ConfigError(f"none of {len(frame)} runs can be read; normlab ls shows what is there")


def run_names(frame: "DataFrame") -> list[str]:
    """Each run in a few words, such as `bn residual depth=56 seed=0`, unique in its experiment.

    Norm, skips, depth and seed are always named, so that a run more changes few names.
    """
    names = [""] * len(frame)
    numbered = frame.reset_index(drop=True)
    for _, rows in numbered.groupby("experiment", sort=False):
        words = _words_of(rows)
        for place, word, identity in zip(rows.index.tolist(), words, rows["run_id"], strict=True):
            names[place] = word if words.count(word) == 1 else f"{word} {identity}"
    return names


def _words_of(runs: "DataFrame") -> list[str]:
    """Each run of one experiment by its variant, depth and seed."""
    keys = [k for k in dict.fromkeys([NORM, RESIDUAL, *variant_keys(runs)]) if k in runs]
    further = [DEPTH, SEEDS[0], *seeds_beside(runs)]
    names = short_names(further)
    values = runs[further].itertuples(index=False, name=None)
    return [
        " ".join(
            [
                variant.name,
                *(
                    f"{n}={label(k, v)}"
                    for k, n, v in zip(further, names, row, strict=True)
                    if v == v
                ),
            ]
        )
        for variant, row in zip(variants_of(runs, keys), values, strict=True)
    ]
